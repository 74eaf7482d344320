/**
 * How much waits, and where tasks are.
 *
 * @module
 */
import type { Depth, Whereabouts } from "../broker.ts";
import { supervisorOf } from "./places.ts";
import type { Transaction } from "./transaction.ts";

/** How much waits. A delayed task that is due waits already. */
export function countDepth(transaction: Transaction, queue: string): Depth {
  const { now } = transaction;
  const row = transaction.get<{
    waiting: number;
    delayed: number;
    running: number;
    oldest: number | null;
    due: number;
    oldestDue: number | null;
  }>(
    `select
      (select count(*) from agentexec_broker_task where state = 'waiting' and queue = ?) as waiting,
      (select count(*) from agentexec_broker_task where state = 'delayed' and queue = ?) as delayed,
      (select count(*) from agentexec_broker_task where state = 'claimed' and queue = ?) as running,
      (select since from agentexec_broker_task where state = 'waiting' and queue = ?
        order by position limit 1) as oldest,
      (select count(*) from agentexec_broker_task where state = 'delayed' and queue = ? and due <= ?) as due,
      (select min(due) from agentexec_broker_task where state = 'delayed' and queue = ? and due <= ?) as oldestDue`,
    // Each as often as it stands there: "?1" is more than Node.js 22.16 and 24.4 can bind.
    ...[queue, queue, queue, queue],
    ...[queue, now],
    ...[queue, now],
  );
  const { waiting = 0, delayed = 0, running = 0, due = 0 } = row ?? {};
  const since = row?.oldest ?? row?.oldestDue ?? null;
  return {
    waiting: waiting + due,
    delayed: delayed - due,
    running,
    oldestMs: since === null ? null : Math.max(0, now - since),
    // Whoever can write a row here is this library.
    diagnostics: { foreign: 0, foreignDropped: 0 },
  };
}

/** A task that waits. */
export interface WaitingTask {
  /** Its id. */
  readonly id: string;
  /** Its name. */
  readonly name: string;
  /** Its context's JSON; empty where it takes none. */
  readonly payload: string;
  /** When it may start, in milliseconds of the Unix epoch. */
  readonly dueMs: number;
}

/** What waits, in the order in which it would be claimed if time just went on. */
export function waitingTasks(transaction: Transaction, queue: string): readonly WaitingTask[] {
  return transaction.all<WaitingTask>(
    // What came back to the head is due, and has no time of its own.
    `select id, name, payload, iif(due = 0, since, due) as dueMs from agentexec_broker_task
    where queue = ? and state in ('waiting', 'delayed')
    order by state = 'delayed', position, due, rowid`,
    queue,
  );
}

/** Where each task is, in the order asked. */
export function findTasks(
  transaction: Transaction,
  queue: string,
  ids: readonly string[],
): readonly Whereabouts[] {
  return ids.map((id) => {
    const row = transaction.get<{ state: Whereabouts; owner: string; lease: number }>(
      "select state, owner, lease from agentexec_broker_task where queue = ? and id = ?",
      queue,
      id,
    );
    if (row === undefined) return "unknown";
    if (row.state !== "claimed") return row.state;
    if (row.lease <= transaction.now) return "abandoned";
    // A lapsed supervisor renews nothing, even where a last claim of its workers has some time left.
    const supervisor = transaction.get<{ lease: number }>(
      "select lease from agentexec_broker_supervisor where queue = ? and id = ? and swept is null",
      queue,
      supervisorOf(row.owner),
    );
    return supervisor !== undefined && supervisor.lease <= transaction.now
      ? "abandoned"
      : "claimed";
  });
}

/** How long ago, in milliseconds, a supervisor last renewed itself; null where none ever did. */
export function unservedMs(transaction: Transaction, queue: string): number | null {
  const row = transaction.get<{ served: number | null }>(
    "select served from agentexec_broker_queue where name = ?",
    queue,
  );
  const served = row?.served ?? null;
  return served === null ? null : Math.max(0, transaction.now - served);
}
