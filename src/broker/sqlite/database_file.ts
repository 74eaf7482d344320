/**
 * One process's connection to the file. Writes that come together go into one transaction, and whoever has to wait for
 * another process's write waits beside the event loop: SQLite's own way of waiting would stop the thread.
 *
 * @module
 */
import type { DatabaseSync } from "node:sqlite";
import { monotonicMs, settlesWithin, sleep, TimeSlice, wallClockMs } from "../../clock.ts";
import { loadSqlite } from "../../sqlite.ts";
import { ConnectionError } from "../../errors.ts";
import { isBusy, isOfSqlite, toFileError } from "./failure.ts";
import { identityOf } from "./identity.ts";
import { prepareSchema } from "./schema.ts";
import { Transaction } from "./transaction.ts";

/** How long a call may take. */
const CALL_MS = 5_000;
/** How long SQLite itself may wait for a lock, with the event loop standing still. */
const BUSY_MS = 2;
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 16;
/** The most calls of one transaction: others want to write too. */
const GROUP = 256;
/** After how long a transaction takes no further call, and the event loop has to turn between two. */
const SLICE_MS = 10;
const CLOSE_MS = 1_000;
/** Silence between two calls that counts as a break: supervisors call every second. */
const BREAK_MS = 3_000;
/** A lock that took longer may have been waited for by all who had to renew. */
const LATE_MS = 1_000;

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
}

type Sqlite = typeof DatabaseSync;

interface Connected {
  readonly database: DatabaseSync;
  readonly transaction: Transaction;
  /** Makes such a connection. */
  readonly Sqlite: Sqlite;
  /** Which file it is; null where it is none, in memory. */
  readonly identity: string | null;
}

/** The file of a broker. */
export class DatabaseFile {
  /** The address as it may be shown. */
  readonly address: string;
  /** Called after each transaction of this process that was committed. */
  onCommit: () => void = () => {};
  readonly #path: string;
  readonly #now: () => number;
  #connected: Connected | undefined;
  #closed = false;
  readonly #waiting: Pending[] = [];
  #pumping: Promise<void> | undefined;
  readonly #closing = new AbortController();
  readonly #slice = new TimeSlice(SLICE_MS);
  #synchronous: "full" | "normal" | undefined;
  #replaced = 0;
  #version = "";
  /** Since when it has answered without a break. */
  #contactSince = 0;
  #lastAnswer = { monotonic: 0, wall: 0 };

  /** Opens nothing yet. */
  constructor(path: string, now: () => number) {
    this.#path = path;
    this.#now = now;
    this.address = `sqlite:${path}`;
  }

  /** For how long, in milliseconds, it has answered without a break. */
  get contactMs(): number {
    if (this.#isBreak()) this.#contactSince = monotonicMs();
    return monotonicMs() - this.#contactSince;
  }

  /** Opens it, makes the tables where they are not there, and makes sure that it can be written. */
  async open(): Promise<void> {
    if (this.#connected !== undefined) return;
    const doing = "open the broker";
    this.#refuseClosed(doing);
    const { DatabaseSync } = await loadSqlite(this.address);
    await this.#patiently(doing, monotonicMs() + CALL_MS, () => {
      this.#refuseClosed(doing);
      this.#connected ??= this.#connect(DatabaseSync);
    });
    this.#contactSince = monotonicMs();
    this.#answered();
  }

  #connect(Sqlite: Sqlite): Connected {
    const database = new Sqlite(this.#path);
    const transaction = new Transaction(database);
    try {
      transaction.run(`pragma busy_timeout = ${BUSY_MS}`);
      transaction.run("pragma journal_mode = wal");
      transaction.run("pragma synchronous = full");
      transaction.run("begin immediate");
      prepareSchema(transaction, this.address);
      transaction.run("commit");
      this.#synchronous = "full";
      return { database, transaction, Sqlite, identity: identityOf(this.#path) };
    } catch (error) {
      // With it goes what was begun.
      database.close();
      throw error;
    }
  }

  /** How often another file was found in its place. */
  get replaced(): number {
    return this.#replaced;
  }

  /** Changes when another process has written, or the file was replaced; the last one while it cannot be read. */
  version(): string {
    try {
      const row = this.#open("look").transaction.get<{ data_version: number }>(
        "pragma data_version",
      );
      this.#version = `${this.#replaced}/${row?.data_version}`;
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
    return await this.#patiently(doing, monotonicMs() + CALL_MS, () => this.#readNow(doing, body));
  }

  /** The same without waiting for anybody; what SQLite says is thrown as it is. */
  readNow<T>(body: (transaction: Transaction) => T): T {
    return this.#readNow("read", body);
  }

  #readNow<T>(doing: string, body: (transaction: Transaction) => T): T {
    const { database, transaction } = this.#open(doing);
    // One snapshot for all that is read.
    transaction.run("begin");
    try {
      transaction.now = this.#now();
      const value = body(transaction);
      transaction.run("commit");
      this.#answered();
      return value;
    } catch (error) {
      rollBack(database);
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
      this.#waiting.push({ options, body, resolve, reject, giveUpAt: monotonicMs() + CALL_MS });
      this.#pumping ??= this.#pump();
    });
  }

