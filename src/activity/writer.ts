/**
 * Writes of tasks' lives, grouped: what gathers while one statement is under way goes out in the next. A
 * lone write waits for nothing.
 *
 * @module
 */
import { after, backoff, monotonicMs, type Pauses, sleep } from "../clock.ts";
import { ConnectionError } from "../errors.ts";
import { findUnstorableJson, sanitizeText } from "../task/text.ts";
import { isTerminal } from "./activity.ts";
import { ERROR_BYTES, MESSAGE_BYTES, rewordings, storableFailure } from "./error_text.ts";
import type { ActivityWrite, WriteOutcome } from "./rows.ts";
import { failureOf, refusalOf, RowsLocked, toConnectionError } from "./failure.ts";
import type { ActivityDatabase } from "./database.ts";
import { type NumberedWrite, writeGroup } from "./write_group.ts";
import { WRITER_CLOSE_MS } from "../stop_budget.ts";

/** How one write is made. */
export interface WriteOptions {
  /**
   * Ends the tries of a write that the database does not answer: it then rejects with the
   * `ConnectionError`. Every write is tried once.
   */
  readonly signal?: AbortSignal | undefined;
}

/** The most writes of one statement, and the most characters of their results. */
const GROUP = 500;
const GROUP_TEXT = 4_000_000;
const PAUSES: Pauses = { firstMs: 50, mostMs: 2_000 };
/** Between two tries of a write whose row another transaction holds locked: the pause doubles. */
const FIRST_LOCKED_PAUSE_MS = 10;
const LONGEST_LOCKED_PAUSE_MS = 500;
/** How long a statement under way may go on after its writer gave up. */
const GRACE_MS = 1_000;

/**
 * Numbers of log lines. Several processes may write under one token (the worker that runs a task, and the
 * supervisor that ends it after a crash), so what they write has places of its own: 1 for a start or a
 * return to the queue, the last for the end, of which there is only one, the place before it for how a failed
 * attempt ended, and what lies between for progress, numbered by the one process that runs the task.
 */
const SEQ_FIRST = 1;
const SEQ_LAST = 2_147_483_647;
const SEQ_CLOSING = SEQ_LAST - 1;

/** For how long the newest statement may have had no answer until progress that waits gives way to newer. */
const STALLED_MS = 1_000;

/** The writer of one process. */
export class Writer {
  readonly #database: ActivityDatabase;
  /** What waits or is under way, by task. */
  readonly #lanes = new Map<string, Lane>();
  #flushing: Promise<void> | undefined;
  readonly #closing = new AbortController();
  /** Ends the wait for rows that are locked. */
  #wake = new AbortController();
  #failures = 0;
  /** When the statement under way was sent, by the monotonic clock; undefined between two. */
  #sentAt: number | undefined;
  #progressSeq = SEQ_FIRST;

  /** Writes to a database. */
  constructor(database: ActivityDatabase) {
    this.#database = database;
  }

