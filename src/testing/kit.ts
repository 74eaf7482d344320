/**
 * The test kit: a broker and a store in memory in place of a pool's own, a clock that stands still, and a worker
 * that runs a task only where it is told to, or where somebody waits for one.
 *
 * @module
 */
import { isTerminal } from "../activity/activity.ts";
import type { TaskRow } from "../activity/rows.ts";
import { memoryDatabase, memoryDialect } from "../activity/memory_dialect.ts";
import { SharedMemory } from "../activity/shared_memory.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { Claim } from "../broker/broker.ts";
import { SqliteBroker } from "../broker/sqlite/sqlite_broker.ts";
import { storesOf } from "../client/client.ts";
import { type Duration, toMilliseconds } from "../clock.ts";
import { AgentexecError, ResultExpiredError } from "../errors.ts";
import { type Pool, settingsOf } from "../pool/pool.ts";
import { beforeActing } from "../program/role.ts";
import type { Database } from "../task/context.ts";
import type { TaskDefinition } from "../task/definition.ts";
import { checkDefinition, checkPool, checkTime, clockOf, limitOf } from "./checks.ts";
import type { Frame } from "./frame.ts";
import { heardBroker } from "./heard_broker.ts";
import { KitWorker } from "./kit_worker.ts";
import { Runner } from "./runner.ts";
import type {
  EnqueuedTask,
  TestPool,
  TestPoolOptions,
  TestPoolRunOptions,
  TestRun,
} from "./test_pool.ts";

/**
 * A test kit of a pool: its tasks run in the test's own process, without servers and worker processes, with the
 * same checks, order and activity as in production. While the kit is attached, all that the pool does goes to a
 * broker and a database in memory: `enqueue`, `result`, `cancel`, `activity`, `depth` in the code under test work
 * as they are, and nothing connects to anything. Handlers run with the permissions of the test.
 *
 * A task runs where the test says so, by `run` or `step`, or where somebody waits for one (`result`, `wait`,
 * `progress`): then what is due runs until that task has ended, as workers would run it meanwhile.
 *
 * @param pool The pool, not started.
 * @param options At which time the clock stands.
 * @returns The kit; disposing of it gives the pool its own connections back.
 * @throws {AgentexecError} If the pool has started, was closed, or has a kit already.
 * @throws {TypeError} If what is given is no pool, or an option is unknown or of the wrong type.
 * @throws {RangeError} If the clock is no valid time from 1970 to 2199.
 *
 * @example A task and its result
 * ```ts
 * import assert from "node:assert/strict";
 * import { Pool } from "@agentexec/core";
 * import { testPool } from "@agentexec/core/testing";
 * import { z } from "zod";
 *
 * const pool = new Pool({ name: "greeting" });
 * const greet = pool.task(
 *   "greet",
 *   { context: z.object({ name: z.string() }) },
 *   ({ context }) => `Hello, ${context.name}`,
 * );
 *
 * Deno.test("greet says hello", async () => {
 *   await using _kit = testPool(pool);
 *   const task = await pool.enqueue(greet, { name: "Ada" });
 *   assert.equal(await task.result(), "Hello, Ada");
 * });
 * ```
 */
export function testPool(pool: Pool, options: TestPoolOptions = {}): TestPool {
  return new Kit(checkPool(pool), clockOf(options));
}

const IN_MEMORY = { kind: "sqlite", url: "sqlite::memory:", path: ":memory:" } as const;

