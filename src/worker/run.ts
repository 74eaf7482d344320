/**
 * One run of one task: calls its handler, with what the handler sees, and says how it went.
 *
 * @module
 */
import type { Claim } from "../broker/broker.ts";
import type { ActivityMessages } from "../config.ts";
import { sleep } from "../clock.ts";
import { ConnectionError } from "../errors.ts";
import type { Ending } from "../lifecycle/end.ts";
import { beginRun, endRun, type RunParts } from "../lifecycle/run.ts";
import { taskLog, taskLogger } from "../log/loggers.ts";
import { explainDenied } from "../process/scope.ts";
import { decodeContext, encodeResult } from "../task/codec.ts";
import type { Database, TaskRun } from "../task/context.ts";
import { runAsCurrentTask } from "../task/current.ts";
import type { Task } from "../task/definition.ts";
import { describeError, partsOfError } from "../task/describe_error.ts";
import { Progress } from "./progress.ts";
import { HEAR_DEATH_MS } from "../stop_budget.ts";

/** What a run needs of its worker. */
export interface RunEnvironment extends Omit<RunParts, "lost"> {
  /** The library's own messages. */
  readonly messages: ActivityMessages;
  /** The most bytes of a result. */
  readonly maxResultBytes: number;
  /** Names that are set in the supervisor and not granted here. */
  readonly ungranted: readonly string[];
  /** The handlers' database, opened at first use. */
  readonly database: () => Database;
}

/** Between two tries of a read that the database has to answer. */
const TRY_AGAIN_MS = 500;

/** One run. */
export class Run {
  /** The claim that it runs under. */
  readonly claim: Claim;
  readonly #task: Task;
  readonly #environment: RunEnvironment;
  /** What the handler sees as `signal`. */
  readonly #signal = new AbortController();
  /** Aborts when the run may write nothing any more. */
  readonly #lost = new AbortController();
  #cancelRequested = false;
  #isEnding = false;

  constructor(claim: Claim, task: Task, environment: RunEnvironment) {
    this.claim = claim;
    this.#task = task;
    this.#environment = environment;
  }

  /** The claim is another's: the handler is told, and nothing is written any more. */
  lose(reason: string): void {
    this.#lost.abort(new ConnectionError(reason, { retryable: false }));
    this.#signal.abort(new DOMException(reason, "AbortError"));
  }

  /** Whether the run was lost. */
  get isLost(): boolean {
    return this.#lost.signal.aborted;
  }

  /** Whether its handler is done, and the database refuses to write its end for now. */
  get isEnding(): boolean {
    return this.#isEnding;
  }

  /** Somebody canceled the task: the handler is told; it ends as canceled unless it completes after all. */
  cancel(): void {
    this.#cancelRequested = true;
    this.#signal.abort(new DOMException("The task was canceled", "AbortError"));
  }

