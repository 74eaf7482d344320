/**
 * Trouble that comes back every second, logged every 5 s.
 *
 * @module
 */
import { monotonicMs } from "../clock.ts";
import type { LineLogger } from "./lifecycle.ts";

const SAY_AGAIN_MS = 5_000;

/** Logs each kind of trouble at most every 5 s, so that one does not hide another. */
export class TroubleLog {
  readonly #logger: () => LineLogger;
  readonly #said = new Map<string, number>();

  /** `logger` is asked at each line: what it writes to may have been configured since. */
  constructor(logger: () => LineLogger) {
    this.#logger = logger;
  }

  /** Warns of a trouble, unless the same kind was warned of just now. */
  say(kind: string, message: string): void {
    const now = monotonicMs();
    if (now - (this.#said.get(kind) ?? -Infinity) < SAY_AGAIN_MS) return;
    this.#said.set(kind, now);
    this.#logger().warn(message);
  }
}
