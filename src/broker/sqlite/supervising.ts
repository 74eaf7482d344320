/**
 * What supervisors do: the bookkeeping of a second, striking off, and taking claims from the dead.
 *
 * @module
 */
import {
  DEAD_AT_ONCE,
  LAPSE_LIMIT,
  LAPSED_AT_ONCE,
  LONGEST_LAPSE_DELAY_MS,
  MAINTAINER_MS,
  READY_MS,
  REMEMBER_SWEPT_MS,
} from "../protocol.ts";
import { type OwnedClaim, type Renewal, SWEPT, type SweptClaim } from "../broker.ts";
import type { Registration } from "../registration_watch.ts";
import { noteFormerIds, openQueue } from "./enqueueing.ts";
import {
  CLAIM_COLUMNS,
  type ClaimRow,
  hold,
  makeQueue,
  putBack,
  QueueNumbers,
  toOwnedClaim,
  workersOf,
} from "./places.ts";
import type { Transaction } from "./transaction.ts";

/** Who renews what. */
export interface Renewing {
  readonly queue: string;
  /** Written where the file lost it. */
  readonly brokerId: string;
  /** What the process knows that the broker had before. */
  readonly formerIds: readonly string[];
  readonly supervisorId: string;
  readonly workerIds: readonly string[];
  readonly leaseMs: number;
}

/** The reply, and who else is registered. */
export interface Renewed {
  /** The reply to the supervisor. */
  readonly renewal: Renewal;
  /** Everybody in the registry. */
  readonly registrations: readonly Registration[];
  /** The broker's id now; undefined if the supervisor was swept. */
  readonly brokerId: string | undefined;
}

interface RegistrationRow {
  readonly id: string;
  readonly mark: string;
  readonly leaseMs: number | null;
  readonly lapsed: number;
}

/** Changes with each renewal; older versions do not count theirs, so that the end of the lease has to tell. */
const MARK = "coalesce(cast(renewals as text), '@' || lease)";
/** Whether nobody renews a claim: its owner's supervisor is not registered. */
const IS_NOBODYS = `not exists (
  select 1 from agentexec_broker_supervisor as s where s.queue = t.queue and s.swept is null
    and t.owner >= s.id || '/' and t.owner < s.id || '0'
)`;

function registrationsOf(transaction: Transaction, queue: string): readonly Registration[] {
  return transaction.all<RegistrationRow>(
    `select id, ${MARK} as mark, lease_ms as leaseMs, lease <= ? as lapsed
    from agentexec_broker_supervisor where queue = ? and swept is null`,
    transaction.now,
    queue,
  ).map(({ id, mark, leaseMs, lapsed }) => ({
    id,
    mark,
    leaseMs: leaseMs ?? undefined,
    lapsed: lapsed === 1,
  }));
}

/** Renews a supervisor, its workers, and the leases of what they own. */
export function renewSupervisor(transaction: Transaction, renewing: Renewing): Renewed {
  const { queue, brokerId, supervisorId, workerIds, leaseMs } = renewing;
  // That it was swept is written down by the sweep. Its mere absence is no proof: the file may have been lost.
  const swept = transaction.get(
    "select 1 from agentexec_broker_supervisor where queue = ? and id = ? and swept is not null",
    queue,
    supervisorId,
  );
  if (swept !== undefined) return { renewal: SWEPT, registrations: [], brokerId: undefined };
  const openId = openQueue(transaction, { queue, brokerId });
  noteFormerIds(transaction, { queue, brokerId: openId }, [brokerId, ...renewing.formerIds]);
  const { now } = transaction;
  const lease = now + leaseMs;
  transaction.run("update agentexec_broker_queue set served = ? where name = ?", now, queue);
  transaction.run(
    `insert into agentexec_broker_supervisor (queue, id, lease, renewals, lease_ms) values (?, ?, ?, 1, ?)
    on conflict (queue, id) do update set lease = excluded.lease, renewals = coalesce(renewals, 0) + 1,
      lease_ms = excluded.lease_ms`,
    queue,
    supervisorId,
    lease,
    leaseMs,
  );
  const ready = new Map<string, string>();
  for (const id of workerIds) {
    transaction.run(
      "insert into agentexec_broker_worker (queue, id, supervisor) values (?, ?, ?) on conflict do nothing",
      queue,
      id,
      supervisorId,
    );
    const said = transaction.get<{ message: string }>(
      `update agentexec_broker_ready set until = ? where queue = ? and worker = ? and until > ? returning message`,
      now + READY_MS,
      queue,
      id,
      now,
    );
    if (said !== undefined) ready.set(id, said.message);
  }
  return {
    renewal: {
      swept: false,
      owned: renewClaims(transaction, renewing, lease),
      ready,
      diagnostics: { foreign: 0, foreignDropped: 0 },
    },
    registrations: registrationsOf(transaction, queue),
    brokerId: openId,
  };
}

