/**
 * The handle of one task: its progress, its result, its end.
 *
 * @module
 */
import { type ActivityStatus, isTerminal, type MetadataFilter } from "../activity/activity.ts";
import type { TaskRow } from "../activity/rows.ts";
import {
  type Duration,
  monotonicMs,
  settlesWithin,
  toMilliseconds,
  withDeadline,
} from "../clock.ts";
import {
  AgentexecError,
  ResultTimeoutError,
  TaskCanceledError,
  TaskFailedError,
} from "../errors.ts";
import { checkOptions } from "../options.ts";
import { beforeActing } from "../program/role.ts";
import { decodeResult } from "../task/codec.ts";
import type { TaskDefinition } from "../task/definition.ts";
import { checkSignal } from "../task/signals.ts";
import { type CancelOutcome, cancelTask } from "../lifecycle/cancel_task.ts";
import type { Stores } from "../stores/stores.ts";
import { describeUnended, warnOfWaiting } from "./waiting.ts";
import { type Progress, readTask, type TaskRef, watchTask } from "./watch.ts";

/**
 * Options of a wait for a task.
 *
 * @example
 * ```ts
 * import type { TaskHandle, TaskWaitOptions } from "@agentexec/core";
 *
 * const patience: TaskWaitOptions = { timeout: { minutes: 10 } };
 * async function summaryOf(task: TaskHandle<{ summary: string }>) {
 *   return (await task.result(patience)).summary;
 * }
 * ```
 */
