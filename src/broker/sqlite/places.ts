/**
 * The door: how a task changes its place. And what all operations share: the numbers of a queue, and claims as they are told.
 *
 * @module
 */
import { PROTOCOL, TASK_PROTOCOL } from "../protocol.ts";
import type { Counters } from "../../task/counters.ts";
import type { OwnedClaim } from "../broker.ts";
import type { Transaction } from "./transaction.ts";

/** A queue's numbers in one operation: read once, written back by `save`. */
export class QueueNumbers {
  readonly #transaction: Transaction;
  readonly #queue: string;
  #token: number;
  #head: number;
  #tail: number;
  #changed = false;

  private constructor(transaction: Transaction, queue: string, row: NumbersRow) {
    this.#transaction = transaction;
    this.#queue = queue;
    this.#token = row.token;
    this.#head = row.head;
    this.#tail = row.tail;
  }

  /** The numbers of a queue; a queue that has none yet, or lost them, begins anew. */
  static of(transaction: Transaction, queue: string): QueueNumbers {
    const row = transaction.get<NumbersRow>(
      "select token, head, tail from agentexec_broker_queue where name = ?",
      queue,
    );
    if (row !== undefined) return new QueueNumbers(transaction, queue, row);
    makeQueue(transaction, queue);
    return new QueueNumbers(transaction, queue, { token: 0, head: 0, tail: 0 });
  }

  /** A token above all that were given: microseconds, so that it is also above those of a lost file. */
  token(): number {
    this.#changed = true;
    return this.#token = Math.max(this.#token + 1, this.#transaction.now * 1_000);
  }

  /** Sees to it that tokens from now on are above this one. */
  raise(token: number): void {
    if (token <= this.#token) return;
    this.#changed = true;
    this.#token = token;
  }

  /** A position before all others. */
  head(): number {
    this.#changed = true;
    return --this.#head;
  }

  /** A position behind all others. */
  tail(): number {
    this.#changed = true;
    return ++this.#tail;
  }

  /** Writes what changed. */
  save(): void {
    if (!this.#changed) return;
    this.#transaction.run(
      "update agentexec_broker_queue set token = ?, head = ?, tail = ? where name = ?",
      this.#token,
      this.#head,
      this.#tail,
      this.#queue,
    );
  }
}

interface NumbersRow {
  readonly token: number;
  readonly head: number;
  readonly tail: number;
}

/** Makes the row of a queue where there is none; its id is given by whoever opens it. */
export function makeQueue(transaction: Transaction, queue: string): void {
  transaction.run(
    `insert into agentexec_broker_queue (name, protocol, oldest, token, head, tail) values (?, ?, 1, 0, 0, 0)
    on conflict do nothing`,
    queue,
    PROTOCOL,
  );
}

/** Which task. */
export interface TaskRef {
  readonly queue: string;
  readonly id: string;
}

/** Where a task stands. What is not named stays as it was. */
export interface Place {
  readonly state: "waiting" | "delayed" | "claimed";
  /** While it waits: among the others. */
  readonly position?: number;
  /** When it is due, in milliseconds of the Unix epoch; 0 if it came back to the head. */
  readonly due?: number;
  /** Since when it waits or is claimed. */
  readonly since?: number;
  readonly token?: number;
  /** While it is claimed: who has it. What a supervisor has to end has no worker, so nobody renews it. */
  readonly owner?: string;
  /** While it is claimed: its end. */
  readonly lease?: number;
  /** The number of its run. */
  readonly attempt?: number;
}

/** Puts a task into a place, out of the one where it stood. No other statement changes where a task stands. */
export function place(transaction: Transaction, { queue, id }: TaskRef, to: Place): void {
  transaction.run(
    `update agentexec_broker_task set state = ?, position = coalesce(?, position), due = coalesce(?, due),
      since = coalesce(?, since), token = coalesce(?, token), attempt = coalesce(?, attempt), owner = ?, lease = ?
    where queue = ? and id = ?`,
    ...[to.state, to.position ?? null, to.due ?? null, to.since ?? null, to.token ?? null],
    ...[to.attempt ?? null, to.owner ?? "", to.lease ?? 0, queue, id],
  );
}

/** A task that the file does not have yet. */
export interface MissingTask extends TaskRef {
  readonly name: string;
  readonly payload: string;
  readonly counters: Counters | undefined;
}

/** Puts a new task into its first place; false where the id is known. */
export function placeNew(
  transaction: Transaction,
  { queue, id, name, payload, counters }: MissingTask,
  to: Place,
): boolean {
  const { attempt = 0, failures = 0, crashes = 0, lapses = 0 } = counters ?? {};
  return transaction.run(
    `insert into agentexec_broker_task (queue, id, v, name, state, position, due, since, token, owner, lease,
      cancel, attempt, failures, crashes, lapses, unknowns, payload)
    values (?, ?, ${TASK_PROTOCOL}, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, 0, ?) on conflict do nothing`,
    ...[queue, id, name, to.state, to.position ?? 0, to.due ?? 0, to.since ?? 0, to.token ?? 0],
    ...[to.owner ?? "", to.lease ?? 0, attempt, failures, crashes, lapses, payload],
  ) === 1;
}

/** Takes a task out for good. */
export function unplace(transaction: Transaction, { queue, id }: TaskRef): void {
  transaction.run("delete from agentexec_broker_task where queue = ? and id = ?", queue, id);
}

/** Leaves a claim to a supervisor that has to end it within `ms`; if it does not, a sweep finds it. */
export function hold(
  transaction: Transaction,
  task: TaskRef,
  { token, supervisorId, ms }: {
    readonly token: number;
    readonly supervisorId: string;
    readonly ms: number;
  },
): void {
  place(transaction, task, {
    state: "claimed",
    token,
    owner: supervisorId,
    lease: transaction.now + ms,
  });
}

/**
 * Gives a claimed task back, which is not to be canceled: to the head, from which the next claim takes, or with a delay.
 * Answers with the token of it.
 */
export function putBack(
  transaction: Transaction,
  numbers: QueueNumbers,
  { queue, id, delayMs }: TaskRef & { readonly delayMs: number },
): number {
  const { now } = transaction;
  const token = numbers.token();
  const to: Place = delayMs > 0
    ? { state: "delayed", position: 0, due: now + delayMs, since: now, token }
    : { state: "waiting", position: numbers.head(), due: 0, since: now, token };
  place(transaction, { queue, id }, to);
  return token;
}

/** The supervisor of a worker. */
export function supervisorOf(owner: string): string {
  return owner.split("/", 1)[0] ?? owner;
}

/** The owners that are workers of a supervisor: `"/"` and `"0"` are neighbours, so they are a range of the index. */
export function workersOf(supervisorId: string): readonly [from: string, below: string] {
  return [`${supervisorId}/`, `${supervisorId}0`];
}

/** The columns of {@linkcode ClaimRow}. */
export const CLAIM_COLUMNS = "id, token, owner, name, attempt, failures, crashes, lapses, cancel";

/** A claim as it stands in the table. */
export interface ClaimRow {
  readonly id: string;
  readonly token: number;
  readonly owner: string;
  readonly name: string;
  readonly attempt: number;
  readonly failures: number;
  readonly crashes: number;
  readonly lapses: number;
  readonly cancel: number;
}

/** A claim as its supervisor is told of it. */
export function toOwnedClaim({ token, owner, cancel, ...claim }: ClaimRow): OwnedClaim {
  return { ...claim, token: String(token), workerId: owner, canceled: cancel === 1 };
}
