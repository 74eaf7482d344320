/**
 * Trouble that comes back every second, logged now and then.
 *
 * @module
 */
import { monotonicMs } from "../clock.ts";
import { isOutage } from "../contact.ts";
import type { LineLogger } from "./lifecycle.ts";

/** How long after a line the same trouble is logged again; it doubles each time. */
const SAY_AGAIN_MS = 5_000;
const SAY_AGAIN_MOST_MS = 300_000;
/** A kind of trouble that has not come for so long is over. */
const OVER_MS = 10_000;

interface Kind {
  lastSeen: number;
  sayAt: number;
  pauseMs: number;
}

/** Logs each kind of trouble when it comes, and then more and more seldom. One does not hide another. */
export class TroubleLog {
  readonly #logger: () => LineLogger;
  readonly #isAway: () => boolean;
  readonly #kinds = new Map<string, Kind>();

  /**
   * `logger` is asked at each line: what it writes to may have been configured since. While `isAway` says that a store
   * is, calls that fail for it are no news.
   */
  constructor(logger: () => LineLogger, isAway: () => boolean = () => false) {
    this.#logger = logger;
    this.#isAway = isAway;
  }

  /** Warns of a trouble: `<doing>: <the error's message>`. */
  say(name: string, doing: string, error: unknown): void {
    if (isOutage(error) && this.#isAway()) return;
    const now = monotonicMs();
    let kind = this.#kinds.get(name);
    if (kind === undefined || now - kind.lastSeen > OVER_MS) {
      // A call that met the loss of a connection fails before anybody knows whether the store is away.
      const sayAt = isOutage(error) ? now + SAY_AGAIN_MS : now;
      kind = { lastSeen: now, sayAt, pauseMs: SAY_AGAIN_MS };
      this.#kinds.set(name, kind);
    }
    kind.lastSeen = now;
    if (now < kind.sayAt) return;
    kind.sayAt = now + kind.pauseMs;
    kind.pauseMs = Math.min(kind.pauseMs * 2, SAY_AGAIN_MOST_MS);
    this.#logger().warn(`${doing}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
