/**
 * For how long the file has answered without a break: until then nobody is taken for dead, since whoever lives may have
 * been held up in the same way.
 *
 * @module
 */
import { monotonicMs, wallClockMs } from "../../clock.ts";

/** Silence between two answers that counts as a break: supervisors call every second. */
const BREAK_MS = 3_000;
/** A lock that took longer may have been waited for by all who had to renew. */
const LATE_MS = 1_000;

/** The contact of one process with the file. */
export class Contact {
  #since = 0;
  #lastAnswer = { monotonic: 0, wall: 0 };

  /** For how long, in milliseconds, there has been no break. */
  get ms(): number {
    if (this.#isBreak()) this.broke();
    return monotonicMs() - this.#since;
  }

  /** The file answered. */
  answered(): void {
    if (this.#isBreak()) this.broke();
    this.#lastAnswer = { monotonic: monotonicMs(), wall: wallClockMs() };
  }

  /** A call waited for the lock. */
  waited(ms: number): void {
    if (ms > LATE_MS) this.broke();
  }

  /** It did not answer, or not with what was there before. */
  broke(): void {
    this.#since = monotonicMs();
  }

  #isBreak(): boolean {
    const { monotonic, wall } = this.#lastAnswer;
    const silence = monotonicMs() - monotonic;
    const walled = wallClockMs() - wall;
    // The one clock stands still while a machine sleeps, the other is set by hand.
    return silence > BREAK_MS || Math.abs(walled - silence) > LATE_MS;
  }
}
