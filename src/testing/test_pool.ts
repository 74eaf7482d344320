/**
 * What a test sees of its kit.
 *
 * @module
 */
import type { ActivityStatus } from "../activity/activity.ts";
import type { Duration } from "../clock.ts";
import type { ContextSchema, Database } from "../task/context.ts";
import type { InputOf, NoSchema, TaskDefinition } from "../task/definition.ts";

/**
 * The options of {@linkcode testPool}.
 *
 * @example
 * ```ts
 * import type { TestPoolOptions } from "@agentexec/core/testing";
 *
 * const newYear: TestPoolOptions = { clock: new Date("2030-01-01T00:00:00Z") };
 * console.log(newYear.clock?.toISOString());
 * ```
 */
export interface TestPoolOptions {
  /**
   * The time at which the kit's clock stands at first. It moves by `advance` alone.
   *
   * @default {the present time}
   */
  readonly clock?: Date | undefined;
}

/**
 * How far {@linkcode TestPool.run} goes.
 *
 * @example
 * ```ts
 * import type { TestPool, TestPoolRunOptions } from "@agentexec/core/testing";
 *
 * const many: TestPoolRunOptions = { limit: 100_000 };
 *
 * async function crawl(kit: TestPool) {
 *   return (await kit.run(many)).length;
 * }
 * ```
 */
export interface TestPoolRunOptions {
  /**
   * How many runs are taken for tasks that enqueue each other for ever.
   *
   * @default {10_000}
   */
  readonly limit?: number | undefined;
}

/**
 * One run of a task, and what became of the task.
 *
 * @example
 * ```ts
 * import type { TestPool, TestRun } from "@agentexec/core/testing";
 *
 * async function failures(kit: TestPool): Promise<readonly TestRun[]> {
 *   return (await kit.run()).filter((run) => run.status === "error");
 * }
 * ```
 */
export interface TestRun {
  /** The task's id. */
  readonly agentId: string;
  /** The task's name. */
  readonly taskName: string;
  /**
   * What the task is now: `complete`, `error` or `canceled`; `queued` where it went back to the queue, as a task
   * does whose name the pool does not know.
   */
  readonly status: ActivityStatus;
  /** The number of this run of the task. */
  readonly attempt: number;
  /** What the handler returned, as JSON keeps it; undefined where there is no result. */
  readonly result: unknown;
  /** What went wrong: the error with its causes; null where nothing did. */
  readonly error: string | null;
  /** The newest message of its activity. */
  readonly message: string | null;
}

/**
 * A task that waits.
 *
 * @example
 * ```ts
 * import type { EnqueuedTask } from "@agentexec/core/testing";
 *
 * function shown({ taskName, context, runAt }: EnqueuedTask): string {
 *   return `${taskName} ${JSON.stringify(context)} at ${runAt.toISOString()}`;
 * }
 * ```
 */
export interface EnqueuedTask<Context = unknown> {
  /** The task's id. */
  readonly agentId: string;
  /** The task's name. */
  readonly taskName: string;
  /** The context as it was enqueued, which is its schema's input; undefined where the task takes none. */
  readonly context: Context;
  /** What was attached. */
  readonly metadata: Readonly<Record<string, unknown>>;
  /** When it may start; where it may start at once, when it was enqueued. */
  readonly runAt: Date;
}

/**
 * The test kit of one pool, made by {@linkcode testPool}. Dispose of it (`await using`) at the end of the test.
 *
 * @example Step by step
 * ```ts
 * import assert from "node:assert/strict";
 * import type { Pool } from "@agentexec/core";
 * import { type TestPool, testPool } from "@agentexec/core/testing";
 *
 * async function failsOnce(pool: Pool) {
 *   await using kit: TestPool = testPool(pool);
 *   await pool.enqueue("fetch_page", { url: "https://example.com/none" });
 *   assert.equal((await kit.step())?.status, "error");
 *   assert.deepEqual(await kit.enqueued(), []);
 * }
 * ```
 */
export interface TestPool extends AsyncDisposable {
  /** The time of the kit's clock. Handlers that ask for the time themselves get the real one. */
  readonly now: Date;
  /**
   * What handlers see as `db`: SQLite in memory, in place of the pool's database. It holds the library's tables, with
   * the kit's rows in them; the test makes the program's own tables beside these, and looks into all.
   */
  readonly db: Database;
  /**
   * Runs everything that is due, one task after the other in the order of the queue, and what these tasks
   * enqueue, until nothing due is left. A handler that waits for a task lets what is due run meanwhile.
   *
   * @param options How many runs are too many.
   * @returns What ran, in the order in which it started.
   * @throws {AgentexecError} If tasks are still due after `limit` runs.
   */
  run(options?: TestPoolRunOptions): Promise<readonly TestRun[]>;
  /**
   * Runs the next due task alone.
   *
   * @returns What ran; undefined where nothing is due.
   */
  step(): Promise<TestRun | undefined>;
  /**
   * What waits in the pool's queue, due or delayed, in the order in which it would run.
   */
  enqueued(): Promise<readonly EnqueuedTask[]>;
  /**
   * The same, of one task; where its definition names another queue, what waits there.
   *
   * @param definition The task.
   */
  enqueued<Context extends ContextSchema | NoSchema, Result extends ContextSchema | NoSchema>(
    definition: TaskDefinition<Context, Result>,
  ): Promise<readonly EnqueuedTask<InputOf<Context>>[]>;
  /**
   * Moves the clock. What becomes due by that is run by `run` or `step`, or for whoever waits for it; all of it
   * at the new time, as after a night in which no worker ran.
   *
   * @param duration How far.
   */
  advance(duration: Duration): void;
}
