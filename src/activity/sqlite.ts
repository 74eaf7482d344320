/**
 * SQLite: Kysely's own dialect over `node:sqlite`. The module is loaded only when it is used, since
 * Node.js 20 does not have it.
 *
 * @module
 */
import {
  CompiledQuery,
  type DatabaseConnection,
  type DialectAdapter,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteDialect,
  SqliteDriver,
  type TransactionSettings,
} from "kysely";
import type { DatabaseSync } from "node:sqlite";
import { backoff, monotonicMs, sleep } from "../clock.ts";
import { ConnectionError, TransactionConflictError } from "../errors.ts";
import { CUT_OFF, loadSqlite, OpenedFile, SQLITE_BUSY, sqliteCodeOf } from "../sqlite/sqlite.ts";
import { type Acquire, noneFree, OWN } from "./acquire.ts";
import { DatabaseTimeout, toConnectionError } from "./failure.ts";
import { adapt, type Opened } from "./node_sqlite.ts";
import { mayWrite, readOnlyError } from "./sqlite_statements.ts";
import { WriteLock } from "./write_lock.ts";

/** How long a statement waits for another connection's write. */
const BUSY_MS = 5_000;
/** Short, as others may write with hardly a break: whoever looks seldom then finds the lock taken for seconds. */
const BUSY_PAUSES = { firstMs: 1, mostMs: 10 };

/** How an SQLite file is used. */
export interface SqliteOptions {
  /**
   * How many connections at most.
   *
   * @default {1}
   */
  readonly connections?: number | undefined;
  /**
   * How a connection is waited for.
   *
   * @default {OWN}
   */
  readonly acquire?: Acquire | undefined;
  /**
   * Told in a sentence when a handler holds the write lock for 2 s. Given, the connections are handlers': their errors
   * say it all, as nobody adds to them.
   *
   * @default {undefined} (the connections are the library's own)
   */
  readonly onLongLock?: ((text: string) => void) | undefined;
}

/** A dialect on a file, which is made where it is not there. Opens it at first use. */
export function sqliteDialect(path: string, options: SqliteOptions = {}): SqliteDialect {
  return new PatientDialect(path, options);
}

class PatientDialect extends SqliteDialect {
  readonly #path: string;
  readonly #options: SqliteOptions;

  constructor(path: string, options: SqliteOptions) {
    super({ database: () => Promise.reject(new TypeError("The driver opens the file itself")) });
    this.#path = path;
    this.#options = options;
  }

  override createDriver(): Driver {
    return new PatientDriver(this.#path, this.#options);
  }

  override createAdapter(): DialectAdapter {
    return (this.#options.connections ?? 1) > 1 ? new ManyAdapter() : super.createAdapter();
  }
}

/** Kysely keeps nobody waiting: the driver has connections of its own to give. */
class ManyAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
}

/**
 * Transactions begin without a lock, and take the write lock with their first write: whoever reads and waits in one
 * keeps nobody from writing. One that is to write what it has read begins as `read write`, or `serializable`, and takes
 * the lock at once; the library's own all do.
 *
 * Whoever has to wait for another's write waits beside the event loop. SQLite's own way of waiting stops
 * the thread, and with it the very transaction that is waited for, where that is this process's own.
 */
class PatientDriver implements Driver {
  readonly #path: string;
  readonly #options: SqliteOptions;
  /** Whoever waits when the file is closed waits no longer. */
  readonly #ended = new AbortController();
  readonly #all: PatientConnection[] = [];
  readonly #free: PatientConnection[] = [];
  /** Those that are being opened. */
  #opening = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(path: string, options: SqliteOptions) {
    this.#path = path;
    this.#options = options;
  }

