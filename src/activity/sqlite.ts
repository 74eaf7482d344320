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
  SqliteDialect,
  type SqliteDialectConfig,
  SqliteDriver,
  type TransactionSettings,
} from "kysely";
import type { DatabaseSync } from "node:sqlite";
import { monotonicMs, sleep } from "../clock.ts";
import { failureOf } from "./failure.ts";

/** How long a statement waits for another process's write. */
const BUSY_MS = 5_000;

/** The part of Kysely's config that makes the database: better-sqlite3's interface. */
type Opened = Awaited<ReturnType<Extract<SqliteDialectConfig["database"], () => unknown>>>;
type Statement = ReturnType<Opened["prepare"]>;
type Bindable = null | number | bigint | string | Uint8Array;

/** The files of an SQLite database: all that a process may touch of it. */
export function sqliteFiles(path: string): string[] {
  return [path, `${path}-wal`, `${path}-shm`, `${path}-journal`];
}

/** A dialect on a file, which is made where it is not there. Opens it at first use. */
export function sqliteDialect(path: string): SqliteDialect {
  return new WriterFirstDialect({ database: () => open(path) });
}

/**
 * Transactions take the write lock when they begin: one that reads first and is then overtaken by another
 * process's write could only fail.
 */
class WriterFirstDialect extends SqliteDialect {
  readonly #config: SqliteDialectConfig;

  constructor(config: SqliteDialectConfig) {
    super(config);
    this.#config = config;
  }

  override createDriver(): Driver {
    return new WriterFirstDriver(this.#config);
  }
}

class WriterFirstDriver extends SqliteDriver {
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

async function open(path: string): Promise<Opened> {
  const { DatabaseSync } = await import("node:sqlite");
  const giveUpAt = monotonicMs() + BUSY_MS;
  for (;;) {
    const database = new DatabaseSync(path);
    try {
      prepare(database);
      return adapt(database);
    } catch (error) {
      database.close();
      // Switching to the write-ahead log does not wait for its turn by itself.
      if (failureOf(error) !== "connection" || monotonicMs() > giveUpAt) throw error;
      await sleep(20);
    }
  }
}

function prepare(database: DatabaseSync): void {
  database.exec(`pragma busy_timeout = ${BUSY_MS}`);
  database.exec("pragma journal_mode = wal");
  database.exec("pragma synchronous = full");
  database.exec("pragma foreign_keys = off");
}

/** `node:sqlite` in the shape of better-sqlite3, which is what Kysely's dialect speaks. */
function adapt(database: DatabaseSync): Opened {
  return {
    close() {
      if (database.isOpen) database.close();
    },
    prepare(text): Statement {
      const statement = database.prepare(text);
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...bindable(parameters)),
        run: (parameters) => statement.run(...bindable(parameters)),
        iterate: (parameters) => statement.iterate(...bindable(parameters)),
      };
    },
  };
}

function bindable(parameters: readonly unknown[]): Bindable[] {
  return parameters.map((value) => {
    if (value === undefined) return null;
    if (typeof value === "boolean") return value ? 1 : 0;
    if (value instanceof Date) return value.toISOString();
    // `node:sqlite` itself refuses what else it cannot store, and says so.
    return value as Bindable;
  });
}
