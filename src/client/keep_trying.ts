/**
 * Connecting with patience: a pool that is to run waits for stores that come up beside it.
 *
 * @module
 */
import { monotonicMs, sleep, withDeadline } from "../clock.ts";
import { ConnectionError } from "../errors.ts";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 2_000;

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
export interface Attempts extends ConnectOptions {
  /** Where to, as it may be shown. */
  readonly address: string;
  /** One attempt. */
  readonly connect: () => Promise<unknown>;
  /** When the time is up, on the monotonic clock. */
  readonly giveUpAt: number;
  /** Ends the attempts; the call then resolves. */
  readonly signal: AbortSignal;
}

/**
 * Connects, again and again with growing pauses, until it succeeds or the time is up.
 *
 * @throws {ConnectionError} If it cannot be reached in time, or refuses for good.
 */
export async function keepTrying(attempts: Attempts): Promise<void> {
  const { address, connect, giveUpAt, timeoutMs, onRetry, signal } = attempts;
  let pause = FIRST_PAUSE_MS;
  for (;;) {
    try {
      await withDeadline(connect(), {
        ms: giveUpAt - monotonicMs(),
        error: () => new ConnectionError("no answer", { retryable: true }),
      });
      return;
    } catch (error) {
      if (!(error instanceof ConnectionError) || !error.retryable) throw error;
      if (signal.aborted) return;
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
      await sleep(Math.min(pause, left), { signal });
      if (signal.aborted) return;
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }
}
