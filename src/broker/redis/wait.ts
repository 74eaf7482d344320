/**
 * How an idle worker waits: blocked on the wake marker, on a connection of its own, never trusting that
 * an answer will come.
 *
 * @module
 */
import { LONGEST_WAIT_MS } from "../protocol.ts";
import { monotonicMs, sleep } from "../../clock.ts";
import type { RedisAddress } from "../../addresses.ts";
import { ConnectionError } from "../../errors.ts";
import { Connection } from "./connection.ts";
import { wakeKey } from "./keys.ts";

/** How long after the block's end the answer may come before the connection is taken for dead. */
const GRACE_MS = 2_000;
/** Redis takes a block of 0 for one without end. */
const SHORTEST_BLOCK_MS = 10;

/** How to wait. */
export interface WaitOptions {
  /** The longest wait. */
  readonly timeoutMs: number;
  /** Ends the wait. */
  readonly signal: AbortSignal;
}

/** Waits for one queue's marker. Meant for one wait at a time; a second one shares the first one's hint. */
export class Waiter {
  readonly #queue: string;
  readonly #connection: Connection;
  readonly #closed = new AbortController();
  #block: Promise<void> | undefined;

  /** Makes no call yet. */
  constructor(queue: string, address: RedisAddress, clientName: string | undefined) {
    this.#queue = queue;
    this.#connection = new Connection(address, { clientName, onDemand: true });
  }

  /**
   * Resolves when there may be something to claim, when the time is up, when the signal aborts, or at the end. That
   * Redis cannot be reached just makes it wait; the claim that follows will tell.
   *
   * @throws {ConnectionError} If waiting cannot help: a refused password, a closed connection.
   */
  async wait({ timeoutMs, signal }: WaitOptions): Promise<void> {
    const ms = Math.min(timeoutMs, LONGEST_WAIT_MS);
    if (this.#closed.signal.aborted) {
      throw new ConnectionError(
        `Cannot wait for '${this.#queue}' at ${this.#connection.address}: the connection was closed`,
        { retryable: false },
      );
    }
    if (signal.aborted || ms <= 0) return;
    const until = monotonicMs() + ms;
    const ended = new AbortController();
    const stop = AbortSignal.any([signal, ended.signal, this.#closed.signal]);
    // A second block on the same connection would only begin when the first has ended.
    const shared = this.#block !== undefined;
    const block = this.#block ?? this.#begin(ms, signal);
    try {
      await Promise.race([block, sleep(shared ? ms : ms + GRACE_MS, { signal: stop })]);
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      if (!(error instanceof ConnectionError) || !error.retryable) throw error;
      await sleep(until - monotonicMs(), { signal: stop });
    } finally {
      ended.abort();
    }
    if (signal.aborted && !shared && this.#block === block) {
      // Left alone, the blocked command would swallow a marker that is meant for others.
      this.#block = undefined;
      this.#connection.drop("the wait was given up");
    }
  }

  /** Ends the connection; who waits need wait no longer. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#connection.close({ graceMs: 0 });
  }

  #begin(ms: number, signal: AbortSignal): Promise<void> {
    const block = this.#blockFor(ms, signal).finally(() => {
      if (this.#block === block) this.#block = undefined;
    });
    // Who waits may have gone by the time it fails.
    block.catch(() => {});
    this.#block = block;
    return block;
  }

  async #blockFor(ms: number, signal: AbortSignal): Promise<void> {
    const until = monotonicMs() + ms;
    const options = { doing: `wait for '${this.#queue}'`, ms: ms + GRACE_MS };
    await this.#connection.use(options, async (session) => {
      if (signal.aborted) return;
      // Connecting may have taken a part of the time.
      const left = Math.max(SHORTEST_BLOCK_MS, until - monotonicMs());
      await session.send(["BZPOPMIN", wakeKey(this.#queue), (left / 1000).toFixed(3)]);
    });
  }
}
