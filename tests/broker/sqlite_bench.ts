/**
 * What the tests of the SQLite broker stand on: a folder that is removed at the end, and brokers that are closed.
 *
 * @module
 */
import type { Broker, Queue } from "../../src/broker/broker.ts";
import { SqliteBroker } from "../../src/broker/sqlite/sqlite_broker.ts";
import { ConnectionError } from "../../src/errors.ts";
import { assertRejects } from "../support/assert.ts";
import { crew, LONG_LEASE, task } from "../contract/broker/bench.ts";

/** A folder, removed at the end. */
export interface TestFolder extends AsyncDisposable {
  /** Its path. */
  readonly path: string;
  /** The path of the file in it that brokers of the test use. */
  readonly file: string;
}

/** Makes a folder. */
export async function testFolder(): Promise<TestFolder> {
  const path = await Deno.makeTempDir({ prefix: "agentexec-sqlite-" });
  return {
    path,
    file: `${path}/broker.db`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** A queue of a broker of its own, which ends with it. */
export interface OpenQueue extends AsyncDisposable {
  /** Its queue. */
  readonly queue: Queue;
}

/** Connects a broker and opens a queue of it. */
export async function openQueueOf(broker: Broker, name = "jobs"): Promise<OpenQueue> {
  const opened = { queue: broker.queue(name), [Symbol.asyncDispose]: () => broker.close() };
  try {
    await broker.connect();
    await opened.queue.open();
    return opened;
  } catch (error) {
    await broker.close();
    throw error;
  }
}

/** Opens a queue of a file. */
export async function openQueue(file: string, name = "jobs"): Promise<OpenQueue> {
  return await openQueueOf(new SqliteBroker(file), name);
}

/** Why a file cannot be opened: the lasting or passing error of it. */
export async function refusalOf(file: string): Promise<ConnectionError> {
  return await assertRejects(() => openQueue(file), ConnectionError);
}

/** Fills a queue with tasks of about a page each; answers with their ids. */
export async function fill(queue: Queue, count: number): Promise<readonly string[]> {
  const tasks = Array.from({ length: count }, () => task({ payload: "x".repeat(3_000) }));
  await queue.enqueue(tasks);
  return tasks.map(({ id }) => id);
}

/** Claims all that waits, as a new worker; answers with the ids. */
export async function claimAll(queue: Queue): Promise<readonly string[]> {
  const worker = crew();
  const [workerId] = worker.workerIds;
  await queue.renew({ ...worker, leaseMs: LONG_LEASE });
  const ids: string[] = [];
  for (;;) {
    const request = { workerId, slots: 1_000, holding: [...ids], leaseMs: LONG_LEASE };
    const { claims } = await queue.claim(request);
    if (claims.length === 0) return ids;
    ids.push(...claims.map(({ id }) => id));
  }
}