  get #handlers(): boolean {
    return this.#options.onLongLock !== undefined;
  }

  async init(): Promise<void> {
    this.#free.push(await this.#open());
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    const most = this.#options.connections ?? 1;
    const { acquire = OWN } = this.#options;
    const giveUpAt = monotonicMs() + acquire.ms;
    for (;;) {
      const free = this.#free.pop();
      if (free !== undefined) return free;
      if (this.#all.length + this.#opening < most) return await this.#open();
      if (!await this.#freed(giveUpAt - monotonicMs())) {
        throw noneFree(acquire, { address: `sqlite:${this.#path}`, connections: most });
      }
    }
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    // Begun in words and left open: nobody would end it, and the next one to get it would be in it.
    if (this.#handlers && ours(connection).isTransaction) {
      await this.rollbackTransaction(connection);
    }
    this.#free.push(ours(connection));
    this.#waiting.shift()?.();
  }

  destroy(): Promise<void> {
    this.#ended.abort();
    for (const connection of this.#all) connection.close();
    return Promise.resolve();
  }

  async beginTransaction(
    connection: DatabaseConnection,
    { accessMode, isolationLevel }: TransactionSettings = {},
  ): Promise<void> {
    if (accessMode === "read only") return await ours(connection).beginReadOnly();
    const locks = accessMode === "read write" || isolationLevel === "serializable";
    await connection.executeQuery(CompiledQuery.raw(locks ? "begin immediate" : "begin"));
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("commit"));
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      await connection.executeQuery(CompiledQuery.raw("rollback"));
    } catch (error) {
      // A full disk has rolled it back already; that first error is the one that counts.
      if (!(error instanceof Error && /no transaction is active/.test(error.message))) throw error;
    }
  }

  async savepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`savepoint ${quoted(name)}`));
  }

  async rollbackToSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`rollback to ${quoted(name)}`));
  }

  async releaseSavepoint(connection: DatabaseConnection, name: string): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw(`release ${quoted(name)}`));
  }

  async #open(): Promise<PatientConnection> {
    this.#opening++;
    try {
      const connection = await PatientConnection.open(this.#path, {
        ...this.#options,
        ended: this.#ended.signal,
      });
      if (this.#ended.signal.aborted) connection.close();
      this.#all.push(connection);
      return connection;
    } finally {
      this.#opening--;
    }
  }

  /** Waits until a connection is free; false where none was in time. */
  async #freed(ms: number): Promise<boolean> {
    const freed = new AbortController();
    const call = () => freed.abort();
    this.#waiting.push(call);
    await sleep(ms, { signal: AbortSignal.any([freed.signal, this.#ended.signal]) });
    const place = this.#waiting.indexOf(call);
    if (place >= 0) this.#waiting.splice(place, 1);
    return freed.signal.aborted;
  }
}

function ours(connection: DatabaseConnection): PatientConnection {
  return connection as PatientConnection;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** How a connection is opened. */
interface ConnectionOptions extends SqliteOptions {
  /** Aborts when the driver is closed. */
  readonly ended: AbortSignal;
}

class PatientConnection implements DatabaseConnection {
  readonly #path: string;
  readonly #options: ConnectionOptions;
  readonly #file: OpenFile;
  readonly #connection: DatabaseConnection;
  readonly #lock: WriteLock;
  #readOnly = false;

  private constructor(
    path: string,
    options: ConnectionOptions,
    { file, connection }: { readonly file: OpenFile; readonly connection: DatabaseConnection },
  ) {
    this.#path = path;
    this.#options = options;
    this.#file = file;
    this.#connection = connection;
    this.#lock = new WriteLock({ path, onLongLock: options.onLongLock });
  }

  static async open(path: string, options: ConnectionOptions): Promise<PatientConnection> {
    const file = await open(path, options.ended);
    const driver = new SqliteDriver({ database: file });
    await driver.init();
    return new PatientConnection(path, options, {
      file,
      connection: await driver.acquireConnection(),
    });
  }

  close(): void {
    if (this.#lock.isHeld) this.#lock.left();
    this.#file.close();
  }

  /** Whether a transaction is open. */
  get isTransaction(): boolean {
    return this.#file.isTransaction;
  }

  /** Begins a transaction that can only read. */
  async beginReadOnly(): Promise<void> {
    await this.executeQuery(CompiledQuery.raw("begin"));
    await this.executeQuery(CompiledQuery.raw("pragma query_only = 1"));
    this.#readOnly = true;
  }

  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const takesLock = !this.#lock.isHeld &&
      (/^\s*begin\s+(immediate|exclusive)/i.test(query.sql) ||
        (this.#file.isTransaction && mayWrite(query.sql)));
    if (takesLock && this.#lock.leaveMs > 0) {
      await sleep(this.#lock.leaveMs, { signal: this.#options.ended });
    }
    let waited = false;
    try {
      const result = await patiently(() => this.#connection.executeQuery<R>(query), {
        ended: this.#options.ended,
        onWait: () => waited = true,
      });
      if (takesLock && !this.#readOnly) this.#lock.taken({ waited });
      return result;
    } catch (error) {
      // What was refused for its data keeps the lock of its transaction.
      if (takesLock && isOfData(error)) this.#lock.taken({ waited });
      throw this.#told(error);
    } finally {
      if (!this.#file.isTransaction && (this.#lock.isHeld || this.#readOnly)) await this.#ended();
    }
  }

  streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    return this.#connection.streamQuery<R>(query, chunkSize);
  }

  /** No transaction is open (any more). */
  async #ended(): Promise<void> {
    if (this.#lock.isHeld) this.#lock.left();
    if (!this.#readOnly) return;
    this.#readOnly = false;
    await this.#connection.executeQuery(CompiledQuery.raw("pragma query_only = 0"));
  }

  /** An error with what SQLite does not say. */
  #told(error: unknown): unknown {
    const code = sqliteCodeOf(error);
    if (code === SQLITE_READONLY && this.#readOnly) return readOnlyError(error);
    if (code === SQLITE_BUSY_SNAPSHOT) return overtaken(this.#path, error);
    if (!isBusy(error)) return error;
    const holder = this.#lock.holder();
    const locked = holder === undefined ? error : new DatabaseTimeout(holder, { cause: error });
    return this.#options.onLongLock === undefined
      ? locked
      : toConnectionError(locked, "use the database", `sqlite:${this.#path}`);
  }
}

function overtaken(path: string, cause: unknown): TransactionConflictError {
  return new TransactionConflictError(
    `Cannot write in this transaction of sqlite:${path}: another has written since it first read; run it again, ` +
      `or begin it by transaction().setAccessMode("read write"), which lets nobody write in between`,
    { cause },
  );
}

/** How to wait for others. */
interface Patience {
  /** Ends the wait. */
  readonly ended: AbortSignal;
  /** Called when it has to wait. */
  readonly onWait?: () => void;
}

/** Tries again while another connection writes, until the file is closed. */
async function patiently<T>(
  attempt: () => T | Promise<T>,
  { ended, onWait }: Patience,
): Promise<T> {
  const giveUpAt = monotonicMs() + BUSY_MS;
  for (let failures = 1;; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isBusy(error) || monotonicMs() > giveUpAt || ended.aborted) throw error;
    }
    onWait?.();
    await sleep(backoff(failures, BUSY_PAUSES), { signal: ended });
  }
}

/** Whether another connection has the lock. A transaction that has been overtaken gains nothing by waiting. */
function isBusy(error: unknown): boolean {
  const code = sqliteCodeOf(error);
  return code === SQLITE_BUSY || code === SQLITE_BUSY_RECOVERY;
}

/** Whether a statement was refused for its values. */
function isOfData(error: unknown): boolean {
  return ((sqliteCodeOf(error) ?? 0) & 0xff) === SQLITE_CONSTRAINT;
}

const SQLITE_BUSY_RECOVERY = 261;
const SQLITE_BUSY_SNAPSHOT = 517;
const SQLITE_READONLY = 8;
const SQLITE_CONSTRAINT = 19;

const PRAGMAS = [
  "pragma busy_timeout = 0",
  "pragma journal_mode = wal",
  "pragma synchronous = full",
  "pragma foreign_keys = off",
  // Of a file that has just become one with a log, the log is opened by the first read alone.
  "select count(*) from sqlite_schema",
];

/** A file that is open. */
interface OpenFile extends Opened {
  /** Whether a transaction is open. */
  readonly isTransaction: boolean;
}

/** Opens a file. Once it is another one that the path names, that one: what is written to the former nobody reads. */
async function open(path: string, ended: AbortSignal): Promise<OpenFile> {
  const { DatabaseSync } = await loadSqlite(`sqlite:${path}`);
  let current = await patiently(() => connect(DatabaseSync, path), { ended });
  return {
    get isTransaction() {
      return current.database.isOpen && current.database.isTransaction;
    },
    close: () => current.opened.close(),
    prepare(text) {
      // What was begun ends where it began.
      if (
        current.file !== null && !current.database.isTransaction && isReplaced(path, current.file)
      ) {
        const former = current;
        current = connect(DatabaseSync, path);
        former.opened.close();
      }
      return current.opened.prepare(text);
    },
  };
}

interface Connected {
  readonly database: DatabaseSync;
  readonly opened: Opened;
  /** Null in memory. */
  readonly file: OpenedFile | null;
}

function connect(Sqlite: typeof DatabaseSync, path: string): Connected {
  const database = new Sqlite(path);
  try {
    // Prepared, not by `exec`: under Deno that one's errors lack the number which says that a lock is the trouble.
    for (const pragma of PRAGMAS) database.prepare(pragma).all();
    return { database, opened: adapt(database), file: OpenedFile.at(path) };
  } catch (error) {
    database.close();
    throw error;
  }
}

/**
 * @throws {ConnectionError} If there is no file any more: an empty one would not help, it has no tables. Or no log, and
 * with it no way to others.
 */
function isReplaced(path: string, file: OpenedFile): boolean {
  const fate = file.look();
  switch (fate) {
    case "same":
    case "replaced":
      return fate === "replaced";
    case "deleted":
      throw new ConnectionError(
        `Cannot use sqlite:${path}: the file was deleted; start the program again`,
        { retryable: true },
      );
    case "cut off":
      throw new ConnectionError(`Cannot use sqlite:${path}: ${CUT_OFF}`, { retryable: false });
    default:
      return fate satisfies never;
  }
}
