/**
 * One process's connection to the file. Writes that come together go into one transaction, and whoever has to wait for
 * another process's write waits beside the event loop: SQLite's own way of waiting would stop the thread.
 *
 * @module
 */
import { backoff, monotonicMs, settlesWithin, sleep, TimeSlice } from "../../clock.ts";
import { ConnectionError } from "../../errors.ts";
import { LockTurns } from "../../sqlite/lock_turns.ts";
import { Contact } from "./contact.ts";
import { isBusy, isOfSqlite } from "../../sqlite/codes.ts";
import { LOCK_MS, LOCK_PAUSES, patiently } from "../../sqlite/patience.ts";
import { toFileError } from "./failure.ts";
import { FileConnection } from "./file_connection.ts";
import type { Transaction } from "./transaction.ts";
import { BROKER_CLOSE_MS } from "../../stop_budget.ts";

/** The most calls of one transaction: others want to write too. */
const GROUP = 256;
/** After how long a transaction takes no further call, and the event loop has to turn between two. */
const SLICE_MS = 10;

/** How a call writes. */
export interface WriteOptions {
  /** Completes "Cannot …". */
  readonly doing: string;
  /**
   * Whether what it wrote has to survive a loss of power (`synchronous=FULL`). Without it, it survives the end of every
   * process, as all does.
   *
   * @default {false}
   */
  readonly durable?: boolean;
}

interface Pending {
  readonly options: WriteOptions;
  readonly body: (transaction: Transaction) => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
  readonly giveUpAt: number;
  /** Whether it takes a transaction of its own, since one that it shared failed. */
  readonly alone?: boolean;
}

/** The file of a broker. */
export class DatabaseFile {
  /** The address as it may be shown. */
  readonly address: string;
  /** Called after each transaction of this process that was committed. */
  onCommit: () => void = () => {};
  readonly #connection: FileConnection;
  readonly #now: () => number;
  readonly #contact = new Contact();
  readonly #turns = new LockTurns();
  #closed = false;
  readonly #waiting: Pending[] = [];
  #pumping: Promise<void> | undefined;
  readonly #closing = new AbortController();
  readonly #slice = new TimeSlice(SLICE_MS);
  #version = "";

  /** Opens nothing yet. */
  constructor(path: string, now: () => number) {
    this.#connection = new FileConnection(path);
    this.#now = now;
    this.address = this.#connection.address;
  }

  /** For how long, in milliseconds, it has answered without a break. */
  get contactMs(): number {
    return this.#contact.ms;
  }

