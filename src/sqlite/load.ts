/**
 * Loading SQLite, which not every runtime has.
 *
 * @module
 */
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
