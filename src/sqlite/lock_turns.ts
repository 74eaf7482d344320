/**
 * Turns at the lock of a file: whoever waits for it looks now and then, so that one who takes it again right after each
 * commit would keep it from all others. Measured on a disk that takes 50 ms to sync, eight processes that write without
 * a pause: without turns one or two of them waited more than 5 s and failed, with them none did, at four fifths of the
 * writes a second.
 *
 * @module
 */
import { monotonicMs } from "../clock.ts";

/** Twice the longest pause between two looks of who waits. */
const LONGEST_LOOK_MS = 24;
/** Who held it shorter than four times this left enough gaps (measured: 20 ms each), and pays nothing. */
const WORTH_MS = 8;

/** One connection's turns at the lock of its file. */
export class LockTurns {
  #takenAt = 0;
  #freeUntil = 0;

  /** For how long, in milliseconds, the lock is to be left to others before it is taken again. */
  get leaveMs(): number {
    return Math.max(0, this.#freeUntil - monotonicMs());
  }

  /** It was taken. */
  taken(): void {
    this.#takenAt = monotonicMs();
  }

  /** It was given up: for a quarter of the time for which it was held it belongs to the others. */
  left(): void {
    const now = monotonicMs();
    const turn = Math.min((now - this.#takenAt) / 4, LONGEST_LOOK_MS);
    if (turn >= WORTH_MS) this.#freeUntil = now + turn;
  }
}
