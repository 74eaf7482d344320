/**
 * The result codes of SQLite, https://www.sqlite.org/rescode.html.
 *
 * @module
 */

/** Another connection has the lock: one of the result codes of SQLite. */
export const SQLITE_BUSY = 5;
/** A transaction that is to write has read what another has changed since. */
export const SQLITE_BUSY_SNAPSHOT = 517;

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
 * The extended result code of an error of SQLite; undefined for any other error.
 * Deno's `exec` and constructor give words alone: their errors have a primary code.
 */
export function sqliteCodeOf(error: unknown): number | undefined {
  if (!isOfSqlite(error)) return undefined;
  const code: unknown = Reflect.get(error, "errcode");
  if (typeof code === "number") return code;
  return CODES.find(([start]) => error.message.startsWith(start))?.[1];
}

/** Whether another connection has the lock. A transaction that has been overtaken gains nothing by waiting. */
export function isBusy(error: unknown): boolean {
  const code = sqliteCodeOf(error);
  return code !== undefined && (code & 0xff) === SQLITE_BUSY && code !== SQLITE_BUSY_SNAPSHOT;
}
