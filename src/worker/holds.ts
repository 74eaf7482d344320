/**
 * A worker's word of the tasks that it holds, for what `pool.workers` shows: at once where they changed, and at most
 * once in a while however often they do.
 *
 * @module
 */
import { after } from "../clock.ts";
import { encodeHolds } from "../process/handshake.ts";
import type { Say } from "./channel.ts";

/** Between two messages. */
const PAUSE_MS = 50;
/** More ids than these are not told: the supervisor hears of them from the broker, once a second. */
const MOST_IDS = 1_000;

/** What a teller works with. */
export interface HoldsTellerParts {
  /** Whose they are. */
  readonly workerId: string;
  /** The ids that it holds now. */
  readonly ids: () => readonly string[];
  /** Sends a message. */
  readonly say: Say;
}

/** Tells a supervisor what its worker holds. */
export class HoldsTeller {
  readonly #parts: HoldsTellerParts;
  #told = "";
  #busy = false;

  constructor(parts: HoldsTellerParts) {
    this.#parts = parts;
    this.#told = encodeHolds(parts.workerId, []);
  }

  /** To be called when they changed. */
  changed(): void {
    if (!this.#busy) void this.#tell();
  }

  async #tell(): Promise<void> {
    const ids = this.#parts.ids();
    const message = encodeHolds(this.#parts.workerId, ids);
    if (message === this.#told || ids.length > MOST_IDS) return;
    this.#busy = true;
    this.#told = message;
    try {
      await this.#parts.say(message);
    } catch {
      // The broker is away, which others report: the supervisor asks it for the same once a second.
    }
    after(PAUSE_MS, () => {
      this.#busy = false;
      this.changed();
    });
  }
}
