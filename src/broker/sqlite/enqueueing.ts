/**
 * Opening a queue, and putting tasks in.
 *
 * @module
 */
import { PROTOCOL } from "../protocol.ts";
import { IncompatibleError } from "../../errors.ts";
import type { NewTask } from "../broker.ts";
import { checkNewTask } from "../checks.ts";
import { makeQueue, type Place, placeNew, QueueNumbers } from "./places.ts";
import type { Transaction } from "./transaction.ts";

/** A queue, and the id that it is given where it has none. */
export interface QueueToOpen {
  readonly queue: string;
  readonly brokerId: string;
}

/**
 * Makes sure that this version may use the queue; answers with its broker's id.
 *
 * @throws {IncompatibleError} If only a newer version may.
 */
export function openQueue(transaction: Transaction, { queue, brokerId }: QueueToOpen): string {
  const row = transaction.get<{ id: string | null; protocol: number; oldest: number }>(
    "select id, protocol, oldest from agentexec_broker_queue where name = ?",
    queue,
  );
  if (row !== undefined && row.oldest > PROTOCOL) {
    throw new IncompatibleError(
      `Cannot use the queue '${queue}': it needs protocol ${row.oldest} or later, this version of the library ` +
        `speaks ${PROTOCOL}, update it`,
    );
  }
  if (row !== undefined && row.id !== null && row.protocol >= PROTOCOL) return row.id;
  makeQueue(transaction, queue);
  transaction.run(
    `update agentexec_broker_queue set id = coalesce(id, ?), protocol = max(protocol, ?) where name = ?`,
    brokerId,
    PROTOCOL,
    queue,
  );
  return row?.id ?? brokerId;
}

/** Keeps ids that the broker had before; its present one is none of them. */
export function noteFormerIds(
  transaction: Transaction,
  { queue, brokerId }: QueueToOpen,
  ids: readonly string[],
): void {
  for (const id of ids) {
    if (id === brokerId) continue;
    transaction.run(
      "insert into agentexec_broker_formerly (queue, id) values (?, ?) on conflict do nothing",
      queue,
      id,
    );
  }
  transaction.run(
    "delete from agentexec_broker_formerly where queue = ? and id = ?",
    queue,
    brokerId,
  );
}

/** The ids of the broker. */
export function readBrokerIds(transaction: Transaction, queue: string): readonly string[] {
  return transaction.all<{ id: string }>(
    `select id from agentexec_broker_formerly where queue = ?
    union select id from agentexec_broker_queue where name = ? and id is not null`,
    queue,
    queue,
  ).map(({ id }) => id);
}

/** Puts tasks in, all or none. */
export function enqueueTasks(
  transaction: Transaction,
  { queue, brokerId }: QueueToOpen,
  tasks: readonly NewTask[],
): readonly ("accepted" | "known")[] {
  // Everything that can fail is asked before the first write.
  const times = tasks.map(checkNewTask);
  openQueue(transaction, { queue, brokerId });
  const numbers = QueueNumbers.of(transaction, queue);
  const words = tasks.map((task, index) => {
    const time = times[index] ?? 0;
    const due = task.runAtMs === undefined ? transaction.now + time : time;
    return enqueueOne(transaction, numbers, { queue, task, due }) ? "accepted" : "known";
  });
  numbers.save();
  return words;
}

interface Entry {
  readonly queue: string;
  readonly task: NewTask;
  readonly due: number;
}

function enqueueOne(
  transaction: Transaction,
  numbers: QueueNumbers,
  { queue, task, due }: Entry,
): boolean {
  const { id, name, payload, counters } = task;
  const since = transaction.now;
  const to: Place = due > since
    ? { state: "delayed", due, since }
    : { state: "waiting", position: numbers.tail(), due, since };
  return placeNew(transaction, { queue, id, name, payload, counters }, to);
}
