/**
 * What a database's error means: trouble with the connection, with the data, or with something else. Works
 * on the errors of `pg`, postgres.js, `node:sqlite` and of sockets alike.
 *
 * @module
 */
import { AgentexecError, ConnectionError, MigrationError } from "../errors.ts";
import { isDenied } from "../program/permissions.ts";
import { sqliteCodeOf } from "../sqlite/codes.ts";

/** What to do about an error. */
export type Failure =
  /** The connection broke or the server cannot serve now: trying again can help. */
  | "connection"
  /** The server refuses this user, or this process may not reach it: trying again cannot help. */
  | "refused"
  /** The database refuses the values of this statement. */
  | "data"
  /** Tables or columns are missing. */
  | "unmigrated"
  /** Anything else, such as a missing privilege or an error of the library itself. */
  | "other";

/** A statement, or a connection, that was given up because it took too long. */
export class DatabaseTimeout extends AgentexecError {
  /** `"DatabaseTimeout"` */
  override readonly name: string = "DatabaseTimeout";
}

/** Rows that another transaction holds locked: it may be over at the next try. */
export class RowsLocked extends DatabaseTimeout {
  /** `"RowsLocked"` */
  override readonly name = "RowsLocked";

  /** Makes the error of some rows, named by their ids. */
  constructor(ids: readonly string[]) {
    const others = ids.length > 1 ? ` and ${ids.length - 1} more` : "";
    super(`another transaction holds the row of ${ids[0]}${others} locked`);
  }
}

/** Whether a statement ended since it would have had to wait for a lock for longer than it may. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof Error && codeOf(error) === "55P03";
}

/**
 * Whether a database refused a statement for its values, or by a rule: a constraint, a trigger of somebody's, a missing
 * right. Undefined if it is not the database that speaks.
 */
export function refusalOf(error: unknown): "data" | "rule" | undefined {
  const seen = new Set<unknown>();
  for (let each = error; each instanceof Error && !seen.has(each); each = each.cause) {
    seen.add(each);
    const number = sqliteCodeOf(each);
    if (number !== undefined) {
      return ownFailure(each) === "data" && (number & 0xff) !== SQLITE_CONSTRAINT ? "data" : "rule";
    }
    const code = codeOf(each);
    if (/^[0-9A-Z]{5}$/.test(code) && !SOCKET_CODES.has(code)) {
      return /^(21|22|54)/.test(code) ? "data" : "rule";
    }
  }
  return undefined;
}

/** Classifies what a driver threw, by the first error in its chain of causes that tells. */
export function failureOf(error: unknown): Failure {
  const seen = new Set<unknown>();
  for (let each = error; each instanceof Error && !seen.has(each); each = each.cause) {
    seen.add(each);
    const failure = ownFailure(each);
    if (failure !== "other") return failure;
  }
  return "other";
}

/**
 * Whether the server itself cannot be reached, or is not up. A statement that was given up, a lock or a deadlock are trouble
 * that trying again can cure, but no outage.
 */
export function isUnreachable(error: unknown): boolean {
  const failure = failureOf(error);
  if (failure === "refused") return true;
  if (failure !== "connection") return false;
  for (let each = error; each instanceof Error; each = each.cause) {
    if (each instanceof DatabaseTimeout) return false;
    const code = codeOf(each);
    if (/^[0-9A-Z]{5}$/.test(code) && !SOCKET_CODES.has(code)) {
      return /^(08...|53300|57P0[123])$/.test(code);
    }
  }
  return true;
}

/** The error that callers get for trouble with connection, login or tables; other errors as they are. */
export function toConnectionError(error: unknown, doing: string, address: string): unknown {
  if (error instanceof AgentexecError && !(error instanceof DatabaseTimeout)) return error;
  const failure = failureOf(error);
  const reason = reasonOf(error);
  const flag = deniedFlag(error, address);
  if (flag !== undefined) {
    return new ConnectionError(
      `Cannot ${doing} at ${address}: Deno does not allow it, add ${flag} (${reason})`,
      { cause: error, retryable: false },
    );
  }
  switch (failure) {
    case "connection":
    case "refused":
      return new ConnectionError(`Cannot ${doing} at ${address}: ${reason}${hintFor(reason)}`, {
        cause: error,
        retryable: failure === "connection",
      });
    case "unmigrated":
      return new MigrationError(
        `Cannot ${doing} at ${address}: its tables are missing or of another version (${reason}); call ` +
          `pool.migrate() or client.migrate() once, or with each release`,
        { cause: error },
      );
    case "data":
    case "other":
      return error;
    default:
      return failure satisfies never;
  }
}

