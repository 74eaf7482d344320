/**
 * What went wrong with the file, as an error of this library: whether it can be tried again, and what to do.
 *
 * @module
 */
import { AgentexecError, ConnectionError, IncompatibleError } from "../../errors.ts";
import { SQLITE_BUSY, sqliteCodeOf } from "../../sqlite/codes.ts";

/** What failed. */
export interface Failed {
  /** Completes "Cannot …". */
  readonly doing: string;
  /** The address as it may be shown. */
  readonly address: string;
  /** What SQLite or the system said. */
  readonly cause: unknown;
}

/** The primary result code of SQLite; undefined for any other error. */
function codeOf(error: unknown): number | undefined {
  const code = sqliteCodeOf(error);
  return code === undefined ? undefined : code & 0xff;
}

/** The error of this library for what failed. An error that is one already, or a wrong argument, stays as it is. */
export function toFileError({ doing, address, cause }: Failed): Error {
  if (cause instanceof AgentexecError || cause instanceof RangeError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  const start = `Cannot ${doing} at ${address}`;
  const trouble = troubleOf(cause, text);
  if (trouble === undefined) return new AgentexecError(`${start}: ${text}`, { cause });
  if (trouble === "foreign") {
    return new IncompatibleError(
      `${start}: it has tables of the broker's names that another program made (${text}), name another file`,
      { cause },
    );
  }
  return new ConnectionError(`${start}: ${trouble.why} (${text})`, {
    cause,
    retryable: trouble.passing,
  });
}

interface Trouble {
  readonly why: string;
  /** Whether trying again may help. */
  readonly passing: boolean;
}

function troubleOf(cause: unknown, text: string): Trouble | "foreign" | undefined {
  if (cause instanceof Error && cause.name === "NotCapable") {
    return { why: "Deno does not allow it, grant read and write of the file", passing: false };
  }
  if (/no such (table|column)|has no column/.test(text)) return "foreign";
  switch (codeOf(cause)) {
    case SQLITE_BUSY:
    case 6: // LOCKED
      return { why: "another process has it locked", passing: true };
    case 10: // IOERR
      return { why: "the system cannot read or write it", passing: true };
    case 13: // FULL
      return { why: "the disk is full, make room", passing: true };
    case 3: // PERM
    case 8: // READONLY
      return {
        why: "it, a file beside it (-wal, -shm) or its folder is read-only",
        passing: false,
      };
    case 14: // CANTOPEN
      return { why: "its folder must exist and be writable", passing: false };
    case 11: // CORRUPT
    case 26: // NOTADB
      return DAMAGED;
    default:
      return undefined;
  }
}

const DAMAGED: Trouble = {
  why: "it is damaged or no SQLite database: move it away, or restore it from a copy",
  passing: false,
};
