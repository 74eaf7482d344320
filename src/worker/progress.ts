/**
 * A run's progress: every update goes out to those who watch at once, row and log keep the last of each
 * 250 ms and always the final one. No update waits for a store: while the broker is away those who watch miss what
 * happened, but for the newest, and the row has it.
 *
 * @module
 */
import type { ActivityStore } from "../activity/store.ts";
import type { Claim, WorkerQueue } from "../broker/broker.ts";
import { after, sleep, TimeSlice } from "../clock.ts";
import { isOutage } from "../contact.ts";
import { checkOptions } from "../options.ts";
import { PROGRESS_OPTIONS, type ProgressOptions, type TaskActivity } from "../task/context.ts";
import { sanitizeText } from "../task/text.ts";

const KEEP_EVERY_MS = 250;
const MESSAGE_BYTES = 1_024;
/** How many updates may be on their way to the broker; of those that come meanwhile the newest is kept. */
const MOST_UNDER_WAY = 64;
/** How long a handler that does nothing but update may hold up the rest of its process. */
const SLICE_MS = 10;

interface Update {
  readonly message: string;
  readonly percentage?: number;
}

/** What {@linkcode Progress} is made of. */
export interface ProgressParts {
  /** The run's claim. */
  readonly claim: Claim;
  /** Its queue. */
  readonly queue: WorkerQueue;
  /** The rows. */
  readonly store: ActivityStore;
  /** Aborts when the run may write nothing any more. */
  readonly lost: AbortSignal;
  /** Told of a message that could not be sent or kept. */
  readonly warn: (message: string) => void;
}

/** The activity handle of one run. */
export class Progress implements TaskActivity {
  readonly #parts: ProgressParts;
  #pending: Update | undefined;
  #cancelTimer: (() => void) | undefined;
  #worded: string | undefined;
  #closed = false;
  #underWay = 0;
  #unsent: Update | undefined;
  #keeping = false;
  readonly #slice = new TimeSlice(SLICE_MS);

  constructor(parts: ProgressParts) {
    this.#parts = parts;
  }

  /** What the handler worded its failure with; undefined where it did not. */
  get wordedFailure(): string | undefined {
    return this.#worded;
  }

  async update(message: string, options: ProgressOptions = {}): Promise<void> {
    checkOptions("update the activity", options, PROGRESS_OPTIONS);
    const { percentage } = options;
    if (percentage !== undefined && !(percentage >= 0 && percentage <= 100)) {
      throw new RangeError(
        `Cannot update the activity: 'percentage' must be a number from 0 to 100, current value is ${percentage}`,
      );
    }
    if (this.#closed || this.#parts.lost.aborted) return;
    const update = {
      message: sanitizeText(String(message), MESSAGE_BYTES),
      ...(percentage === undefined ? {} : { percentage }),
    };
    this.#pending = update;
    if (!this.#keeping) this.#cancelTimer ??= after(KEEP_EVERY_MS, () => this.#keep());
    this.#send(update);
    // Nothing is waited for, so nothing else would ever let timers and sockets have their turn.
    if (this.#slice.isOver) await sleep(0);
  }

  error(message: string): Promise<void> {
    this.#worded = sanitizeText(String(message), MESSAGE_BYTES);
    return this.update(this.#worded);
  }

  /** Keeps the final update; called before the run's end is written. Later updates are let fall. */
  close(): void {
    this.#closed = true;
    this.#slice.end();
    this.#keep();
  }

  #send(update: Update): void {
    if (this.#underWay >= MOST_UNDER_WAY) {
      this.#unsent = update;
      return;
    }
    this.#underWay++;
    void this.#publish(update).finally(() => {
      this.#underWay--;
      const next = this.#unsent;
      this.#unsent = undefined;
      if (next !== undefined && !this.#closed) this.#send(next);
    });
  }

  /** Never rejects: the handler is not to fail for it. */
  async #publish(update: Update): Promise<void> {
    const { queue, claim, warn } = this.#parts;
    try {
      await queue.publish(
        { kind: "progress", id: claim.id },
        JSON.stringify({ status: "running", percentage: null, ...update }),
      );
    } catch (error) {
      // A watcher misses this one; the row has it. That the broker is away is told once for the whole process.
      if (isOutage(error)) return;
      warn(`Cannot send progress of task ${claim.name} ${claim.id}: ${(error as Error).message}`);
    }
  }

  #keep(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const update = this.#pending;
    this.#pending = undefined;
    const { claim, store, lost, warn } = this.#parts;
    if (update === undefined || lost.aborted) return;
    this.#keeping = true;
    store.write({ agentId: claim.id, token: claim.token, ...update }, { signal: lost })
      .catch((error: unknown) => {
        if (isOutage(error)) return;
        warn(`Cannot keep progress of task ${claim.name} ${claim.id}: ${(error as Error).message}`);
      }).finally(() => {
        // One at a time: while the database is away, the newest waits for it and no more.
        this.#keeping = false;
        if (this.#pending !== undefined && !this.#closed) {
          this.#cancelTimer ??= after(KEEP_EVERY_MS, () => this.#keep());
        }
      });
  }
}
