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
import { monotonicMs, sleep } from "../clock.ts";
import { TransactionConflictError } from "../errors.ts";
import { isBusy, SQLITE_BUSY_SNAPSHOT, sqliteCodeOf } from "../sqlite/codes.ts";
import { loadSqlite } from "../sqlite/load.ts";
import { openSqlite } from "../sqlite/opened_file.ts";
import { patiently } from "../sqlite/patience.ts";
import { type Acquire, noneFree, OWN } from "./acquire.ts";
import { DatabaseTimeout, toConnectionError } from "./failure.ts";
import { adapt, type Opened } from "./node_sqlite.ts";
import { mayWrite, readOnlyError } from "./sqlite_statements.ts";
import { WriteLock } from "./write_lock.ts";

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

/** Whether a statement was refused for its values. */
function isOfData(error: unknown): boolean {
  return ((sqliteCodeOf(error) ?? 0) & 0xff) === SQLITE_CONSTRAINT;
}

const SQLITE_READONLY = 8;
const SQLITE_CONSTRAINT = 19;

/** A file that is open. */
interface OpenFile extends Opened {
  /** Whether a transaction is open. */
  readonly isTransaction: boolean;
}

/** Opens a file. */
async function open(path: string, ended: AbortSignal): Promise<OpenFile> {
  const { DatabaseSync } = await loadSqlite(`sqlite:${path}`);
  const file = await patiently(() => openSqlite(DatabaseSync, path), { ended });
  const { database } = file;
  const opened = adapt(database);
  return {
    get isTransaction() {
      return database.isOpen && database.isTransaction;
    },
    close: () => opened.close(),
    prepare(text) {
      // What was begun ends where it began.
      if (!database.isTransaction) file.assertThere("use the database");
      return opened.prepare(text);
    },
  };
}