export interface TaskWaitOptions {
  /**
   * How long to wait at most. The task goes on when the wait is over.
   *
   * @default {undefined} (as long as it takes)
   */
  readonly timeout?: Duration | undefined;
  /**
   * Ends the wait with the signal's reason. The task goes on.
   *
   * @default {undefined}
   */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Options of {@linkcode TaskHandle.progress}.
 *
 * @example Stop when the reader of a web page is gone
 * ```ts
 * import type { TaskHandle, TaskProgressOptions } from "@agentexec/core";
 *
 * async function stream(task: TaskHandle, request: Request) {
 *   const options: TaskProgressOptions = { signal: request.signal };
 *   for await (const { message } of task.progress(options)) console.log(message);
 * }
 * ```
 */
export interface TaskProgressOptions {
  /**
   * Ends the iteration without an error.
   *
   * @default {undefined} (until the task has ended)
   */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Whose task a handle is of.
 *
 * @example A web app that shows a user the tasks of the own organisation alone
 * ```ts
 * import { Client, type TaskHandleOptions } from "@agentexec/core";
 *
 * async function statusFor(client: Client, org: string, agentId: string) {
 *   const options: TaskHandleOptions = { metadata: { org } };
 *   return await client.handle("research_company", agentId, options).status();
 * }
 * ```
 */
export interface TaskHandleOptions {
  /**
   * What the task's metadata must have. Of a task with other metadata the handle behaves as if there was no record
   * of the id: nothing of it is told, and it is not canceled.
   *
   * @default {undefined} (whatever it has)
   */
  readonly metadata?: MetadataFilter | undefined;
}

/**
 * The progress of a task.
 *
 * @example
 * ```ts
 * import type { TaskProgress } from "@agentexec/core";
 *
 * function show({ status, percentage, message }: TaskProgress) {
 *   return `${status} ${percentage ?? 0} % ${message ?? ""}`;
 * }
 * ```
 */
export interface TaskProgress {
  /** Its status. Later versions may add some: treat an unknown one as not ended. */
  readonly status: ActivityStatus;
  /** How far it says it is, 0 to 100; null where it says nothing. */
  readonly percentage: number | null;
  /** What it says; null where it says nothing. */
  readonly message: string | null;
}

/**
 * The statuses that a task can end with.
 *
 * @example
 * ```ts
 * import type { TaskEndStatus, TaskHandle } from "@agentexec/core";
 *
 * async function ended(task: TaskHandle): Promise<TaskEndStatus> {
 *   return await task.wait();
 * }
 * ```
 */
export type TaskEndStatus = "complete" | "error" | "canceled";

/**
 * A handle to one task, in any process: its progress and its outcome. Given by `enqueue`, or for a
 * known id by `handle`.
 *
 * @example Wait for the result
 * ```ts
 * import { Client, defineTask } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const research = defineTask("research_company", {
 *   context: z.object({ company: z.string() }),
 *   result: z.object({ summary: z.string() }),
 * });
 * await using client = new Client();
 * const task = await client.enqueue(research, { company: "Acme" });
 * const { summary } = await task.result({ timeout: { minutes: 10 } });
 * console.log(summary);
 * ```
 *
 * @example Follow its progress
 * ```ts
 * import type { TaskHandle } from "@agentexec/core";
 *
 * async function follow(task: TaskHandle) {
 *   for await (const { status, percentage, message } of task.progress()) {
 *     console.log(status, percentage, message);
 *   }
 * }
 * ```
 */
export interface TaskHandle<Result = unknown> {
  /** The task's id. */
  readonly agentId: string;
  /** The task's name. */
  readonly taskName: string;
  /**
   * Reads its status.
   *
   * @throws {ResultExpiredError} If there is no record of it.
   */
  status(): Promise<ActivityStatus>;
  /**
   * Waits until it has ended and gives its result. The order of an object's keys is that of the database: SQLite keeps
   * the handler's, Postgres its own.
   *
   * @throws {TaskFailedError} If it ended in an error.
   * @throws {TaskCanceledError} If it was canceled.
   * @throws {ResultTimeoutError} If the time is up first; the task goes on.
   * @throws {ResultExpiredError} If there is no record of it (any more).
   * @throws {ValidationError} If what is stored does not pass the result's schema.
   */
  result(options?: TaskWaitOptions): Promise<Result>;
  /**
   * Waits until it has ended and gives its last status, whatever that is.
   *
   * @throws {ResultTimeoutError} If the time is up first; the task goes on.
   * @throws {ResultExpiredError} If there is no record of it (any more).
   */
  wait(options?: TaskWaitOptions): Promise<TaskEndStatus>;
  /**
   * Its progress, now and whenever it changes, up to its end. Leaving the loop ends the subscription.
   * A reader slower than the task misses steps in between, never the last.
   *
   * @throws {ResultExpiredError} If there is no record of it (any more).
   */
  progress(options?: TaskProgressOptions): AsyncIterable<TaskProgress>;
  /**
   * Cancels it: at once where it waits, by asking where it runs.
   *
   * @returns `"canceled"`: it will not run. `"requested"`: it runs, and its `signal` aborts within about a
   *   second. `"ended"`: it had ended before.
   * @throws {ResultExpiredError} If there is no record of it.
   */
  cancel(): Promise<CancelOutcome>;
}

/** Makes the handle of a task. */
export function taskHandle<Result>(
  stores: Stores,
  ref: TaskRef,
  definition: TaskDefinition | undefined,
): TaskHandle<Result> {
  return new StoredTask<Result>(stores, ref, definition);
}

/** How long the row may take to be read once the time to wait is up. */
const LAST_LOOK_MS = 1_000;

/** The names of the options of a wait. */
export const WAIT_OPTIONS: readonly (keyof TaskWaitOptions)[] = ["timeout", "signal"];

class StoredTask<Result> implements TaskHandle<Result> {
  readonly #stores: Stores;
  readonly #ref: TaskRef;
  readonly #definition: TaskDefinition | undefined;

  constructor(stores: Stores, ref: TaskRef, definition: TaskDefinition | undefined) {
    this.#stores = stores;
    this.#ref = ref;
    this.#definition = definition;
  }

  get agentId(): string {
    return this.#ref.agentId;
  }

  get taskName(): string {
    return this.#ref.taskName;
  }

