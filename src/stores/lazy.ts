/**
 * A connection that is made when it is first needed.
 *
 * @module
 */
import { withDeadline } from "../clock.ts";
import { AgentexecError, ConnectionError } from "../errors.ts";

/** How long one attempt to connect may take: longer than those that give up by themselves, and say what the trouble is. */
const ATTEMPT_MS = 6_000;

/** How a connection is made. */
export interface LazyOptions<T> {
  /** Makes it, not connected yet. */
  readonly make: () => T;
  /** Connects it. */
  readonly connect: (made: T) => Promise<void>;
  /** Where to, as it may be shown. */
  readonly address: () => string;
  /**
   * How long one attempt may take at least, in milliseconds.
   *
   * @default {6_000}
   */
  readonly attemptMs?: () => number;
}

/**
 * A connection made by the first call that needs it; one attempt, and where that fails the next call makes
 * another.
 */
export class Lazy<T extends { close(): Promise<void> }> {
  readonly #options: LazyOptions<T>;
  #connected: Promise<T> | undefined;
  #made: T | undefined;
  readonly #leftovers = new Set<Promise<void>>();
  #closed = false;

  /** Makes nothing yet. */
  constructor(options: LazyOptions<T>) {
    this.#options = options;
  }

  /** What is connected, or what comes of the attempt under way. */
  get(): Promise<T> {
    if (this.#connected !== undefined) return this.#connected;
    const connected = this.#attempt();
    this.#connected = connected;
    connected.catch(() => {
      if (this.#connected === connected) this.#connected = undefined;
    });
    return connected;
  }

  async #attempt(): Promise<T> {
    const { make, connect, address, attemptMs = () => 0 } = this.#options;
    const made = this.#made = make();
    try {
      const ms = Math.max(ATTEMPT_MS, attemptMs());
      await withDeadline(connect(made), {
        ms,
        error: () =>
          new ConnectionError(
            `Cannot connect to ${address()}: no answer within ${ms / 1000} s`,
            { retryable: true },
          ),
      });
    } catch (error) {
      this.#discard(made);
      throw error;
    }
    if (!this.#closed) return made;
    throw new AgentexecError(`Cannot use the connection to ${address()}: it was closed meanwhile`);
  }

  /** Whoever waits for the attempt gets its error at once; what is left of it ends beside. */
  #discard(made: T): void {
    // What cannot be connected need not be closed in good order.
    const closing = made.close().catch(() => {});
    this.#leftovers.add(closing);
    closing.finally(() => this.#leftovers.delete(closing));
  }

  /** Closes it for good, an attempt under way too. */
  async close(): Promise<void> {
    this.#closed = true;
    // Also ends an attempt under way.
    await this.#made?.close();
    await this.#connected?.catch(() => {});
    await Promise.all(this.#leftovers);
  }
}
