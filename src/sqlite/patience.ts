/**
 * Waiting for the lock of a file beside the event loop: SQLite's own way of waiting would stop the thread, and with it
 * the very transaction that is waited for, if that is this process's own.
 *
 * @module
 */
import { backoff, monotonicMs, type Pauses, sleep } from "../clock.ts";
import { isBusy } from "./codes.ts";

/**
 * Between two looks at a lock that others have. Short, as others may write with hardly a break: whoever looks seldom
 * then finds the lock taken for seconds.
 */
export const LOCK_PAUSES: Pauses = { firstMs: 1, mostMs: 10 };
/** How long a call waits for another connection's write, in milliseconds. */
export const LOCK_MS = 5_000;

/** How to wait for others. */
export interface Patience {
  /** Ends the wait. */
  readonly ended: AbortSignal;
  /** Called when it has to wait. */
  readonly onWait?: () => void;
}

/** Tries again while another connection has the lock, for 5 s or until `ended` aborts. */
export async function patiently<T>(
  attempt: () => T | Promise<T>,
  { ended, onWait }: Patience,
): Promise<T> {
  const giveUpAt = monotonicMs() + LOCK_MS;
  for (let tries = 1;; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!isBusy(error) || monotonicMs() > giveUpAt || ended.aborted) throw error;
    }
    onWait?.();
    await sleep(backoff(tries, LOCK_PAUSES), { signal: ended });
  }
}