  async status(): Promise<ActivityStatus> {
    await beforeActing();
    return (await readTask(this.#stores, this.#ref)).status;
  }

  async result(options: TaskWaitOptions = {}): Promise<Result> {
    checkOptions("wait for a result", options, WAIT_OPTIONS);
    const row = await this.#ended(options);
    const status = row.status as TaskEndStatus;
    switch (status) {
      case "complete":
        return await decodeResult(this.#definition, row.result) as Result;
      case "error":
        throw failure(row);
      case "canceled":
        throw new TaskCanceledError(
          `Cannot give the result of task '${row.taskName}' (${row.agentId}): it was canceled`,
          { agentId: row.agentId },
        );
      default:
        return status satisfies never;
    }
  }

  async wait(options: TaskWaitOptions = {}): Promise<TaskEndStatus> {
    checkOptions("wait for a task", options, WAIT_OPTIONS);
    return (await this.#ended(options)).status as TaskEndStatus;
  }

  progress(options: TaskProgressOptions = {}): AsyncGenerator<TaskProgress, void, undefined> {
    // Here, not at the first step of the loop.
    checkOptions("follow a task", options, ["signal"]);
    checkSignal(options.signal);
    return this.#progress(options);
  }

  async *#progress(options: TaskProgressOptions): AsyncGenerator<TaskProgress, void, undefined> {
    await beforeActing();
    const signal = options.signal ?? new AbortController().signal;
    let last: Progress | undefined;
    for await (const seen of watchTask(this.#stores, this.#ref, { signal, progress: true })) {
      const { status, percentage, message } = seen.kind === "row" ? seen.row : seen.progress;
      if (
        last?.status === status && last.percentage === percentage && last.message === message
      ) continue;
      // A worker's message may say "complete" before the row does; only the row ends it.
      if (seen.kind === "progress" && isTerminal(status)) continue;
      last = { status, percentage, message };
      yield last;
    }
  }

  async cancel(): Promise<CancelOutcome> {
    await beforeActing();
    return await cancelTask(this.#stores, this.#ref);
  }

  async #ended({ timeout, signal }: TaskWaitOptions): Promise<TaskRow> {
    const timeoutMs = timeout === undefined ? undefined : toMilliseconds(timeout, "timeout");
    checkSignal(signal);
    await beforeActing();
    if (signal?.aborted) throw signal.reason;
    const stop = new AbortController();
    let abort = () => {};
    const aborted = new Promise<never>((_, reject) => {
      abort = () => reject(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
    });
    const late = new ResultTimeoutError("", { agentId: this.agentId });
    try {
      const row = Promise.race([this.#watchToEnd(stop.signal), aborted]);
      if (timeoutMs === undefined) return await row;
      return await withDeadline(row, { ms: timeoutMs, error: () => late });
    } catch (error) {
      if (error !== late || timeoutMs === undefined) throw error;
      return await this.#lastLook(timeoutMs);
    } finally {
      signal?.removeEventListener("abort", abort);
      stop.abort();
    }
  }

  async #watchToEnd(signal: AbortSignal): Promise<TaskRow> {
    const since = monotonicMs();
    for await (const seen of watchTask(this.#stores, this.#ref, { signal, progress: false })) {
      if (seen.kind !== "row") continue;
      if (isTerminal(seen.row.status)) return seen.row;
      warnOfWaiting(this.#stores, seen.row, monotonicMs() - since);
    }
    // The wait was ended from outside, and its promise is settled already.
    return await new Promise<never>(() => {});
  }

  /** The row of a task that ended at the last moment; otherwise the error says how far it is. */
  async #lastLook(timeoutMs: number): Promise<TaskRow> {
    const { agentId, taskName } = this.#ref;
    const seconds = timeoutMs / 1000;
    const reading = readTask(this.#stores, this.#ref);
    // A database that does not answer is no reason to wait longer, nor for another error than that of the timeout.
    const row = await settlesWithin(reading, LAST_LOOK_MS)
      ? await reading.catch(() => undefined)
      : undefined;
    if (row !== undefined && isTerminal(row.status)) return row;
    const state = row === undefined
      ? ""
      : ` (${describeUnended(row, timeoutMs, this.#stores.now())})`;
    throw new ResultTimeoutError(
      `Cannot wait longer for task '${taskName}' (${agentId}): it has not ended within ${seconds} s, and goes on${state}`,
      { agentId },
    );
  }
}

function failure(row: TaskRow): TaskFailedError {
  const { agentId, taskName, attempt: attempts } = row;
  const text = row.error ?? row.message ?? "nothing is known of the cause";
  const headline = text.split("\n", 1)[0] ?? text;
  const cause = new AgentexecError(text);
  // Where it happened is in the text; the stack of this process would only mislead.
  cause.stack = text;
  return new TaskFailedError(`Task '${taskName}' failed: ${headline}`, {
    agentId,
    taskName,
    attempts,
    cause,
  });
}
