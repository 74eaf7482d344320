/**
 * How long statements wait for one of the connections that they share.
 *
 * @module
 */
import { ConnectionError } from "../errors.ts";

/** How a connection is waited for. */
export interface Acquire {
  /** How long, in milliseconds. */
  readonly ms: number;
  /** What helps if none gets free, in the imperative. */
  readonly remedy: string;
}

const ACQUIRE_MS = 10_000;

/** The connections of the library's own statements on SQLite: each is short, unless a lock is held for long. */
export const OWN: Acquire = { ms: ACQUIRE_MS, remedy: "keep transactions short" };

/** The connections of a worker's handlers. */
export const HANDLERS: Acquire = {
  ms: ACQUIRE_MS,
  remedy: "keep transactions short, or raise the option 'databasePoolSize'",
};

/** The connections of `client.db`. */
export const PROGRAM: Acquire = {
  ms: ACQUIRE_MS,
  remedy: "keep transactions short, or make more connections by the option 'db'",
};

/** The error of a statement that found no connection free. */
export function noneFree(
  { ms, remedy }: Acquire,
  where: { readonly address: string; readonly connections: number },
): ConnectionError {
  return new ConnectionError(
    `Cannot use the database at ${where.address}: all ${where.connections} connections have been in use for ` +
      `${ms / 1_000} s; ${remedy}`,
    { retryable: true },
  );
}