/** The claims of the workers named, and of those that were struck off. */
function renewClaims(
  transaction: Transaction,
  { queue, supervisorId, workerIds }: Renewing,
  lease: number,
): readonly OwnedClaim[] {
  return transaction.all<ClaimRow>(
    `update agentexec_broker_task as t set lease = ?
    where t.state = 'claimed' and t.queue = ? and t.owner >= ? and t.owner < ? and (
      t.owner in (select value from json_each(?)) or not exists (
        select 1 from agentexec_broker_worker as w where w.queue = t.queue and w.id = t.owner
      )
    ) returning ${CLAIM_COLUMNS}`,
    lease,
    queue,
    ...workersOf(supervisorId),
    JSON.stringify(workerIds),
  ).map(toOwnedClaim);
}

/** Keeps what a worker says when it is ready. */
export function sayReady(
  transaction: Transaction,
  queue: string,
  { workerId, message }: { readonly workerId: string; readonly message: string },
): void {
  transaction.run("delete from agentexec_broker_ready where until <= ?", transaction.now);
  transaction.run(
    `insert into agentexec_broker_ready (queue, worker, message, until) values (?, ?, ?, ?)
    on conflict (queue, worker) do update set message = excluded.message, until = excluded.until`,
    queue,
    workerId,
    message,
    transaction.now + READY_MS,
  );
}

/** Strikes a worker off and answers with the claims it had; they keep its id until each is settled. */
export function removeWorker(
  transaction: Transaction,
  queue: string,
  workerId: string,
): readonly OwnedClaim[] {
  for (const [table, column] of [["worker", "id"], ["ready", "worker"]]) {
    transaction.run(
      `delete from agentexec_broker_${table} where queue = ? and ${column} = ?`,
      queue,
      workerId,
    );
  }
  return transaction.all<ClaimRow>(
    `select ${CLAIM_COLUMNS} from agentexec_broker_task where state = 'claimed' and queue = ? and owner = ?`,
    queue,
    workerId,
  ).map(toOwnedClaim);
}

/** Whether this supervisor is the queue's maintainer; it then is for {@linkcode MAINTAINER_MS}. */
export function maintainQueue(
  transaction: Transaction,
  queue: string,
  supervisorId: string,
): boolean {
  const { now } = transaction;
  makeQueue(transaction, queue);
  // A turn that ends much later than one can is so by another clock, which was set back.
  return transaction.run(
    `update agentexec_broker_queue set maintainer = ?, maintained_until = ? where name = ?
      and (maintainer is null or maintainer = ? or maintained_until <= ? or maintained_until > ?)`,
    supervisorId,
    now + MAINTAINER_MS,
    queue,
    supervisorId,
    now,
    now + MAINTAINER_MS,
  ) === 1;
}

/** Strikes a supervisor off, with all its workers. What they own stays claimed until its lease ends. */
export function deregister(
  transaction: Transaction,
  queue: string,
  supervisorId: string,
): void {
  transaction.run(
    "delete from agentexec_broker_supervisor where queue = ? and id = ? and swept is null",
    queue,
    supervisorId,
  );
  strikeWorkersOf(transaction, queue, supervisorId);
}

function strikeWorkersOf(transaction: Transaction, queue: string, supervisorId: string): void {
  transaction.run(
    "update agentexec_broker_queue set maintainer = null where name = ? and maintainer = ?",
    queue,
    supervisorId,
  );
  transaction.run(
    "delete from agentexec_broker_worker where queue = ? and supervisor = ?",
    queue,
    supervisorId,
  );
  transaction.run(
    "delete from agentexec_broker_ready where queue = ? and worker >= ? and worker < ?",
    queue,
    ...workersOf(supervisorId),
  );
}

/** Who sweeps. */
export interface Sweeping {
  readonly queue: string;
  readonly supervisorId: string;
  /** For what it has to end itself. */
  readonly leaseMs: number;
  /** Whom it holds for dead. */
  readonly dead: readonly Registration[];
}

