/**
 * Calls to a store at the end of something: the end goes on whatever becomes of them.
 *
 * @module
 */
import { withDeadline } from "../clock.ts";
import { ConnectionError } from "../errors.ts";
import { CLOSING_CALL_AWAY_MS, CLOSING_CALL_MS } from "../stop_budget.ts";

/** The closing calls of one end, one after the other. */
export class ClosingCalls {
  readonly #warn: (message: string) => void;
  /** How long the next call is waited for. */
  #ms = CLOSING_CALL_MS;

  /** `warn` is told of each call that failed. */
  constructor(warn: (message: string) => void) {
    this.#warn = warn;
  }

  /** Calls; does not wait long for a broker that is away. Never rejects. */
  async call(what: string, call: () => Promise<unknown>): Promise<void> {
    try {
      await closingCall(call(), this.#ms);
    } catch (error) {
      if (error instanceof ConnectionError) this.#ms = CLOSING_CALL_AWAY_MS;
      this.#warn(`Cannot ${what}: ${(error as Error).message}`);
    }
  }
}

/** The outcome of a call, or an error once the time is up. */
export function closingCall<T>(call: Promise<T>, ms: number): Promise<T> {
  return withDeadline(call, {
    ms,
    error: () => new ConnectionError(`no answer within ${ms / 1_000} s`, { retryable: true }),
  });
}