  /** Lets what has been handed over be written, for at most a second, and closes. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#pumping !== undefined) await settlesWithin(this.#pumping, CLOSE_MS);
    this.#closing.abort();
    await this.#pumping;
    this.#connected?.database.close();
    this.#connected = undefined;
    this.#slice.end();
  }

  async #pump(): Promise<void> {
    // The writes of one turn go together.
    await (this.#slice.isOver ? sleep(0) : Promise.resolve());
    let pause = FIRST_PAUSE_MS;
    while (this.#waiting.length > 0) {
      const group = this.#waiting.splice(0, GROUP);
      const busy = this.#writeGroup(group);
      if (busy === undefined) {
        pause = FIRST_PAUSE_MS;
        // Whoever was answered may have more to write.
        await (this.#slice.isOver ? sleep(0) : Promise.resolve());
        continue;
      }
      this.#waiting.unshift(...group.filter((each) => this.#stillWaits(each, busy)));
      await sleep(jitter(pause), { signal: this.#closing.signal });
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
    this.#pumping = undefined;
  }

  /** Whether a call goes on waiting for the lock; who does not is told. */
  #stillWaits({ options, reject, giveUpAt }: Pending, cause: unknown): boolean {
    if (monotonicMs() < giveUpAt && !this.#closing.signal.aborted) return true;
    this.#broke();
    reject(toFileError({ doing: options.doing, address: this.address, cause }));
    return false;
  }

  /** One transaction. Answers with SQLite's error where another process has the lock: nothing was done then. */
  #writeGroup(group: readonly Pending[]): unknown {
    let connected: Connected;
    try {
      connected = this.#open(group[0]?.options.doing ?? "write");
      this.#setDurability(connected, group.some(({ options }) => options.durable === true));
      connected.transaction.run("begin immediate");
    } catch (error) {
      if (isBusy(error)) return error;
      this.#refuse(group, error);
      return undefined;
    }
    this.#noteLock(group);
    try {
      const answers = this.#runAll(connected, group);
      connected.transaction.run("commit");
      this.#answered();
      for (const answer of answers) answer();
      this.#waiting.unshift(...group.slice(answers.length));
    } catch (error) {
      rollBack(connected.database);
      // One that asks for too much (a full disk) must not take its neighbours along.
      if (group.length > 1) { for (const each of group) this.#writeAlone(each); }
      else this.#refuse(group, error);
      return undefined;
    }
    this.onCommit();
    return undefined;
  }

  #writeAlone(pending: Pending): void {
    const busy = this.#writeGroup([pending]);
    if (busy !== undefined) this.#waiting.push(pending);
  }

  /**
   * Runs the bodies, for a slice of time; what SQLite refuses ends all, what a body itself refuses is its own. Answers
   * for as many as it ran.
   */
  #runAll({ transaction }: Connected, group: readonly Pending[]): readonly (() => void)[] {
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
    this.#broke();
    for (const { options, reject } of group) {
      reject(toFileError({ doing: options.doing, address: this.address, cause }));
    }
  }

  #setDurability({ transaction }: Connected, durable: boolean): void {
    const wanted = durable ? "full" : "normal";
    if (this.#synchronous === wanted) return;
    transaction.run(`pragma synchronous = ${wanted}`);
    this.#synchronous = wanted;
  }

  /** Tries again while another process has the lock. */
  async #patiently<T>(doing: string, giveUpAt: number, attempt: () => T): Promise<T> {
    for (let pause = FIRST_PAUSE_MS;; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
      try {
        return attempt();
      } catch (cause) {
        if (!isBusy(cause) || monotonicMs() > giveUpAt || this.#closing.signal.aborted) {
          this.#broke();
          throw toFileError({ doing, address: this.address, cause });
        }
      }
      await sleep(jitter(pause), { signal: this.#closing.signal });
    }
  }

  #open(doing: string): Connected {
    this.#refuseClosed(doing);
    if (this.#connected === undefined) {
      throw new ConnectionError(`Cannot ${doing} at ${this.address}: it has not been opened`, {
        retryable: false,
      });
    }
    return this.#reopened(this.#connected);
  }

  /** Where somebody deleted or replaced the file, the one that is there now, made anew: the broker lost its data. */
  #reopened(connected: Connected): Connected {
    const { database, identity, Sqlite } = connected;
    if (identity === null || identityOf(this.#path) === identity) return connected;
    this.#connected = this.#connect(Sqlite);
    this.#replaced++;
    this.#broke();
    database.close();
    return this.#connected;
  }

  #refuseClosed(doing: string): void {
    if (!this.#closing.signal.aborted && !(this.#closed && this.#pumping === undefined)) return;
    throw new ConnectionError(`Cannot ${doing} at ${this.address}: the connection was closed`, {
      retryable: false,
    });
  }

  // Contact

  #isBreak(): boolean {
    const { monotonic, wall } = this.#lastAnswer;
    const silence = monotonicMs() - monotonic;
    const walled = wallClockMs() - wall;
    // The one clock stands still while a machine sleeps, the other is set by hand.
    return silence > BREAK_MS || Math.abs(walled - silence) > LATE_MS;
  }

  #answered(): void {
    if (this.#isBreak()) this.#contactSince = monotonicMs();
    this.#lastAnswer = { monotonic: monotonicMs(), wall: wallClockMs() };
  }

  #noteLock(group: readonly Pending[]): void {
    const waited = Math.max(
      ...group.map(({ giveUpAt }) => monotonicMs() - (giveUpAt - CALL_MS)),
    );
    if (waited > LATE_MS) this.#broke();
  }

  #broke(): void {
    this.#contactSince = monotonicMs();
  }
}

/** Not all at the same moment. */
function jitter(ms: number): number {
  return ms * (0.5 + Math.random());
}

function rollBack(database: DatabaseSync): void {
  try {
    database.exec("rollback");
  } catch (error) {
    // A full disk has rolled it back already; the error before is the one that counts.
    if (!isOfSqlite(error)) throw error;
  }
}