class Kit implements TestPool {
  readonly #pool: Pool;
  readonly #broker: SqliteBroker;
  readonly #memory = new SharedMemory();
  readonly #store: ActivityStore;
  /** What a handler does in a transaction of it, such as to enqueue, does not wait for that. */
  readonly #db: Database;
  readonly #worker: KitWorker;
  readonly #runner: Runner;
  readonly #putBack: () => void;
  #nowMs: number;
  #opened: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** Puts the kit in place; opens nothing yet. */
  constructor(pool: Pool, clockMs: number) {
    this.#pool = pool;
    this.#nowMs = clockMs;
    const now = () => this.#nowMs;
    const stores = storesOf(pool);
    const { queueName, maxResultBytes } = settingsOf(pool);
    this.#broker = new SqliteBroker(IN_MEMORY.path, { now });
    this.#store = stores.makeStore({
      address: IN_MEMORY,
      db: () => memoryDatabase(this.#memory),
      now,
    });
    this.#db = memoryDatabase(this.#memory, { ready: () => this.#open(), parallel: true });
    this.#worker = new KitWorker({
      queue: this.#broker.queue(queueName),
      store: this.#store,
      tasks: pool.tasks,
      maxResultBytes,
      database: () => this.#db,
    });
    this.#runner = new Runner({
      claim: () => this.#claim(),
      work: (claim, frame) => this.#work(claim, frame),
      openOf: (agentIds) => this.#openOf(agentIds),
      refuseMore: (limit) => this.#refuseMore(limit),
      isClosed: () => this.#closed !== undefined,
    });
    this.#putBack = stores.replace({
      broker: heardBroker(this.#broker, {
        onWait: (agentId) => this.#runner.hear(agentId),
        onEnqueue: () => this.#runner.poke(),
      }),
      store: this.#store,
      dialect: memoryDialect(this.#memory, { parallel: true }),
      open: () => this.#open(),
      now,
    });
  }

  get now(): Date {
    return new Date(this.#nowMs);
  }

  get db(): Database {
    this.#refuseClosed();
    return this.#db;
  }

  async run(options: TestPoolRunOptions = {}): Promise<readonly TestRun[]> {
    const limit = limitOf(options);
    await this.#begin();
    return await this.#runner.run(limit);
  }

  async step(): Promise<TestRun | undefined> {
    await this.#begin();
    return await this.#runner.step();
  }

  async enqueued(definition?: TaskDefinition): Promise<readonly EnqueuedTask<never>[]> {
    checkDefinition(definition);
    await this.#begin();
    const { queueName } = settingsOf(this.#pool);
    const queue = this.#broker.queue(definition?.queue ?? queueName);
    const waiting = (await queue.waiting()).filter(({ name }) =>
      definition === undefined || name === definition.name
    );
    const rows = await this.#store.readRows(waiting.map(({ id }) => id));
    const metadata = new Map(rows.map((row) => [row.agentId, row.metadata]));
    return waiting.map(({ id, name, payload, dueMs }) => ({
      agentId: id,
      taskName: name,
      // The definition's schema passed it when it was enqueued.
      context: (payload === "" ? undefined : JSON.parse(payload)) as never,
      metadata: JSON.parse(metadata.get(id) ?? "{}"),
      runAt: new Date(dueMs),
    }));
  }

  advance(duration: Duration): void {
    this.#refuseClosed();
    this.#nowMs = checkTime(this.#nowMs + toMilliseconds(duration, "duration"), "duration");
    // What somebody waits for may be due only now.
    this.#runner.poke();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    // First of all: whoever waits for a task gets an error, and so its handler ends where one waits.
    this.#putBack();
    await this.#worker.close();
    await this.#db.destroy();
    await this.#broker.close();
    await this.#store.close();
    await this.#memory.close();
    // Whoever still has tasks run gets an error too.
    this.#runner.poke();
  }

  #refuseClosed(): void {
    if (this.#closed === undefined) return;
    throw new AgentexecError(
      `Cannot use the test kit of pool '${this.#pool.name}': it was disposed of`,
    );
  }

  async #begin(): Promise<void> {
    this.#refuseClosed();
    await beforeActing();
    await this.#open();
  }

  #open(): Promise<void> {
    return this.#opened ??= this.#openNow();
  }

  async #openNow(): Promise<void> {
    await Promise.all([this.#broker.connect(), this.#store.connect()]);
    await this.#store.migrate();
    // Whoever enqueues now finds that the queue is served.
    await this.#worker.register();
  }

  async #claim(): Promise<Claim | undefined> {
    this.#refuseClosed();
    return await this.#worker.claim();
  }

  async #work(claim: Claim, frame: Frame): Promise<TestRun> {
    await this.#worker.work(claim, frame);
    const { id: agentId, name } = claim;
    const row = await this.#store.readRow(agentId);
    if (row !== undefined) return testRun(row);
    throw new ResultExpiredError(
      `Cannot tell what became of task '${name}' (${agentId}): its record was deleted while it ran`,
      { agentId },
    );
  }

  async #openOf(agentIds: readonly string[]): Promise<ReadonlySet<string>> {
    this.#refuseClosed();
    const rows = await this.#store.readRows(agentIds);
    return new Set(
      rows.filter(({ status }) => !isTerminal(status)).map(({ agentId }) => agentId),
    );
  }

  async #refuseMore(limit: number): Promise<void> {
    const { waiting } = await this.#worker.depth();
    if (waiting === 0) return;
    throw new AgentexecError(
      `Cannot run all that is due on pool '${this.#pool.name}': ${waiting} more are due after ${limit} runs; tasks ` +
        `that enqueue each other without a delay never come to an end, where these do there is run({ limit })`,
    );
  }
}

function testRun({ agentId, taskName, status, attempt, result, error, message }: TaskRow): TestRun {
  return {
    agentId,
    taskName,
    status,
    attempt,
    result: result === null ? undefined : JSON.parse(result),
    error,
    message,
  };
}