/** The flag that an error asks for; undefined if Deno allows what it was about. */
function deniedFlag(error: unknown, address: string): string | undefined {
  let denied: unknown = error;
  while (denied instanceof Error && !isDenied(denied)) denied = denied.cause;
  if (!(denied instanceof Error)) return undefined;
  // A socket or a file by its path; a host's name that may not be looked up is not in the error's words.
  const path = /Requires (read|write|net) access to "((?:unix:)?\/[^"]*)"/.exec(denied.message);
  if (path !== null) return `--allow-${path[1]}=${path[2]}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  return url?.protocol === "postgres:" ? `--allow-net=${url.host}` : undefined;
}

/** The error's own words; of several at once (a host with two addresses) those of each. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.map(reasonOf).join(", ");
  }
  if (!(error instanceof Error)) return String(error);
  return error.message.trim() || codeOf(error) || error.name;
}

function codeOf(error: Error): string {
  const code: unknown = Reflect.get(error, "code");
  return typeof code === "string" ? code : "";
}

function ownFailure(error: Error): Failure {
  if (isDenied(error)) return "refused";
  if (error instanceof ConnectionError) return error.retryable ? "connection" : "refused";
  if (error instanceof DatabaseTimeout) return "connection";
  // An error of ours says itself what is wrong.
  if (error instanceof AgentexecError) return "other";
  if (error instanceof AggregateError && error.errors.length > 0) return failureOf(error.errors[0]);
  const code = codeOf(error);
  const number = sqliteCodeOf(error);
  if (number !== undefined) return sqliteFailure(number & 0xff, error.message);
  if (SOCKET_CODES.has(code)) return "connection";
  if (/^[0-9A-Z]{5}$/.test(code)) {
    // The server ends the connection: for a right to connect that is missing, or a parameter that it does not know.
    const isFatal = Reflect.get(error, "severity") === "FATAL";
    if (isFatal && /^(0A|22|42)/.test(code)) return "refused";
    const failure = sqlStateFailure(code);
    // A trigger of somebody's that misses a table: our own are there.
    const where: unknown = Reflect.get(error, "where");
    return failure === "unmigrated" && typeof where === "string" ? "other" : failure;
  }
  if (TLS_CODES.test(code) || REFUSED_MESSAGES.test(error.message)) return "refused";
  return BROKEN_MESSAGES.test(error.message) ? "connection" : "other";
}

const SOCKET_CODES = new Set([
  ...["ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EPIPE", "ETIMEDOUT", "ENOTFOUND", "EAI_AGAIN"],
  ...["EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN", "ENETRESET", "ENOTCONN"],
  ...["EADDRNOTAVAIL", "EMFILE", "ENFILE", "ERR_STREAM_DESTROYED", "ERR_SOCKET_CLOSED"],
  ...["ERR_STREAM_WRITE_AFTER_END"],
  // postgres.js
  ...["CONNECTION_CLOSED", "CONNECTION_ENDED", "CONNECTION_DESTROYED", "CONNECT_TIMEOUT"],
]);

const TLS_CODES = /^(DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|CERT_|ERR_TLS_|ERR_SSL_|HOSTNAME_MISMATCH)/;
const REFUSED_MESSAGES = /certificate|does not support SSL|an SSL connection|SASL|SCRAM|password/i;
const BROKEN_MESSAGES = new RegExp(
  [
    ...["^Connection terminated", "^timeout expired", "timeout exceeded when trying to connect"],
    ...["connection error and is not queryable", "Client was closed", "calling end on the pool"],
    ...["has been discarded", "driver has already been destroyed", "socket hang up"],
    ...["socket has been ended", "write after end", "socket is closed", "broken pipe"],
    ...["connection reset", "unexpected end of file", "before secure TLS connection"],
    ...["connection refused", "failed to lookup address", "database is not open"],
  ].join("|"),
  "i",
);

/** By the classes of SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html */
function sqlStateFailure(state: string): Failure {
  // A wrong user or password; no such database, or one that was dropped.
  if (/^(28...|3D000|57P04)$/.test(state)) return "refused";
  // Connection; resources; system; shut down, starting, canceled by the server; idle too long; deadlock and
  // serialization; a lock not available; a standby that does not write (yet).
  if (/^(08...|53...|58...|57P0[1235]|57014|25P0[34]|40...|55P03|25006)$/.test(state)) {
    return "connection";
  }
  if (state === "42P01" || state === "42703") return "unmigrated";
  // Values, constraints, cardinality, limits.
  return /^(21|22|23|54)/.test(state) ? "data" : "other";
}

/** By the primary result codes: https://www.sqlite.org/rescode.html */
function sqliteFailure(primary: number, message: string): Failure {
  // BUSY, LOCKED, IOERR, FULL, PROTOCOL
  if ([5, 6, 10, 13, 15].includes(primary)) return "connection";
  // PERM, READONLY, CORRUPT, CANTOPEN, AUTH, NOTADB
  if ([3, 8, 11, 14, 23, 26].includes(primary)) return "refused";
  // TOOBIG, CONSTRAINT, MISMATCH, RANGE
  if ([18, SQLITE_CONSTRAINT, 20, 25].includes(primary) || /malformed JSON/i.test(message)) {
    return "data";
  }
  // With the schema before its name, it is a table that a trigger of somebody's misses.
  return /no such (table: (?!main\.)|column)/i.test(message) ? "unmigrated" : "other";
}

const SQLITE_CONSTRAINT = 19;

/** What to do about it. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/does not support SSL/i, "a server without TLS needs ?sslmode=disable in its address"],
  [
    /certificate|UnknownIssuer|self.signed/i,
    "name the file of its certificate authority by ?sslrootcert=FILE in its address, or, where the " +
    "network is trusted, do without verification by ?sslmode=no-verify",
  ],
  [/unable to open database file/, "it must be a file, and its folder must exist and be writable"],
  [/attempt to write a readonly database/, "the file and its folder must be writable"],
  [
    /file is not a database|disk image is malformed/,
    "it is damaged or no SQLite database: move it away, or restore it from a copy",
  ],
  [/database or disk is full/, "make room on its disk"],
  [
    /permission denied for database/,
    "its owner or a superuser must run GRANT CONNECT ON DATABASE for this user",
  ],
  [/due to lock timeout/, "another transaction holds its row locked: end that one"],
  [/database is locked/, "another process keeps it locked: end that one's transaction"],
];

function hintFor(reason: string): string {
  const hint = HINTS.find(([pattern]) => pattern.test(reason))?.[1];
  return hint === undefined ? "" : `; ${hint}`;
}