  /** Opens it, makes the tables where they are not there, and makes sure that it can be written. */
  async open(): Promise<void> {
    const doing = "open the broker";
    this.#refuseClosed(doing);
    await this.#connection.load();
    await this.#patiently(doing, () => {
      this.#refuseClosed(doing);
      this.#connection.open();
    });
    this.#contact.answered();
  }

  /** Changes when another process has written; the last one while it cannot be read. */
  version(): string {
    try {
      const row = this.#open("look").get<{ data_version: number }>("pragma data_version");
      this.#version = String(row?.data_version);
    } catch {
      // It is looked at again soon, and the calls that matter say what is wrong.
    }
    return this.#version;
  }

  /**
   * Reads.
   *
   * @throws {ConnectionError} If the file cannot be read.
   */
  async read<T>(doing: string, body: (transaction: Transaction) => T): Promise<T> {
    if (this.#slice.isOver) await sleep(0);
    return await this.#patiently(doing, () => this.#readNow(doing, body));
  }

  /** The same without waiting for anybody; what SQLite says is thrown as it is. */
  readNow<T>(body: (transaction: Transaction) => T): T {
    return this.#readNow("read", body);
  }

  #readNow<T>(doing: string, body: (transaction: Transaction) => T): T {
    const transaction = this.#open(doing);
    // One snapshot for all that is read.
    transaction.run("begin");
    try {
      transaction.now = this.#now();
      const value = body(transaction);
      transaction.run("commit");
      this.#contact.answered();
      return value;
    } catch (error) {
      this.#connection.rollBack();
      throw error;
    }
  }

  /**
   * Writes, together with what others want to write in the same turn. A body that throws must do so before its first
   * change.
   *
   * @throws {ConnectionError} If the file cannot be written, or another process keeps it locked for 5 s.
   */
  write<T>(options: WriteOptions, body: (transaction: Transaction) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ options, body, resolve, reject, giveUpAt: monotonicMs() + LOCK_MS });
      this.#pumping ??= this.#pump();
    });
  }

  /** Lets what has been handed over be written, for at most a second, and closes. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#pumping !== undefined) await settlesWithin(this.#pumping, BROKER_CLOSE_MS);
    this.#closing.abort();
    await this.#pumping;
    this.#connection.close();
    this.#slice.end();
  }

  async #pump(): Promise<void> {
    // The writes of one turn go together.
    await (this.#slice.isOver ? sleep(0) : Promise.resolve());
    let tries = 0;
    while (this.#waiting.length > 0) {
      const { leaveMs } = this.#turns;
      if (leaveMs > 0) await sleep(leaveMs, { signal: this.#closing.signal });
      const group = this.#nextGroup();
      const busy = this.#writeGroup(group);
      if (busy === undefined) {
        tries = 0;
        // Whoever was answered may have more to write.
        await (this.#slice.isOver ? sleep(0) : Promise.resolve());
        continue;
      }
      this.#waiting.unshift(...group.filter((each) => this.#stillWaits(each, busy)));
      await sleep(backoff(++tries, LOCK_PAUSES), { signal: this.#closing.signal });
    }
    this.#pumping = undefined;
  }

  #nextGroup(): readonly Pending[] {
    const alone = this.#waiting.findIndex((each) => each.alone);
    return this.#waiting.splice(0, alone < 0 ? GROUP : Math.max(1, Math.min(alone, GROUP)));
  }

  /** Whether a call goes on waiting for the lock; who does not is told. */
  #stillWaits({ options, reject, giveUpAt }: Pending, cause: unknown): boolean {
    if (monotonicMs() < giveUpAt && !this.#closing.signal.aborted) return true;
    this.#contact.broke();
    reject(toFileError({ doing: options.doing, address: this.address, cause }));
    return false;
  }

  /** One transaction. Answers with SQLite's error where another process has the lock: nothing was done then. */
  #writeGroup(group: readonly Pending[]): unknown {
    let transaction: Transaction;
    try {
      transaction = this.#open(group[0]?.options.doing ?? "write");
      this.#connection.setDurability(group.some(({ options }) => options.durable === true));
      transaction.run("begin immediate");
    } catch (error) {
      if (isBusy(error)) return error;
      this.#refuse(group, error);
      return undefined;
    }
    this.#turns.taken();
    this.#noteLock(group);
    try {
      const answers = this.#runAll(transaction, group);
      transaction.run("commit");
      this.#turns.left();
      this.#contact.answered();
      for (const answer of answers) answer();
      this.#waiting.unshift(...group.slice(answers.length));
    } catch (error) {
      this.#connection.rollBack();
      if (group.length === 1) this.#refuse(group, error);
      // One that asks for too much (a full disk) must not take its neighbours along.
      else this.#waiting.unshift(...group.map((each) => ({ ...each, alone: true })));
      return undefined;
    }
    this.onCommit();
    return undefined;
  }

  /**
   * Runs the bodies, for a slice of time; what SQLite refuses ends all, what a body itself refuses is its own. Answers
   * for as many as it ran.
   */
  #runAll(transaction: Transaction, group: readonly Pending[]): readonly (() => void)[] {
    transaction.now = this.#now();
    const until = monotonicMs() + SLICE_MS;
    const answers: (() => void)[] = [];
    for (const { body, resolve, reject, options } of group) {
      if (answers.length > 0 && monotonicMs() > until) break;
      try {
        const value = body(transaction) as never;
        answers.push(() => resolve(value));
      } catch (error) {
        if (isOfSqlite(error)) throw error;
        const refusal = toFileError({ doing: options.doing, address: this.address, cause: error });
        answers.push(() => reject(refusal));
      }
    }
    return answers;
  }

  #refuse(group: readonly Pending[], cause: unknown): void {
    this.#contact.broke();
    for (const { options, reject } of group) {
      reject(toFileError({ doing: options.doing, address: this.address, cause }));
    }
  }

  async #patiently<T>(doing: string, attempt: () => T): Promise<T> {
    try {
      return await patiently(attempt, { ended: this.#closing.signal });
    } catch (cause) {
      this.#contact.broke();
      throw toFileError({ doing, address: this.address, cause });
    }
  }

  #open(doing: string): Transaction {
    this.#refuseClosed(doing);
    return this.#connection.current(doing);
  }

  #refuseClosed(doing: string): void {
    if (!this.#closing.signal.aborted && !(this.#closed && this.#pumping === undefined)) return;
    throw new ConnectionError(`Cannot ${doing} at ${this.address}: the connection was closed`, {
      retryable: false,
    });
  }

  #noteLock(group: readonly Pending[]): void {
    this.#contact.waited(
      Math.max(...group.map(({ giveUpAt }) => monotonicMs() - (giveUpAt - LOCK_MS))),
    );
  }
}
