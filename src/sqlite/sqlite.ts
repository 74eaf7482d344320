/**
 * Loading SQLite, which not every runtime has, reading its error codes, and telling its files apart.
 *
 * @module
 */
import { statSync } from "node:fs";
import { IncompatibleError } from "../errors.ts";

/**
 * The module `node:sqlite`, loaded when a file is opened. Node.js has it without a flag from 22.13 on, with a busy
 * timeout and the columns of a statement from 22.16 on.
 *
 * @param address The file's address, as it may be shown.
 * @throws {IncompatibleError} If this runtime has no SQLite, or one that lacks these.
 */
export async function loadSqlite(address: string): Promise<typeof import("node:sqlite")> {
  const sqlite = await load(address);
  if (typeof sqlite.StatementSync.prototype.columns === "function") return sqlite;
  throw unsuitable(address, "this runtime's SQLite is too old");
}

async function load(address: string): Promise<typeof import("node:sqlite")> {
  try {
    return await import("node:sqlite");
  } catch (cause) {
    if (!(cause instanceof Error) || Reflect.get(cause, "code") !== "ERR_UNKNOWN_BUILTIN_MODULE") {
      throw cause;
    }
    throw unsuitable(address, "this runtime has no SQLite", { cause });
  }
}

function unsuitable(address: string, why: string, options?: ErrorOptions): IncompatibleError {
  return new IncompatibleError(
    `Cannot open ${address}: ${why}; use Deno or Node.js 22.16 or newer, or Redis and Postgres`,
    options,
  );
}

/** Another connection has the lock: one of the result codes of SQLite. */
export const SQLITE_BUSY = 5;

/** The primary result codes that come without a number, by SQLite's words for them. */
const CODES: readonly (readonly [start: string, code: number])[] = [
  ["database is locked", SQLITE_BUSY],
  ["database table is locked", 6],
  ["attempt to write a readonly database", 8],
  ["disk I/O error", 10],
  ["database disk image is malformed", 11],
  ["database or disk is full", 13],
  ["unable to open database file", 14],
  ["file is not a database", 26],
];

/** Whether SQLite itself says this. */
export function isOfSqlite(error: unknown): error is Error {
  return error instanceof Error &&
    (Reflect.get(error, "code") === "ERR_SQLITE_ERROR" || Reflect.has(error, "errcode"));
}

/**
 * The extended result code of an error of SQLite, https://www.sqlite.org/rescode.html; undefined for any other error.
 * Deno's `exec` and constructor give words alone: their errors have a primary code.
 */
export function sqliteCodeOf(error: unknown): number | undefined {
  if (!isOfSqlite(error)) return undefined;
  const code: unknown = Reflect.get(error, "errcode");
  if (typeof code === "number") return code;
  return CODES.find(([start]) => error.message.startsWith(start))?.[1];
}

/**
 * What a look at an opened file finds: `same`; another one in its place, or none; or that the log beside it (`-wal`)
 * was deleted. What is written after that reaches no other connection.
 */
export type FileFate = "same" | "replaced" | "deleted" | "cut off";

/** A file that a connection has open and has read: SQLite keeps its log as long as there is one. */
export class OpenedFile {
  readonly #path: string;
  readonly #identity: string;
  readonly #log: string | undefined;
  /** Who may read and write it. */
  readonly mode: number;

  private constructor(path: string, { identity, mode }: KnownFile) {
    this.#path = path;
    this.#identity = identity;
    this.#log = this.#logNow();
    this.mode = mode;
  }

  /** The file at a path; null where there is none, as in memory. */
  static at(path: string): OpenedFile | null {
    // It takes no right to use memory, and one to look for a file of that name.
    const file = path === ":memory:" ? undefined : fileAt(path);
    return file === undefined ? null : new OpenedFile(path, file);
  }

  /** What has become of it. */
  look(): FileFate {
    const file = fileAt(this.#path);
    if (file === undefined) return "deleted";
    if (file.identity !== this.#identity) return "replaced";
    return this.#log === undefined || this.#logNow() === this.#log ? "same" : "cut off";
  }

  /** Undefined where there is none, as on a file system without shared memory, or this process may not look. */
  #logNow(): string | undefined {
    try {
      return fileAt(`${this.#path}-wal`)?.identity;
    } catch (error) {
      if (error instanceof Error && error.name === "NotCapable") return undefined;
      throw error;
    }
  }
}

interface KnownFile {
  /** Tells it from another at the same path. */
  readonly identity: string;
  readonly mode: number;
}

function fileAt(path: string): KnownFile | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return undefined;
  return { identity: `${found.dev}:${found.ino}`, mode: found.mode & 0o777 };
}

/** The end of the message where the log of an opened file was deleted. */
export const CUT_OFF =
  "the file -wal beside it was deleted; end every program that uses it, then start again";