/** Takes the claims of lapsed owners away, and lapsed supervisors off the registry. */
export function sweepLapsed(transaction: Transaction, sweeping: Sweeping): readonly SweptClaim[] {
  const { queue, supervisorId, leaseMs, dead } = sweeping;
  const { now } = transaction;
  const living = transaction.get(
    "select 1 from agentexec_broker_supervisor where queue = ? and id = ? and lease > ? and swept is null",
    queue,
    supervisorId,
    now,
  );
  if (living === undefined) return [];
  const others = dead.filter(({ id }) => id !== supervisorId).slice(0, DEAD_AT_ONCE);
  // Those of the dead first: then their supervisors are not registered any more.
  const ofDead = others.flatMap((each) => takeSupervisor(transaction, queue, each));
  const rows = [...ofDead, ...lapsedClaims(transaction, queue)];
  // What nobody renews gets at most a lease from now, also where the clock was set back.
  transaction.run(
    `update agentexec_broker_task as t set lease = ?
    where state = 'claimed' and queue = ? and lease > ? and ${IS_NOBODYS}`,
    now + leaseMs,
    queue,
    now + leaseMs,
  );
  transaction.run(
    "delete from agentexec_broker_supervisor where queue = ? and swept <= ?",
    queue,
    now - REMEMBER_SWEPT_MS,
  );
  // A claim may have been found both ways.
  const each = new Map(rows.map((row) => [row.id, row]));
  const numbers = QueueNumbers.of(transaction, queue);
  const swept = [...each.values()].map((row) => lapse(transaction, numbers, row, sweeping));
  numbers.save();
  return swept;
}

/** Takes a dead supervisor off the registry, unless it has renewed itself; answers with the claims of its workers. */
function takeSupervisor(
  transaction: Transaction,
  queue: string,
  { id: supervisorId, mark }: Registration,
): readonly ClaimRow[] {
  const taken = transaction.run(
    `update agentexec_broker_supervisor set swept = ?
    where queue = ? and id = ? and swept is null and ${MARK} = ?`,
    transaction.now,
    queue,
    supervisorId,
    mark,
  );
  if (taken === 0) return [];
  strikeWorkersOf(transaction, queue, supervisorId);
  return transaction.all<ClaimRow>(
    `select ${CLAIM_COLUMNS} from agentexec_broker_task
    where state = 'claimed' and queue = ? and owner >= ? and owner < ?`,
    queue,
    ...workersOf(supervisorId),
  );
}

/** A claim of a registered supervisor is renewed, or taken together with it, and so its lease alone says nothing. */
function lapsedClaims(transaction: Transaction, queue: string): readonly ClaimRow[] {
  return transaction.all<ClaimRow>(
    `select ${CLAIM_COLUMNS} from agentexec_broker_task as t
    where state = 'claimed' and queue = ? and lease <= ? and ${IS_NOBODYS}
    order by lease limit ${LAPSED_AT_ONCE}`,
    queue,
    transaction.now,
  );
}

function lapse(
  transaction: Transaction,
  numbers: QueueNumbers,
  row: ClaimRow,
  { queue, supervisorId, leaseMs }: Sweeping,
): SweptClaim {
  const { id } = row;
  const canceled = row.cancel === 1;
  const lapses = canceled ? row.lapses : row.lapses + 1;
  if (!canceled) {
    transaction.run(
      "update agentexec_broker_task set lapses = ?, unknowns = 0, unknown_since = null where queue = ? and id = ?",
      lapses,
      queue,
      id,
    );
  }
  if (!canceled && lapses <= LAPSE_LIMIT) {
    const delayMs = lapses > 1 ? Math.min(LONGEST_LAPSE_DELAY_MS, 1_000 * 2 ** lapses) : 0;
    const token = putBack(transaction, numbers, { queue, id, delayMs });
    return { ...toOwnedClaim({ ...row, token, lapses }), outcome: "returned", delayMs };
  }
  // The sweeper's to end, for one lease.
  const token = numbers.token();
  hold(transaction, { queue, id }, { token, supervisorId, ms: leaseMs });
  const outcome = canceled ? "canceled" : "exhausted";
  return { ...toOwnedClaim({ ...row, token, lapses }), outcome, delayMs: 0 };
}
