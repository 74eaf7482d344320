/**
 * Whether a store answers, as one process sees it over all its connections: told once when it goes away, and once when
 * it is back.
 *
 * @module
 */
import { monotonicMs } from "./clock.ts";
import { ConnectionError } from "./errors.ts";

/** Who is told of a store that goes away, and of its return. */
export interface ContactListener {
  /** The store cannot be reached, or refuses; said once until it is back. */
  lost(error: Error): void;
  /** It answers again, after this many milliseconds. */
  back(awayMs: number): void;
}

/** Contact with one store. */
export class Contact {
  readonly #failing = new Set<unknown>();
  #listener: ContactListener | undefined;
  #awaySince = 0;
  #lastError: Error | undefined;
  #awayMs = 0;

  /** Tells this listener from now on; undefined tells nobody. */
  listen(listener: ContactListener | undefined): void {
    this.#listener = listener;
    if (this.#lastError !== undefined) listener?.lost(this.#lastError);
  }

  /** Whether the store is away. */
  get isAway(): boolean {
    return this.#failing.size > 0;
  }

  /** What the store was last away for; undefined while it answers. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }

  /** For how long, in milliseconds, it has been away in all. */
  get awayMs(): number {
    return this.#awayMs + (this.isAway ? monotonicMs() - this.#awaySince : 0);
  }

  /** A connection failed. The same one says when it is back. */
  failed(connection: unknown, error: Error): void {
    const isFirst = !this.isAway;
    this.#failing.add(connection);
    this.#lastError = error;
    if (!isFirst) return;
    this.#awaySince = monotonicMs();
    this.#listener?.lost(error);
  }

  /** A connection is not needed any more: whether it fails says nothing of the store. */
  forget(connection: unknown): void {
    if (this.#failing.delete(connection) && !this.isAway) this.#end();
  }

  /** A connection works. */
  answered(connection: unknown): void {
    if (!this.#failing.delete(connection) || this.isAway) return;
    this.#listener?.back(this.#end());
  }

  /** Answers for how long the store was away. */
  #end(): number {
    const awayMs = monotonicMs() - this.#awaySince;
    this.#awayMs += awayMs;
    this.#lastError = undefined;
    return awayMs;
  }
}

/** Whether an error says no more than that a store is away, which its {@linkcode Contact} tells. */
export function isOutage(error: unknown): boolean {
  return error instanceof ConnectionError && error.retryable;
}
