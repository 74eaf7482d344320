/**
 * Trouble that comes back every second, logged now and then.
 *
 * @module
 */
import { backoff, monotonicMs } from "../clock.ts";
import { isOutage } from "../contact.ts";
import type { LineLogger } from "./loggers.ts";

/** How long after a line the same trouble is logged again; it doubles each time. */
const SAY_AGAIN = { firstMs: 5_000, mostMs: 300_000, exact: true };
/** A kind of trouble that has not come for so long is over. */
const OVER_MS = 10_000;

interface Kind {
  lastSeen: number;
  sayAt: number;
  said: number;
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
      const sayAt = isOutage(error) ? now + SAY_AGAIN.firstMs : now;
      kind = { lastSeen: now, sayAt, said: 0 };
      this.#kinds.set(name, kind);
    }
    kind.lastSeen = now;
    if (now < kind.sayAt) return;
    kind.sayAt = now + backoff(++kind.said, SAY_AGAIN);
    this.#logger().warn(`${doing}: ${error instanceof Error ? error.message : String(error)}`);
  }
}