  /** Runs it. Resolves when the broker has settled it, or the run is lost; rejects for a broken store only. */
  async execute(): Promise<void> {
    try {
      const { started } = this.#environment.messages;
      if (await beginRun(this.claim, started, this.#parts) === "begun") await this.#run();
    } catch (error) {
      // A lost run ends quietly: whoever owns the task now writes its story.
      if (!this.isLost) throw error;
    }
  }

  async #run(): Promise<void> {
    const { claim } = this;
    // Before the handler's own `try`: a database that is away now is not the task's failure.
    const metadata = await this.#metadata();
    const logger = taskLogger(claim);
    logger.info(`Processing task: ${claim.name}`);
    const progress = new Progress({
      claim,
      queue: this.#environment.queue,
      store: this.#environment.store,
      lost: this.#lost.signal,
      warn: (message) => logger.warn(message),
    });
    let result: string | undefined;
    try {
      result = await this.#callHandler(progress, metadata);
    } catch (thrown) {
      progress.close();
      // What a handler writes to may be the supervisor's: its death is then heard here first, and is no failure.
      if (isBrokenPipe(thrown)) await sleep(HEAR_DEATH_MS, { signal: this.#lost.signal });
      if (this.isLost) return;
      if (this.#cancelRequested) return await this.#endCanceled();
      return await this.#fail(thrown, progress);
    }
    progress.close();
    if (this.isLost) return;
    await this.#complete(result, progress);
  }

  async #callHandler(
    progress: Progress,
    metadata: TaskRun["metadata"],
  ): Promise<string | undefined> {
    const { claim } = this;
    const { definition, handler } = this.#task;
    const { database, maxResultBytes } = this.#environment;
    const run: TaskRun = {
      agentId: claim.id,
      taskName: claim.name,
      attempt: claim.attempt,
      context: await decodeContext(definition, claim.payload),
      metadata,
      signal: this.#signal.signal,
      activity: progress,
      log: taskLog(claim),
      get db() {
        return database();
      },
    };
    const returned = await runAsCurrentTask(run, () => handler(run));
    return await encodeResult(definition, returned, { maxBytes: maxResultBytes });
  }

  /** Waits for a database that is away, as the writes of a run do. */
  async #metadata(): Promise<TaskRun["metadata"]> {
    for (;;) {
      try {
        const row = await this.#environment.store.readRow(this.claim.id);
        return JSON.parse(row?.metadata ?? "{}");
      } catch (error) {
        if (!(error instanceof ConnectionError) || !error.retryable || this.isLost) throw error;
        await sleep(TRY_AGAIN_MS, { signal: this.#lost.signal });
      }
    }
  }

  async #complete(result: string | undefined, progress: Progress): Promise<void> {
    const { claim } = this;
    const { messages } = this.#environment;
    let failed = "";
    const instead = (reason: string) => {
      const { ending, shown } = this.#failure(
        new TypeError(`Cannot store the result of task '${claim.name}': ${reason}`),
        progress,
      );
      failed = shown;
      return ending;
    };
    const outcome = await endRun(this.claim, {
      status: "complete",
      message: messages.complete,
      percentage: 100,
      ...(result === undefined ? {} : { result }),
    }, { ...this.#parts, instead });
    if (outcome.kind !== "ended") return;
    if (outcome.status === "complete") taskLogger(claim).info(`Task completed: ${claim.name}`);
    else taskLogger(claim).error(`Task failed: ${failed}`);
  }

  async #fail(thrown: unknown, progress: Progress): Promise<void> {
    const { ending, shown } = this.#failure(thrown, progress);
    const outcome = await endRun(this.claim, ending, this.#parts);
    if (outcome.kind === "ended") taskLogger(this.claim).error(`Task failed: ${shown}`);
  }

  /** What a run ends with that failed, and its error as a line. */
  #failure(
    thrown: unknown,
    progress: Progress,
  ): { readonly ending: Ending; readonly shown: string } {
    const { claim } = this;
    const { messages, ungranted } = this.#environment;
    const { headline, text } = describeError(thrown);
    const hint = explainDenied(text, { environment: ungranted });
    const shown = hint === undefined ? headline : `${headline} (${hint})`;
    const ending: Ending = {
      status: "error",
      message: progress.wordedFailure ?? messages.error.replaceAll("{error}", () => shown),
      error: hint === undefined ? text : text.replace(headline, () => shown),
      failure: partsOfError(thrown),
      counters: { failures: claim.failures + 1 },
    };
    return { ending, shown };
  }

  async #endCanceled(): Promise<void> {
    const outcome = await endRun(this.claim, {
      status: "canceled",
      message: "Canceled while it ran",
    }, this.#parts);
    if (outcome.kind === "ended") {
      taskLogger(this.claim).info(`Task canceled: ${this.claim.name}`);
    }
  }

  /** What the beginning and the end of this run need. */
  get #parts(): RunParts {
    const onRefused = (line: string) => {
      this.#isEnding = true;
      this.#environment.onRefused(line);
    };
    return { ...this.#environment, lost: this.#lost.signal, onRefused };
  }
}

/** Whether somebody had stopped reading what was written, as Deno or Node says it. */
function isBrokenPipe(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  return thrown instanceof Deno.errors.BrokenPipe || Reflect.get(thrown, "code") === "EPIPE";
}
