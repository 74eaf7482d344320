/**
 * What a database's error means: trouble with the connection, or with the data.
 *
 * @module
 */
import { ConnectionError } from "../errors.ts";

/** What to do about an error. */
export type Failure =
  /** The connection broke or the server is away: trying again can help. */
  | "connection"
  /** The server refuses this user, or this process may not reach it: trying again cannot help. */
  | "refused"
  /** The data is at fault, or the statement. */
  | "data";

interface CodedError extends Error {
  readonly code?: unknown;
  readonly errcode?: unknown;
}

/** SQLSTATEs that the server gives when it, not the statement, is the trouble. */
const TRANSIENT = /^(08...|57P0[1-5]|53...|40001|40P01|55P03|25006|58...|XX000)$/;
/** Primary result codes of SQLite: busy and locked pass, the others stay. */
const SQLITE_TRANSIENT = [5, 6];
const SQLITE_REFUSED = [3, 8, 10, 11, 13, 14, 23, 26];

/** Classifies what a driver threw. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return "data";
  if (error instanceof ConnectionError) return error.retryable ? "connection" : "refused";
  if (error.name === "NotCapable") return "refused";
  const { code, errcode } = error as CodedError;
  if (typeof errcode === "number") {
    const primary = errcode & 0xff;
    if (SQLITE_TRANSIENT.includes(primary)) return "connection";
    return SQLITE_REFUSED.includes(primary) ? "refused" : "data";
  }
  if (typeof code === "string" && /^[0-9A-Z]{5}$/.test(code)) {
    if (TRANSIENT.test(code)) return "connection";
    return /^(28|3D)/.test(code) ? "refused" : "data";
  }
  if (typeof code === "string" && /^(CERT_|DEPTH_|SELF_SIGNED|UNABLE_TO|ERR_TLS)/.test(code)) {
    return "refused";
  }
  if (/certificate|does not support SSL|SASL|password/i.test(error.message)) return "refused";
  if (error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError) {
    return "data";
  }
  // The drivers' own errors of a broken, slow or closed connection carry no SQLSTATE.
  return "connection";
}

/** The error that callers get for trouble with the connection; other errors as they are. */
export function toConnectionError(error: unknown, doing: string, address: string): unknown {
  const failure = failureOf(error);
  if (failure === "data" || error instanceof ConnectionError) return error;
  const { message } = error as Error;
  return new ConnectionError(`Cannot ${doing} at ${address}: ${message || (error as Error).name}`, {
    cause: error,
    retryable: failure === "connection",
  });
}
