/**
 * Whether all that an SQLite file knows of a queue agrees with itself.
 *
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { assertEquals, assertTrue } from "../support/assert.ts";

/** A test's own look into the file. It waits for the locks of the brokers, with its thread standing still. */
export function rawSqlite(path: string): DatabaseSync {
  return new DatabaseSync(path, { timeout: 5_000 });
}

interface TaskRow {
  readonly id: string;
  readonly state: string;
  readonly position: number;
  readonly due: number;
  readonly owner: string;
  readonly lease: number;
  readonly token: number;
}

interface QueueRow {
  readonly token: number;
  readonly head: number;
  readonly tail: number;
}

/** Throws unless the file is sound, and each task of the queue is in exactly one place. */
export function auditSqlite(database: DatabaseSync, queue: string): void {
  assertEquals({ ...database.prepare("pragma integrity_check").get() }, { integrity_check: "ok" });
  const rows = database.prepare(
    "select id, state, position, due, owner, lease, token from agentexec_broker_task where queue = ?",
  ).all(queue) as unknown as readonly TaskRow[];
  const numbers = database.prepare(
    "select token, head, tail from agentexec_broker_queue where name = ?",
  ).get(queue) as unknown as QueueRow | undefined;
  assertEquals(new Set(rows.map(({ id }) => id)).size, rows.length);
  for (const row of rows) auditTask(row, numbers);
  const positions = rows.filter(({ state }) => state === "waiting").map(({ position }) => position);
  assertEquals(new Set(positions).size, positions.length, "two tasks wait at one position");
}

/** Each place has the marks of its own, and nothing of another's. */
function auditTask(row: TaskRow, numbers: QueueRow | undefined): void {
  const { id, state, position, due, owner, lease, token } = row;
  assertTrue(numbers !== undefined, `${id} is in a queue that is nowhere`);
  assertTrue(token <= numbers.token, `${id} has a token that was never given`);
  switch (state) {
    case "waiting":
      assertTrue(position >= numbers.head && position <= numbers.tail, `the position of ${id}`);
      break;
    case "delayed":
      assertTrue(due > 0, `${id} is delayed without an end`);
      break;
    case "claimed":
      assertTrue(owner !== "" && lease > 0 && token > 0, `${id} is claimed by nobody`);
      return;
    default:
      throw new Error(`${id} is in no place: ${state}`);
  }
  assertEquals(owner, "", `${id} is not claimed and has an owner`);
}
