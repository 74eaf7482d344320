/**
 * Pools under test: real workers of a program in `tests/fixtures/`, a Redis of their own and a fresh database.
 *
 * @module
 */
import { Pool, type PoolOptions } from "@agentexec/core";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { noteProgram } from "./pending.ts";
import type { RedisServer } from "./servers.ts";
import { type Ground, onBothGrounds, openStores } from "./stores.ts";
import { waitFor } from "./wait.ts";

/** What a started test pool gives. */
export interface TestPool extends AsyncDisposable {
  /** The pool; its supervisor is the test's own process. */
  readonly pool: Pool;
  /** Its Redis. */
  readonly redis: RedisServer;
  /** The address of its broker. */
  readonly brokerUrl: string;
  /** Its database. */
  readonly databaseUrl: string;
  /** What another program on the same stores needs to be granted for them. */
  readonly flags: readonly string[];
}

/** The fixture programs, as URLs. */
export function fixture(name: string): string {
  return new URL(`../fixtures/${name}`, import.meta.url).href;
}

/** A pool of `tests/fixtures/pool.ts`, migrated and not yet started. */
export async function makePool(
  options: PoolOptions = {},
  ground: Ground = "servers",
): Promise<TestPool> {
  const stores = await openStores(ground);
  const { brokerUrl, databaseUrl } = stores;
  const pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl,
    databaseUrl,
    entrypoint: fixture("pool.ts"),
    numWorkers: 1,
    ...options,
  });
  await pool.migrate();
  return {
    pool,
    get redis() {
      if (stores.redis === undefined) throw new TypeError("This test's broker is a file");
      return stores.redis;
    },
    brokerUrl,
    databaseUrl,
    flags: stores.flags,
    async [Symbol.asyncDispose]() {
      await pool.shutdown({ timeout: { seconds: 0 } });
      await pool.close();
      await stores[Symbol.asyncDispose]();
    },
  };
}

/** The same, started. */
export async function startPool(
  options: PoolOptions = {},
  ground: Ground = "servers",
): Promise<TestPool> {
  const made = await makePool(options, ground);
  try {
    await made.pool.start();
  } catch (error) {
    await made[Symbol.asyncDispose]();
    throw error;
  }
  return made;
}

/** Registers a test of a pool on each kind of stores; its body starts the pool. */
export function poolTest(
  name: string,
  body: (startPool: (options?: PoolOptions) => Promise<TestPool>) => Promise<void>,
): void {
  onBothGrounds(name, (ground) => body((options) => startPool(options, ground)));
}

/** Waits until the broker has forgotten every task: a moment after the last row says that it ended. */
export async function queueEmptied(pool: Pool): Promise<void> {
  await waitFor(async () => {
    const { waiting, delayed, running } = await pool.depth();
    return waiting + delayed + running === 0;
  }, { what: "the queue to be empty" });
}

/** What was logged. */
export interface LogRecorder extends AsyncDisposable {
  /** Every record so far. */
  readonly records: readonly LogRecord[];
  /** The messages so far, as text. */
  messages(): readonly string[];
}

/** Records what is logged in this process, and shows nothing. */
export async function recordLogs(): Promise<LogRecorder> {
  const records: LogRecord[] = [];
  await configure({
    reset: true,
    sinks: { recorder: (record: LogRecord) => void records.push(record) },
    loggers: [
      { category: [], sinks: ["recorder"], lowestLevel: "trace" },
      { category: ["logtape", "meta"], sinks: ["recorder"], lowestLevel: "warning" },
    ],
  });
  const messages = () => records.map((record) => record.message.map(String).join(""));
  const forget = noteProgram({
    title: "what was logged in this process",
    output: () => messages().join("\n"),
  });
  return {
    records,
    messages,
    async [Symbol.asyncDispose]() {
      forget();
      await reset();
    },
  };
}
