/**
 * Loading SQLite, which not every runtime has.
 *
 * @module
 */
import { IncompatibleError } from "./errors.ts";

/**
 * The module `node:sqlite`, loaded when a file is opened: Node.js before 22.13 has it only by a flag, or not at all.
 *
 * @param address The file's address, as it may be shown.
 * @throws {IncompatibleError} If this runtime has no SQLite.
 */
export async function loadSqlite(address: string): Promise<typeof import("node:sqlite")> {
  try {
    return await import("node:sqlite");
  } catch (cause) {
    if (!(cause instanceof Error) || Reflect.get(cause, "code") !== "ERR_UNKNOWN_BUILTIN_MODULE") {
      throw cause;
    }
    throw new IncompatibleError(
      `Cannot open ${address}: this runtime has no SQLite, Deno and Node.js from 22.13 on have; use them, or Redis and ` +
        `Postgres`,
      { cause },
    );
  }
}
