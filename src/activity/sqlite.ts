/**
 * SQLite: Kysely's own dialect over `node:sqlite`. The module is loaded only when it is used, since
 * Node.js 20 does not have it.
 *
 * @module
 */
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
  SqliteDialect,
  type SqliteDialectConfig,
  SqliteDriver,
  type TransactionSettings,
} from "kysely";
import type { DatabaseSync } from "node:sqlite";
import { monotonicMs, sleep } from "../clock.ts";
import { ConnectionError } from "../errors.ts";
import { LockTurns } from "../lock_turns.ts";
import { CUT_OFF, loadSqlite, OpenedFile, SQLITE_BUSY, sqliteCodeOf } from "../sqlite.ts";
import { adapt, type Opened } from "./node_sqlite.ts";

/** How long a statement waits for another connection's write. */
const BUSY_MS = 5_000;
/** Short, as others may write with hardly a break: whoever looks seldom then finds the lock taken for seconds. */
const LONGEST_PAUSE_MS = 8;

/** A dialect on a file, which is made where it is not there. Opens it at first use. */
export function sqliteDialect(path: string): SqliteDialect {
  const ended = new AbortController();
  return new PatientDialect({ database: () => open(path, ended.signal) }, ended);
}

class PatientDialect extends SqliteDialect {
  readonly #config: SqliteDialectConfig;
  readonly #ended: AbortController;

  constructor(config: SqliteDialectConfig, ended: AbortController) {
    super(config);
    this.#config = config;
    this.#ended = ended;
  }

  override createDriver(): Driver {
    return new PatientDriver(this.#config, this.#ended);
  }
}

/**
 * Transactions take the write lock when they begin: one that reads first and is then overtaken by another
 * connection's write could only fail.
 *
 * Whoever has to wait for another's write waits beside the event loop. SQLite's own way of waiting stops
 * the thread, and with it the very transaction that is waited for, where that is this process's own.
 */
class PatientDriver extends SqliteDriver {
  /** Whoever waits when the file is closed waits no longer. */
  readonly #ended: AbortController;
  #connection: DatabaseConnection | undefined;

  constructor(config: SqliteDialectConfig, ended: AbortController) {
    super(config);
    this.#ended = ended;
  }

  override async acquireConnection(): Promise<DatabaseConnection> {
    return this.#connection ??= new PatientConnection(
      await super.acquireConnection(),
      this.#ended.signal,
    );
  }

  override async destroy(): Promise<void> {
    this.#ended.abort();
    await super.destroy();
  }

  override async beginTransaction(
    connection: DatabaseConnection,
    _settings?: TransactionSettings,
  ): Promise<void> {
    await connection.executeQuery(CompiledQuery.raw("begin immediate"));
  }

  override async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    try {
      await super.rollbackTransaction(connection);
    } catch (error) {
      // A full disk has rolled it back already; that first error is the one that counts.
      if (!(error instanceof Error && /no transaction is active/.test(error.message))) throw error;
    }
  }
}

class PatientConnection implements DatabaseConnection {
  readonly #connection: DatabaseConnection;
  readonly #ended: AbortSignal;
  readonly #turns = new LockTurns();

  constructor(connection: DatabaseConnection, ended: AbortSignal) {
    this.#connection = connection;
    this.#ended = ended;
  }

  /** Whoever begins a transaction, by the driver or in words, takes turns. */
  async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
    const begins = query.sql === "begin immediate";
    const { leaveMs } = this.#turns;
    if (begins && leaveMs > 0) await sleep(leaveMs, { signal: this.#ended });
    const result = await patiently(() => this.#connection.executeQuery<R>(query), this.#ended);
    if (begins) this.#turns.taken();
    else if (query.sql === "commit" || query.sql === "rollback") this.#turns.left();
    return result;
  }

  streamQuery<R>(query: CompiledQuery, chunkSize: number): AsyncIterableIterator<QueryResult<R>> {
    return this.#connection.streamQuery<R>(query, chunkSize);
  }
}

/** Tries again while another connection writes, until the file is closed. */
async function patiently<T>(attempt: () => T | Promise<T>, ended: AbortSignal): Promise<T> {
  const giveUpAt = monotonicMs() + BUSY_MS;
  for (let pause = 1;; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      return await attempt();
    } catch (error) {
      if (!isBusy(error) || monotonicMs() > giveUpAt || ended.aborted) throw error;
    }
    // Not all at the same moment.
    await sleep(pause * (0.5 + Math.random()), { signal: ended });
  }
}

/** Whether another connection has the lock. A transaction that has been overtaken gains nothing by waiting. */
function isBusy(error: unknown): boolean {
  const code = sqliteCodeOf(error);
  return code === SQLITE_BUSY || code === SQLITE_BUSY_RECOVERY;
}

const SQLITE_BUSY_RECOVERY = 261;

const PRAGMAS = [
  "pragma busy_timeout = 0",
  "pragma journal_mode = wal",
  "pragma synchronous = full",
  "pragma foreign_keys = off",
  // Of a file that has just become one with a log, the log is opened by the first read alone.
  "select count(*) from sqlite_schema",
];

/** Opens a file. Once it is another one that the path names, that one: what is written to the former nobody reads. */
async function open(path: string, ended: AbortSignal): Promise<Opened> {
  const { DatabaseSync } = await loadSqlite(`sqlite:${path}`);
  let current = await patiently(() => connect(DatabaseSync, path), ended);
  return {
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