  /** Writes; tried again while the connection is the trouble, until the signal aborts. */
  write(write: ActivityWrite, { signal }: WriteOptions = {}): Promise<WriteOutcome> {
    if (this.#closing.signal.aborted) return Promise.reject(closed(this.#database));
    const unstorable = problemOf(write);
    if (unstorable !== undefined) {
      return Promise.resolve({ kind: "invalid", of: "data", reason: unstorable });
    }
    return new Promise((resolve, reject) => {
      const numbered = { ...clean(write), seq: this.#seqOf(write) };
      const lane = this.#laneOf(write.agentId);
      lane.add(new Pending(numbered, signal, { resolve, reject }));
      lane.fold({ stalled: this.#stalled });
      this.#wake.abort();
      this.#flushing ??= this.#flush();
    });
  }

  /** Lets what has been handed over be written, for a quarter of a second, and rejects the rest. */
  async close(): Promise<void> {
    const flushing = this.#flushing;
    if (flushing !== undefined) {
      const over = new AbortController();
      flushing.finally(() => over.abort());
      await sleep(WRITER_CLOSE_MS, { signal: over.signal });
    }
    this.#closing.abort();
    this.#wake.abort();
    for (const lane of this.#lanes.values()) {
      // What is under way is told by its statement.
      for (const pending of lane.writes) {
        if (!pending.underWay) pending.fail(closed(this.#database));
      }
    }
  }

  #laneOf(agentId: string): Lane {
    const lane = this.#lanes.get(agentId) ?? new Lane();
    this.#lanes.set(agentId, lane);
    return lane;
  }

  get #stalled(): boolean {
    return this.#failures > 0 ||
      (this.#sentAt !== undefined && monotonicMs() - this.#sentAt > STALLED_MS);
  }

  #seqOf({ status, closesAttempt }: ActivityWrite): number {
    if (closesAttempt) return SEQ_CLOSING;
    if (status === undefined) {
      this.#progressSeq = this.#progressSeq >= SEQ_CLOSING - 1
        ? SEQ_FIRST + 1
        : this.#progressSeq + 1;
      return this.#progressSeq;
    }
    return isTerminal(status) ? SEQ_LAST : SEQ_FIRST;
  }

  async #flush(): Promise<void> {
    // The writes of one turn go together.
    await Promise.resolve();
    while (this.#lanes.size > 0) {
      const group = this.#nextGroup();
      await (group.length > 0 ? this.#writeAll(group) : this.#rest());
      if (this.#failures > 0) await this.#pause();
      for (const [agentId, lane] of this.#lanes) {
        lane.fold({ stalled: this.#stalled });
        if (lane.writes.length === 0) this.#lanes.delete(agentId);
      }
    }
    this.#flushing = undefined;
  }

  async #pause(): Promise<void> {
    await sleep(backoff(this.#failures, PAUSES), { signal: this.#closing.signal });
  }

  /** All that waits, waits for rows that are locked: until the first of them is due, or another write comes. */
  async #rest(): Promise<void> {
    this.#wake = new AbortController();
    if (this.#closing.signal.aborted) return;
    const due = Math.min(...[...this.#lanes.values()].map((lane) => lane.head?.dueAt ?? 0));
    await sleep(due - monotonicMs(), { signal: this.#wake.signal });
  }

  /**
   * At most one write per task: a later one builds on what the earlier one made, also where that has to wait for its row.
   * Tasks that have ended go first.
   */
  #nextGroup(): Pending[] {
    const now = monotonicMs();
    const heads: Pending[] = [];
    const later: Pending[] = [];
    for (const { head, hasEnd } of this.#lanes.values()) {
      if (head === undefined || head.dueAt > now) continue;
      if (hasEnd) heads.push(head);
      else if (later.length < GROUP) later.push(head);
    }
    const group: Pending[] = [];
    let text = 0;
    for (const pending of [...heads, ...later]) {
      if (group.length >= GROUP || text > GROUP_TEXT) break;
      group.push(pending);
      text += pending.write.result?.length ?? 0;
    }
    // Sorted, so that two writers lock rows in the same order.
    return group.sort((a, b) => a.write.agentId < b.write.agentId ? -1 : 1);
  }

  async #writeAll(group: readonly Pending[]): Promise<void> {
    if (group.length === 0) return;
    for (const pending of group) pending.underWay = true;
    this.#sentAt = monotonicMs();
    try {
      const outcomes = await this.#database.call(
        "write activities",
        () => writeGroup(this.#database, group.map(({ write }) => write)),
      );
      this.#failures = 0;
      for (const pending of group) {
        const outcome = outcomes.get(pending.write.agentId) ?? { kind: "missing" };
        if (outcome.kind === "locked") this.#holdBack(pending);
        else pending.settle(outcome);
      }
    } catch (error) {
      await this.#afterFailure(group, error);
    } finally {
      this.#sentAt = undefined;
    }
  }

  /** The others do not wait for it; what else is to be written of its task does. */
  #holdBack(pending: Pending): void {
    const reason = new RowsLocked([pending.write.agentId]);
    const error = toConnectionError(reason, "write an activity", this.#database.address);
    if (this.#closing.signal.aborted) pending.fail(error);
    else pending.locked(error);
  }

  async #afterFailure(group: readonly Pending[], error: unknown): Promise<void> {
    const failure = failureOf(error);
    switch (failure) {
      case "connection": {
        if (this.#closing.signal.aborted) {
          for (const pending of group) pending.fail(error);
          return;
        }
        this.#failures++;
        for (const pending of group) pending.tried(error);
        return;
      }
      case "data":
      case "other":
        return await this.#split(group, error);
      case "refused":
      case "unmigrated":
        for (const pending of group) pending.fail(error);
        return;
      default:
        return failure satisfies never;
    }
  }

  /** One write that the database refuses, for its data or by a rule of its own, must not take its neighbours along. */
  async #split(group: readonly Pending[], error: unknown): Promise<void> {
    const [only] = group;
    if (group.length === 1 && only !== undefined) return await this.#refused(only, error);
    const half = Math.ceil(group.length / 2);
    await this.#writeAll(group.slice(0, half));
    await this.#writeAll(group.slice(half));
  }

  /** Its texts may be what is refused: then it is written with others that say so. */
  async #refused(pending: Pending, error: unknown): Promise<void> {
    const of = refusalOf(error);
    if (of === undefined) return pending.fail(error);
    const reason = sanitizeText((error as Error).message, MESSAGE_BYTES);
    const progress = pending.leaveBehind();
    // It may be the one that is refused: each is written for itself, in the order of the lane.
    if (progress !== undefined) return this.#laneOf(pending.write.agentId).addFirst(progress);
    if (pending.reword(reason)) return await this.#writeAll([pending]);
    pending.settle({ kind: "invalid", of, reason });
  }
}

/** What is to be written of one task, in its order. */
class Lane {
  #writes: Pending[] = [];

  get writes(): readonly Pending[] {
    return this.#writes;
  }

  /** What is to go out next. */
  get head(): Pending | undefined {
    return this.#writes[0];
  }

  /** Whether the task's end is among them. */
  get hasEnd(): boolean {
    return this.#writes.some((pending) => pending.isEnd);
  }

  add(pending: Pending): void {
    this.#writes.push(pending);
  }

  addFirst(pending: Pending): void {
    this.#writes.unshift(pending);
  }

  /**
   * Forgets what is settled. Progress goes out together with the end that follows it; and while nothing is written,
   * newer progress takes its place.
   */
  fold({ stalled }: { readonly stalled: boolean }): void {
    const kept: Pending[] = [];
    for (const pending of this.#writes) {
      if (pending.settled) continue;
      const before = kept.at(-1);
      if (before !== undefined && pending.takes(before, { stalled })) kept.pop();
      kept.push(pending);
    }
    this.#writes = kept;
  }
}

interface Answer {
  readonly resolve: (outcome: WriteOutcome) => void;
  readonly reject: (error: unknown) => void;
}

/** One write until it is answered. */
class Pending {
  /** As it is to go out now. */
  write: NumberedWrite;
  /** Whether a statement has it in hand. */
  underWay = false;
  /** When it may be tried again, by the monotonic clock. */
  dueAt = 0;
  #lockedPauseMs = FIRST_LOCKED_PAUSE_MS;
  readonly #signal: AbortSignal | undefined;
  readonly #answer: Answer;
  /** What the last try ended in. */
  #lastError: unknown;
  #settled = false;
  #stopGrace: (() => void) | undefined;
  /** Progress that goes out with it. */
  #progress: Pending | undefined;
  /** Whether it was refused together with its progress. */
  #goesAlone = false;
  #rewordings: NumberedWrite[] | undefined;
  readonly #onAbort = () => this.#giveUp();

  constructor(
    write: NumberedWrite,
    signal: AbortSignal | undefined,
    answer: Answer,
  ) {
    this.write = write;
    this.#signal = signal;
    this.#answer = answer;
    signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get settled(): boolean {
    return this.#settled;
  }

  /** Whether the task ends by it. */
  get isEnd(): boolean {
    return this.write.status !== undefined && isTerminal(this.write.status);
  }

  get #isProgress(): boolean {
    return this.write.status === undefined && this.write.closesAttempt === undefined;
  }

  /**
   * Whether it says what the one before it was to say, which then does not go out by itself: the task's end takes the
   * newest progress along, and progress takes the place of older progress that could not be written.
   */
  takes(before: Pending, { stalled }: { readonly stalled: boolean }): boolean {
    const { token } = before.write;
    if (!before.#isProgress || before.underWay || token !== this.write.token) return false;
    if (this.underWay || this.#goesAlone || this.#progress !== undefined) return false;
    if (this.isEnd) {
      const { seq, message, percentage } = before.write;
      this.write = { ...this.write, progress: { seq, message, percentage } };
      this.#progress = before;
      return true;
    }
    if (!this.#isProgress || !(stalled || before.#lastError !== undefined)) return false;
    this.write = { ...before.write, ...this.write };
    before.settle({ kind: "written" });
    return true;
  }

  /** Goes on without the progress that it took along. */
  leaveBehind(): Pending | undefined {
    const progress = this.#progress;
    if (progress === undefined) return undefined;
    this.#progress = undefined;
    this.#goesAlone = true;
    this.underWay = false;
    const { progress: _, ...write } = this.write;
    this.write = write;
    return progress;
  }

  /** Takes the next other words for its texts; false if there are none left. */
  reword(reason: string): boolean {
    this.#rewordings ??= rewordings(this.write, reason);
    const next = this.#rewordings.shift();
    if (next === undefined) return false;
    this.write = next;
    return true;
  }

  settle(outcome: WriteOutcome): void {
    this.#progress?.settle(outcome);
    if (this.#end()) this.#answer.resolve(outcome);
  }

  fail(error: unknown): void {
    this.#progress?.fail(error);
    if (this.#end()) this.#answer.reject(error);
  }

  /** A try failed for the connection or a lock: a caller that gave up is released. */
  tried(error: unknown): void {
    this.underWay = false;
    this.#lastError = error;
    if (this.#signal?.aborted) this.fail(error);
  }

  /** A try found the row locked. */
  locked(error: unknown): void {
    this.dueAt = monotonicMs() + this.#lockedPauseMs;
    this.#lockedPauseMs = Math.min(this.#lockedPauseMs * 2, LONGEST_LOCKED_PAUSE_MS);
    this.tried(error);
  }

  #giveUp(): void {
    // What has not been tried yet is tried once, and what is under way may still end well.
    if (this.underWay) {
      this.#stopGrace = after(GRACE_MS, () => {
        this.fail(
          this.#lastError ??
            new ConnectionError(
              "Cannot write an activity: the database did not answer before the write was given up",
              { retryable: true },
            ),
        );
      });
    } else if (this.#lastError !== undefined) this.fail(this.#lastError);
  }

  #end(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    this.#stopGrace?.();
    this.#signal?.removeEventListener("abort", this.#onAbort);
    return true;
  }
}

function closed({ address }: ActivityDatabase): ConnectionError {
  return new ConnectionError(`Cannot write activities at ${address}: the store has been closed`, {
    retryable: false,
  });
}

/** What cannot be stored of a write; undefined where all can. */
function problemOf({ result, percentage }: ActivityWrite): string | undefined {
  if (percentage !== undefined && !(percentage >= 0 && percentage <= 100)) {
    return `the percentage must be from 0 to 100, current value is ${percentage}`;
  }
  if (result === undefined) return undefined;
  try {
    const path = findUnstorableJson(result);
    if (path === undefined) return undefined;
    return `the result holds a NUL or half a surrogate pair at ${path}, which no database can store`;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return `the result is no JSON: ${error.message}`;
  }
}

/** What people wrote, as a database can hold it. */
function clean(write: ActivityWrite): ActivityWrite {
  const { message, error, failure } = write;
  return {
    ...write,
    ...(message === undefined ? {} : { message: sanitizeText(message, MESSAGE_BYTES) }),
    ...(error === undefined ? {} : { error: sanitizeText(error, ERROR_BYTES) }),
    ...(failure === undefined ? {} : { failure: storableFailure(failure) }),
  };
}
