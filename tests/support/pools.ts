/**
 * Pools under test: real workers of a program in `tests/fixtures/`, a Redis of their own and a fresh database.
 *
 * @module
 */
import { Pool, type PoolOptions } from "@agentexec/core";
import { configure, type LogRecord, reset } from "@logtape/logtape";
import { type RedisServer, sharedPostgres, startRedis } from "./servers.ts";

/** What a started test pool gives. */
export interface TestPool extends AsyncDisposable {
  /** The pool; its supervisor is the test's own process. */
  readonly pool: Pool;
  /** Its Redis. */
  readonly redis: RedisServer;
  /** Its database. */
  readonly databaseUrl: string;
}

/** The fixture programs, as URLs. */
export function fixture(name: string): string {
  return new URL(`../fixtures/${name}`, import.meta.url).href;
}

/** A pool of `tests/fixtures/pool.ts`, migrated and not yet started. */
export async function makePool(options: PoolOptions = {}): Promise<TestPool> {
  const redis = await startRedis();
  const database = await sharedPostgres().freshDatabase();
  const pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: redis.url,
    databaseUrl: database.url,
    entrypoint: fixture("pool.ts"),
    numWorkers: 1,
    ...options,
  });
  await pool.migrate();
  return {
    pool,
    redis,
    databaseUrl: database.url,
    async [Symbol.asyncDispose]() {
      await pool.shutdown({ timeout: { seconds: 0 } });
      await pool.close();
      await redis[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** The same, started. */
export async function startPool(options: PoolOptions = {}): Promise<TestPool> {
  const made = await makePool(options);
  try {
    await made.pool.start();
  } catch (error) {
    await made[Symbol.asyncDispose]();
    throw error;
  }
  return made;
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
  return {
    records,
    messages: () => records.map((record) => record.message.map(String).join("")),
    [Symbol.asyncDispose]: () => reset(),
  };
}
