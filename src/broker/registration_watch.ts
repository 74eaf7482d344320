/**
 * For how long one process has seen the registrations of supervisors unchanged, on its own monotonic clock. The broker's
 * clock alone decides about nobody's death: where it is set forward, every lease seems to have ended, and where it is set
 * back, none ends.
 *
 * @module
 */
import { monotonicMs } from "../clock.ts";

/** The most that one look after another adds: who was held up itself has not seen what others did meanwhile. */
const LONGEST_GAP_MS = 3_000;
/** How long after a break in contact all who live have renewed themselves, in milliseconds. */
const RETURN_MS = 5_000;

/** A supervisor as it stands in the registry. */
export interface Registration {
  /** Its id. */
  readonly id: string;
  /** Changes with each renewal. */
  readonly mark: string;
  /** Its lease, in milliseconds; undefined where an older version did not write it down. */
  readonly leaseMs: number | undefined;
  /** Whether its lease has ended by the broker's clock. */
  readonly lapsed: boolean;
}

interface Seen extends Registration {
  readonly unchangedMs: number;
}

/** What one process has seen of a queue's registry. */
export class RegistrationWatch {
  #seen: ReadonlyMap<string, Seen> = new Map();
  #seenAt = 0;
  /** Until then nothing is held against anybody. */
  #returnedAt = -Infinity;

  /** Takes in what the registry holds now. `contactMs`: since when the broker has answered without a break. */
  observe(registrations: readonly Registration[], contactMs: number): void {
    const now = monotonicMs();
    const gapMs = now - this.#seenAt;
    if (this.#seen.size > 0 && contactMs < gapMs) this.#returnedAt = now - contactMs + RETURN_MS;
    const passedMs = Math.max(0, Math.min(gapMs, LONGEST_GAP_MS, now - this.#returnedAt));
    this.#seen = new Map(registrations.map((each) => {
      const before = this.#seen.get(each.id);
      const unchangedMs = before?.mark === each.mark ? before.unchangedMs + passedMs : 0;
      return [each.id, { ...each, unchangedMs }];
    }));
    this.#seenAt = now;
  }

  /**
   * Those that may be taken for dead: unchanged for their whole lease if the broker's clock says that it has ended, for
   * two leases whatever that says.
   */
  dead(options: { readonly contactMs: number; readonly leaseMs: number }): readonly Registration[] {
    // What happened since the last look nobody knows.
    if (options.contactMs < monotonicMs() - this.#seenAt) return [];
    return [...this.#seen.values()].filter(({ unchangedMs, lapsed, leaseMs = options.leaseMs }) =>
      unchangedMs >= (lapsed ? 1 : 2) * leaseMs
    );
  }
}
