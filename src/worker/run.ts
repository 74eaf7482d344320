/**
 * One run of one task, from its claim to its end. The row decides: `running` is written before the handler
 * starts, the end is written before the broker forgets the task, and a write that the row refuses
 * settles the broker to what the row says.
 *
 * @module
 */
import type { ActivityWrite, WriteOutcome } from "../activity/rows.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { Claim, Queue } from "../broker/broker.ts";
import type { ActivityMessages } from "../config.ts";
import { sleep } from "../clock.ts";
import { ConnectionError } from "../errors.ts";
import { taskLog, taskLogger } from "../log/lifecycle.ts";
import { explainDenied } from "../process/scope.ts";
import { decodeContext, encodeResult } from "../task/codec.ts";
import type { Database, TaskRun } from "../task/context.ts";
import { runAsCurrentTask } from "../task/current.ts";
import type { Task } from "../task/definition.ts";
import { describeError, partsOfError } from "../task/describe_error.ts";
import { Progress } from "./progress.ts";

/** What a run needs of its worker. */
export interface RunEnvironment {
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
  /** The broker's id, for a row that has to be made. */
  readonly brokerId: string;
  /** The library's own messages. */
  readonly messages: ActivityMessages;
  /** The most bytes of a result. */
  readonly maxResultBytes: number;
  /** Whether rows keep the context. */
  readonly storeContext: boolean;
  /** Names that are set in the supervisor and not granted here. */
  readonly ungranted: readonly string[];
  /** The handlers' database, opened at first use. */
  readonly database: () => Database;
  /** Aborts when the worker is to end: the broker is then not waited for any longer. */
  readonly stopping: AbortSignal;
}

/** Between two tries of a call that the broker has to answer. */
const TRY_AGAIN_MS = 500;

/**
 * How long the end of standard input, by which a worker hears that its supervisor died, may take to be heard. The
 * guardian kills what is left a second after that death.
 */
const HEAR_DEATH_MS = 900;

/** What the beginning of a run came to: its handler is called, or the row had something else to say. */
type Start = "go" | "settled";

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

  /** Somebody canceled the task: the handler is told; it ends as canceled unless it completes after all. */
  cancel(): void {
    this.#cancelRequested = true;
    this.#signal.abort(new DOMException("The task was canceled", "AbortError"));
  }

  /** Runs it. Resolves when the broker has settled it, or the run is lost; rejects for a broken store only. */
  async execute(): Promise<void> {
    try {
      if (await this.#begin() === "go") await this.#run();
    } catch (error) {
      // A lost run ends quietly: whoever owns the task now writes its story.
      if (!this.isLost) throw error;
    }
  }

  async #begin(): Promise<Start> {
    const { claim } = this;
    const { store, messages } = this.#environment;
    const write: ActivityWrite = {
      agentId: claim.id,
      token: claim.token,
      status: "running",
      message: messages.started,
      counters: {
        attempt: claim.attempt,
        failures: claim.failures,
        crashes: claim.crashes,
        lapses: claim.lapses,
      },
    };
    let outcome = await store.write(write, { signal: this.#lost.signal });
    if (outcome.kind === "missing") {
      await this.#makeRow();
      outcome = await store.write(write, { signal: this.#lost.signal });
    }
    if (outcome.kind === "written") return "go";
    await this.#settleTo(outcome);
    return "settled";
  }

  /** A task without a row (the database lost it): it gets one, so that its life is on record. */
  async #makeRow(): Promise<void> {
    const { claim } = this;
    const { store, queue, brokerId, storeContext } = this.#environment;
    const [outcome] = await store.insertTasks([{
      agentId: claim.id,
      taskName: claim.name,
      queue: queue.name,
      brokerId,
      context: storeContext && claim.payload !== "" ? claim.payload : null,
      metadata: "{}",
    }]);
    if (outcome?.kind !== "locked") return;
    throw new ConnectionError(
      `Cannot make the row of task ${claim.id}: another transaction has made it and has not ended`,
      { retryable: true },
    );
  }

  /** The row says something else than this run: the broker is brought to it. */
  async #settleTo(outcome: WriteOutcome): Promise<void> {
    const { queue } = this.#environment;
    if (outcome.kind !== "refused") {
      throw new TypeError(
        `Cannot settle task ${this.claim.id} by a write that was ${outcome.kind}`,
      );
    }
    const { status, token } = outcome.row;
    if (status === "complete" || status === "error" || status === "canceled") {
      await this.#insist(() => queue.end(this.claim));
      return;
    }
    // The row is newer than the broker: it was restored from an old copy. Its tokens go on above the row's.
    await queue.raiseToken(token);
    await queue.release(this.claim);
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
    const outcome = await this.#end({
      status: "complete",
      message: messages.complete,
      percentage: 100,
      ...(result === undefined ? {} : { result }),
    });
    if (outcome.kind === "invalid") {
      return await this.#fail(
        new TypeError(`Cannot store the result of task '${claim.name}': ${outcome.reason}`),
        progress,
      );
    }
    if (outcome.kind === "written") taskLogger(claim).info(`Task completed: ${claim.name}`);
  }

  async #fail(thrown: unknown, progress: Progress): Promise<void> {
    const { claim } = this;
    const { messages, ungranted } = this.#environment;
    const { headline, text } = describeError(thrown);
    const hint = explainDenied(text, { environment: ungranted });
    const shown = hint === undefined ? headline : `${headline} (${hint})`;
    const outcome = await this.#end({
      status: "error",
      message: progress.wordedFailure ?? messages.error.replaceAll("{error}", () => shown),
      error: hint === undefined ? text : text.replace(headline, () => shown),
      failure: partsOfError(thrown),
      counters: { failures: claim.failures + 1 },
    });
    if (outcome.kind === "written") taskLogger(claim).error(`Task failed: ${shown}`);
  }

  async #endCanceled(): Promise<void> {
    const outcome = await this.#end({ status: "canceled", message: "Canceled while it ran" });
    if (outcome.kind === "written") {
      taskLogger(this.claim).info(`Task canceled: ${this.claim.name}`);
    }
  }

  /** Row first, then the broker; a row that had ended already settles the broker to it. */
  async #end(write: Omit<ActivityWrite, "agentId" | "token">): Promise<WriteOutcome> {
    const { claim } = this;
    const { store, queue } = this.#environment;
    const full = { agentId: claim.id, token: claim.token, ...write };
    let outcome = await store.write(full, { signal: this.#lost.signal });
    if (outcome.kind === "missing") {
      await this.#makeRow();
      outcome = await store.write(full, { signal: this.#lost.signal });
    }
    if (outcome.kind === "refused") await this.#settleTo(outcome);
    if (outcome.kind === "written") await this.#insist(() => queue.end(claim));
    return outcome;
  }

  /**
   * Calls the broker until it answers. The row is written, so nothing depends on it but the slot: a worker
   * that is to end does not wait, and whoever meets the claim later settles it by the row.
   */
  async #insist(call: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await call();
        return;
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
        if (this.isLost || this.#environment.stopping.aborted) return;
        await sleep(TRY_AGAIN_MS, { signal: this.#environment.stopping });
      }
    }
  }
}

/** Whether somebody had stopped reading what was written, as Deno or Node says it. */
function isBrokenPipe(thrown: unknown): boolean {
  if (!(thrown instanceof Error)) return false;
  return thrown instanceof Deno.errors.BrokenPipe || Reflect.get(thrown, "code") === "EPIPE";
}
