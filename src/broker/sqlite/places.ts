/**
 * How a task changes its place, and what all operations share: the numbers of a queue, and claims as they are told.
 *
 * @module
 */
import { type OwnedClaim, PROTOCOL } from "../broker.ts";
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

/** Which task, and where it goes back to. */
export interface PutBack {
  readonly queue: string;
  readonly id: string;
  /** Milliseconds that it waits; 0 for the head, from which the next claim takes. */
  readonly delayMs: number;
}

/** Which claim, and who has to end it. */
export interface Hold {
  readonly queue: string;
  readonly id: string;
  /** The token that it is held under. */
  readonly token: number;
  /** Who has to end it. */
  readonly supervisorId: string;
  /** For how many milliseconds. */
  readonly ms: number;
}

/**
 * Leaves a claim to a supervisor that has to end it. Its owner is no worker, so nobody renews it: if it is not ended, a
 * sweep finds it.
 */
export function hold(
  transaction: Transaction,
  { queue, id, token, supervisorId, ms }: Hold,
): void {
  transaction.run(
    "update agentexec_broker_task set state = 'claimed', token = ?, owner = ?, lease = ? where queue = ? and id = ?",
    token,
    supervisorId,
    transaction.now + ms,
    queue,
    id,
  );
}

/** Gives a claimed task back, which is not to be canceled; answers with the token of it. */
export function putBack(
  transaction: Transaction,
  numbers: QueueNumbers,
  { queue, id, delayMs }: PutBack,
): number {
  const { now } = transaction;
  const token = numbers.token();
  const delayed = delayMs > 0;
  transaction.run(
    `update agentexec_broker_task set state = ?, position = ?, due = ?, since = ?, token = ?, owner = ''
    where queue = ? and id = ?`,
    delayed ? "delayed" : "waiting",
    delayed ? 0 : numbers.head(),
    delayed ? now + delayMs : 0,
    now,
    token,
    queue,
    id,
  );
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
