/**
 * Giving a worker tasks to run.
 *
 * @module
 */
import { CLAIM_BYTES, DUE_AT_ONCE, PROTOCOL } from "../protocol.ts";
import type { Claim, ClaimAnswer, ClaimRequest } from "../broker.ts";
import { hold, place, putBack, QueueNumbers, supervisorOf } from "./places.ts";
import type { Transaction } from "./transaction.ts";

/** Takes tasks for a worker. */
export function claimTasks(
  transaction: Transaction,
  queue: string,
  { workerId, slots, holding, leaseMs }: ClaimRequest,
): ClaimAnswer {
  const registered = transaction.get(
    "select 1 from agentexec_broker_worker where queue = ? and id = ?",
    queue,
    workerId,
  );
  if (registered === undefined) {
    return { registered: false, claims: [], nextDueMs: null, orphans: [] };
  }
  const numbers = QueueNumbers.of(transaction, queue);
  takeBackLost(transaction, numbers, { queue, workerId, holding });
  promote(transaction, numbers, queue);
  const share = shareOf(transaction, queue, slots);
  const rows = nextRows(transaction, queue, countThatFit(transaction, queue, share));
  const claims = rows.flatMap((row) =>
    take(transaction, numbers, row, { queue, workerId, leaseMs }) ?? []
  );
  numbers.save();
  // Id and task are one row: there is never the one without the other.
  return { registered: true, claims, nextDueMs: nextDueMs(transaction, queue), orphans: [] };
}

/** A claim that the worker does not hold is one whose answer was lost: it would be renewed for ever. */
function takeBackLost(
  transaction: Transaction,
  numbers: QueueNumbers,
  { queue, workerId, holding }: Pick<ClaimRequest, "workerId" | "holding"> & {
    readonly queue: string;
  },
): void {
  const held = new Set(holding);
  const owned = transaction.all<{ id: string; token: number; cancel: number }>(
    "select id, token, cancel from agentexec_broker_task where state = 'claimed' and queue = ? and owner = ?",
    queue,
    workerId,
  );
  const supervisorId = supervisorOf(workerId);
  for (const { id, token, cancel } of owned) {
    if (held.has(id)) continue;
    if (cancel === 1) hold(transaction, { queue, id }, { token, supervisorId, ms: 0 });
    else putBack(transaction, numbers, { queue, id, delayMs: 0 });
  }
}

/** Due tasks join the queue at its end, in the order in which they became due. */
function promote(transaction: Transaction, numbers: QueueNumbers, queue: string): void {
  const tasks = transaction.all<{ id: string; due: number }>(
    `select id, due from agentexec_broker_task where state = 'delayed' and queue = ? and due <= ?
    order by due, rowid limit ${DUE_AT_ONCE}`,
    queue,
    transaction.now,
  );
  for (const { id, due } of tasks) {
    place(transaction, { queue, id }, { state: "waiting", position: numbers.tail(), since: due });
  }
}

/** ⌈waiting ÷ living workers⌉, at least 1 and at most the free slots. */
function shareOf(transaction: Transaction, queue: string, slots: number): number {
  // The one that asks is always counted.
  const workers = Math.max(1, livingWorkers(transaction, queue));
  // More than every worker could take need not be counted.
  const row = transaction.get<{ waiting: number }>(
    `select count(*) as waiting from (select 1 from agentexec_broker_task
    where state = 'waiting' and queue = ? limit ?)`,
    queue,
    slots * workers,
  );
  return Math.min(slots, Math.max(1, Math.ceil((row?.waiting ?? 0) / workers)));
}

/** The workers of supervisors that live. */
function livingWorkers(transaction: Transaction, queue: string): number {
  const row = transaction.get<{ living: number }>(
    `select count(*) as living from agentexec_broker_worker as w
    join agentexec_broker_supervisor as s on s.queue = w.queue and s.id = w.supervisor
    where w.queue = ? and s.lease > ? and s.swept is null`,
    queue,
    transaction.now,
  );
  return row?.living ?? 0;
}

/** How many of the next to run have at most {@linkcode CLAIM_BYTES} of payload together: one always. */
function countThatFit(transaction: Transaction, queue: string, count: number): number {
  if (count === 1) return 1;
  // The size of a text is known without reading it.
  const rows = transaction.all<{ bytes: number }>(
    `select octet_length(payload) as bytes from agentexec_broker_task
    where state = 'waiting' and queue = ? and v <= ${PROTOCOL} order by position limit ?`,
    queue,
    count,
  );
  let sum = 0;
  const end = rows.findIndex(({ bytes }) => {
    sum += bytes;
    return sum > CLAIM_BYTES && sum > bytes;
  });
  return end === -1 ? count : end;
}

interface WaitingRow {
  readonly id: string;
  readonly name: string;
  readonly payload: string;
  readonly attempt: number;
  readonly failures: number;
  readonly crashes: number;
  readonly lapses: number;
  readonly unknowns: number;
  readonly unknown_since: number | null;
  readonly cancel: number;
}

/** The next to run; what only a newer version may run is passed over. */
function nextRows(transaction: Transaction, queue: string, count: number): readonly WaitingRow[] {
  return transaction.all<WaitingRow>(
    `select id, name, payload, attempt, failures, crashes, lapses, unknowns, unknown_since, cancel
    from agentexec_broker_task where state = 'waiting' and queue = ? and v <= ${PROTOCOL}
    order by position limit ?`,
    queue,
    count,
  );
}

/** A claim; undefined if an older version gave the task back although it is to be canceled: the next sweep ends it. */
function take(
  transaction: Transaction,
  numbers: QueueNumbers,
  row: WaitingRow,
  { queue, workerId, leaseMs }: Pick<ClaimRequest, "workerId" | "leaseMs"> & {
    readonly queue: string;
  },
): Claim | undefined {
  const { now } = transaction;
  const token = numbers.token();
  const { unknown_since, cancel, ...claim } = row;
  const task = { queue, id: row.id };
  if (cancel === 1) {
    hold(transaction, task, { token, supervisorId: supervisorOf(workerId), ms: 0 });
    return undefined;
  }
  const attempt = row.attempt + 1;
  const lease = now + leaseMs;
  place(transaction, task, {
    state: "claimed",
    token,
    owner: workerId,
    lease,
    since: now,
    attempt,
  });
  return {
    ...claim,
    attempt,
    token: String(token),
    unknownForMs: unknown_since === null ? 0 : Math.max(0, now - unknown_since),
  };
}

/** Milliseconds until the next delayed task is due; null where none is. */
function nextDueMs(transaction: Transaction, queue: string): number | null {
  const row = transaction.get<{ due: number }>(
    "select due from agentexec_broker_task where state = 'delayed' and queue = ? order by due limit 1",
    queue,
  );
  return row === undefined ? null : Math.max(0, row.due - transaction.now);
}

/** Whether a claim would find something: what an idle worker asks when the file has changed. */
export function hasWork(transaction: Transaction, queue: string): boolean {
  const waiting = transaction.get(
    `select 1 from agentexec_broker_task where state = 'waiting' and queue = ? and v <= ${PROTOCOL} limit 1`,
    queue,
  );
  return waiting !== undefined || nextDueMs(transaction, queue) === 0;
}
