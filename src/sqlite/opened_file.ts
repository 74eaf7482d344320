/**
 * A file that is open, and what becomes of it under a running program: one that was deleted or replaced goes on taking
 * writes that nobody will ever read, so every use of it is refused from then on.
 *
 * @module
 */
import { statSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { ConnectionError } from "../errors.ts";

const PRAGMAS = [
  // SQLite's own way of waiting would stop the thread: see patiently().
  "pragma busy_timeout = 0",
  "pragma journal_mode = wal",
  "pragma synchronous = full",
  "pragma foreign_keys = off",
  // Of a file that has just become one with a log, the log is opened by the first read alone.
  "select count(*) from sqlite_schema",
];

/** Opens a file, which is made if it is not there. What SQLite says is thrown as it is. */
export function openSqlite(Sqlite: typeof DatabaseSync, path: string): OpenedFile {
  const database = new Sqlite(path);
  try {
    // Prepared, not by `exec`: under Deno that one's errors lack the number which says that a lock is the trouble.
    for (const pragma of PRAGMAS) database.prepare(pragma).all();
    return new OpenedFile(database, path);
  } catch (error) {
    database.close();
    throw error;
  }
}

/** A file that a connection has open and has read: SQLite keeps its log as long as there is one. */
export class OpenedFile {
  /** The connection. */
  readonly database: DatabaseSync;
  readonly #path: string;
  /** Tells it from another at the same path; undefined in memory. */
  readonly #identity: string | undefined;
  readonly #log: string | undefined;

  /** A file whose log is open. */
  constructor(database: DatabaseSync, path: string) {
    this.database = database;
    this.#path = path;
    // It takes no right to use memory, and one to look for a file of that name.
    if (path === ":memory:") return;
    this.#identity = identityOf(path);
    this.#log = this.#logNow();
  }

  /**
   * Makes sure that others read what is written to it.
   *
   * @throws {ConnectionError} If it, or the log beside it (`-wal`), was deleted or replaced.
   */
  assertThere(doing: string): void {
    const gone = this.#gone();
    if (gone === undefined) return;
    throw new ConnectionError(
      `Cannot ${doing} at sqlite:${this.#path}: ${gone}; end every program that uses it, then start again`,
      { retryable: false },
    );
  }

  #gone(): string | undefined {
    if (this.#identity === undefined) return undefined;
    const identity = identityOf(this.#path);
    if (identity === undefined) return "the file was deleted";
    if (identity !== this.#identity) return "another file was put in its place";
    if (this.#log === undefined || this.#logNow() === this.#log) return undefined;
    return "the file -wal beside it was deleted";
  }

  /** Undefined if there is none, as on a file system without shared memory, or this process may not look. */
  #logNow(): string | undefined {
    try {
      return identityOf(`${this.#path}-wal`);
    } catch (error) {
      if (error instanceof Error && error.name === "NotCapable") return undefined;
      throw error;
    }
  }
}

function identityOf(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? undefined : `${found.dev}:${found.ino}`;
}
