/**
 * The test kit: a broker and a store in memory in place of a pool's own, a clock that stands still, and a worker
 * that runs a task only where it is told to, or where somebody waits for one.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { TERMINAL } from "../activity/activity.ts";
import type { TaskRow } from "../activity/rows.ts";
import { openDatabase } from "../activity/connection.ts";
import type { ActivityStore } from "../activity/store.ts";
import { SqliteBroker } from "../broker/sqlite/sqlite_broker.ts";
import { storesOf } from "../client/client.ts";
import { type Duration, toMilliseconds } from "../clock.ts";
import { AgentexecError, ResultExpiredError } from "../errors.ts";
import { type Pool, settingsOf } from "../pool/pool.ts";
import { beforeActing } from "../role.ts";
import type { Database } from "../task/context.ts";
import type { TaskDefinition } from "../task/definition.ts";
import { checkDefinition, checkPool, checkTime, clockOf, limitOf, RUN_LIMIT } from "./checks.ts";
import { heardBroker } from "./heard_broker.ts";
import { KitWorker } from "./kit_worker.ts";
import { Lane } from "./lane.ts";
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

/** Somebody waits for the end of a task. */
interface Wait {
  readonly agentId: string;
  readonly lane: Lane;
}

interface Budget {
  readonly from: number;
  readonly limit: number;
}

class Kit implements TestPool {
  readonly #pool: Pool;
  readonly #broker: SqliteBroker;
  readonly #store: ActivityStore;
  /** Not the store's own: what a handler does in a transaction of it, such as to enqueue, must not wait for that. */
  readonly #db = openDatabase(IN_MEMORY);
  readonly #worker: KitWorker;
  readonly #putBack: () => void;
  #nowMs: number;
  #opened: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  readonly #waits = new Set<Wait>();
  /** What ran, in the order in which it started; empty places are of what still runs. */
  readonly #journal: (TestRun | undefined)[] = [];
  /** How much the journal may grow, and from where, until it is too much. */
  #budget: Budget = { from: 0, limit: 0 };
  /** The lane of all that is below no handler. */
  readonly #lane = new Lane();
  readonly #lanes = new AsyncLocalStorage<Lane>();

  /** Puts the kit in place; opens nothing yet. */
  constructor(pool: Pool, clockMs: number) {
    this.#pool = pool;
    this.#nowMs = clockMs;
    const now = () => this.#nowMs;
    const stores = storesOf(pool);
    const { queueName, maxResultBytes } = settingsOf(pool);
    this.#broker = new SqliteBroker(IN_MEMORY.path, { now });
    this.#store = stores.makeStore({ address: IN_MEMORY, now });
    this.#worker = new KitWorker({
      queue: this.#broker.queue(queueName),
      store: this.#store,
      tasks: pool.tasks,
      maxResultBytes,
      database: () => this.#db,
      surround: (body) => this.#lanes.run(new Lane(), body),
    });
    this.#putBack = stores.replace({
      broker: heardBroker(this.#broker, (agentId) => this.#hear(agentId)),
      store: this.#store,
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
    return await this.#turn(this.#here, limit, async () => {
      const from = this.#journal.length;
      await this.#runWhile(() => true);
      return this.#journal.slice(from).filter((run) => run !== undefined);
    });
  }

  async step(): Promise<TestRun | undefined> {
    await this.#begin();
    return await this.#turn(this.#here, RUN_LIMIT, () => this.#runNext());
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
    for (const wait of this.#waits) this.#serve(wait);
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

  /** The lane of whoever calls. */
  get #here(): Lane {
    return this.#lanes.getStore() ?? this.#lane;
  }

  #hear(agentId: string): () => void {
    const wait = { agentId, lane: this.#here };
    this.#waits.add(wait);
    this.#serve(wait);
    return () => this.#waits.delete(wait);
  }

  /** Does the work when the lane is free; below a handler the limit is that of whoever had it run. */
  #turn<T>(lane: Lane, limit: number, work: () => Promise<T>): Promise<T> {
    return lane.do(() => {
      if (lane === this.#lane) this.#budget = { from: this.#journal.length, limit };
      return work();
    });
  }

  /** Runs what is due until a task has ended that somebody waits for. */
  async #serve({ agentId, lane }: Wait): Promise<void> {
    try {
      await this.#turn(lane, RUN_LIMIT, () => this.#runWhile(() => this.#isOpen(agentId)));
    } catch (error) {
      // Disposed of in the middle of it. Anything else ends the test, as every unhandled error does.
      if (this.#closed === undefined) throw error;
    }
  }

  async #isOpen(agentId: string): Promise<boolean> {
    const row = await this.#store.readRow(agentId);
    return row !== undefined && !TERMINAL.includes(row.status);
  }

  async #runWhile(goOn: () => boolean | Promise<boolean>): Promise<void> {
    while (await goOn()) {
      if (await this.#runNext() === undefined) return;
    }
  }

  async #runNext(): Promise<TestRun | undefined> {
    this.#refuseClosed();
    await this.#refuseTooMany();
    const claim = await this.#worker.claim();
    if (claim === undefined) return undefined;
    const place = this.#journal.push(undefined) - 1;
    await this.#worker.work(claim);
    const { id: agentId, name } = claim;
    const row = await this.#store.readRow(agentId);
    if (row !== undefined) return this.#journal[place] = testRun(row);
    throw new ResultExpiredError(
      `Cannot tell what became of task '${name}' (${agentId}): its record was deleted while it ran`,
      { agentId },
    );
  }

  async #refuseTooMany(): Promise<void> {
    const { from, limit } = this.#budget;
    if (this.#journal.length - from < limit) return;
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
