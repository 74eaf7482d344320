/**
 * Connecting with patience: a pool that is to run, and each of its workers, waits for stores that come up beside it.
 *
 * @module
 */
import { backoff, monotonicMs, sleep, withDeadline } from "../clock.ts";
import type { Contact } from "../contact.ts";
import { ConnectionError } from "../errors.ts";

const PAUSES = { firstMs: 100, mostMs: 2_000 };

/** How long and how loudly it is tried. */
export interface ConnectOptions {
  /** How long to try, in milliseconds. */
  readonly timeoutMs: number;
  /** Ends the attempts; the call then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called before each further attempt. */
  readonly onRetry?: (error: ConnectionError) => void;
}

/** What is tried. */
export interface Attempts<T> extends ConnectOptions {
  /** Where to, as it may be shown. */
  readonly address: string;
  /** One attempt. */
  readonly connect: () => Promise<T>;
  /** When the time is up, on the monotonic clock. */
  readonly giveUpAt: number;
  /** Ends the attempts; the call then resolves to undefined. */
  readonly signal: AbortSignal;
}

/**
 * Connects, again and again with growing pauses, until it succeeds or the time is up.
 *
 * @throws {ConnectionError} If it cannot be reached in time, or refuses for good.
 */
export async function keepTrying<T>(attempts: Attempts<T>): Promise<T | undefined> {
  const { address, connect, giveUpAt, timeoutMs, onRetry, signal } = attempts;
  let last: ConnectionError | undefined;
  for (let failures = 1;; failures++) {
    try {
      return await withDeadline(connect(), {
        ms: giveUpAt - monotonicMs(),
        // An attempt that is cut off says nothing; the one before it may.
        error: () => last ?? new ConnectionError("no answer", { retryable: true }),
      });
    } catch (error) {
      if (!(error instanceof ConnectionError) || !error.retryable) throw error;
      last = error;
      if (signal.aborted) return undefined;
      const left = giveUpAt - monotonicMs();
      if (left <= 0) {
        throw new ConnectionError(
          `Cannot connect to ${address} within the ${
            timeoutMs / 1000
          } s of 'connectTimeout': ${error.message}`,
          { cause: error, retryable: true },
        );
      }
      onRetry?.(error);
      await sleep(Math.min(backoff(failures, PAUSES), left), { signal });
      if (signal.aborted) return undefined;
    }
  }
}

/**
 * The same, and tells a contact how it goes.
 *
 * @throws {ConnectionError} If it cannot be reached in time, or refuses for good.
 */
export async function keepTryingWith(contact: Contact, options: Attempts<unknown>): Promise<void> {
  const attempts = {};
  const onRetry = (error: ConnectionError) => {
    contact.failed(attempts, error);
    options.onRetry?.(error);
  };
  try {
    if (await keepTrying({ ...options, onRetry })) contact.answered(attempts);
  } finally {
    contact.forget(attempts);
  }
}
