/**
 * Tasks that stand nowhere, since Redis evicted a key of the queue or somebody took an entry out, are put into their
 * places again. Whether an id stands in a list is known only by who has read all of it: so one supervisor at a time reads
 * through the keys and the list, in steps that are over in a moment and with pauses between, a little with each sweep.
 *
 * @module
 */
import { monotonicMs, sleep } from "../../clock.ts";
import type { Commands } from "./script.ts";
import { maintainQueue } from "./scripts/maintain.ts";
import { lookForTasks, readEntries, restorePlaces, type Waiting } from "./scripts/mend.ts";

/** How long one call may go on, in milliseconds: the next sweep goes on from there. */
const SLICE_MS = 500;
/** Between two steps, in milliseconds: others want to be served too. */
const PAUSE_MS = 2;
/** How many tasks are looked for in one reading of the list: about 20 MB of memory. */
const TASKS_AT_ONCE = 100_000;
/** How many are put back by one step. */
const RESTORE_AT_ONCE = 100;

/** Who mends. */
export interface MendOptions {
  /** The supervisor. */
  readonly supervisorId: string;
  /** What a claim that nobody renews gets, in milliseconds. */
  readonly leaseMs: number;
  /**
   * Ends it after the step under way.
   *
   * @default {undefined} (it goes on for its slice)
   */
  readonly signal?: AbortSignal;
}

/** Mends one queue, a slice at a time. */
export class Mender {
  readonly #redis: Commands;
  readonly #queue: string;
  #pass: AsyncGenerator<void, void> | undefined;

  /** Makes no call. */
  constructor(redis: Commands, queue: string) {
    this.#redis = redis;
    this.#queue = queue;
  }

  /** Goes on for a slice, or to the end of a pass, if this supervisor is the maintainer. */
  async mend({ supervisorId, leaseMs, signal }: MendOptions): Promise<void> {
    const until = monotonicMs() + SLICE_MS;
    if (!await maintainQueue(this.#redis, this.#queue, supervisorId)) {
      this.#pass = undefined;
      return;
    }
    try {
      do {
        this.#pass ??= this.#goThrough(leaseMs);
        if ((await this.#pass.next()).done === true) {
          this.#pass = undefined;
          return;
        }
        await sleep(PAUSE_MS);
      } while (monotonicMs() < until && signal?.aborted !== true);
    } catch (error) {
      // A generator that threw has ended: the next call begins anew.
      this.#pass = undefined;
      throw error;
    }
  }

  /** One pass through all tasks, a step at a time. */
  async *#goThrough(leaseMs: number): AsyncGenerator<void, void> {
    let cursor = "0";
    do {
      const missing = new Map<string, Waiting>();
      do {
        const looked = await lookForTasks(this.#redis, this.#queue, { cursor, leaseMs });
        for (const task of looked.waiting) missing.set(task.id, task);
        cursor = looked.cursor;
        yield;
      } while (cursor !== "0" && missing.size < TASKS_AT_ONCE);
      yield* this.#findInList(missing);
      yield* this.#restore([...missing.values()]);
    } while (cursor !== "0");
  }

  /** Takes those out that stand in the list. One that has waited there since before stands in some page. */
  async *#findInList(missing: Map<string, Waiting>): AsyncGenerator<void, void> {
    for (let from = 0; missing.size > 0;) {
      const entries = await readEntries(this.#redis, this.#queue, from);
      if (entries === null) return;
      for (const id of entries.ids) missing.delete(id);
      from += entries.count;
      yield;
    }
  }

  /** The one that has waited longest becomes the foremost. */
  async *#restore(tasks: readonly Waiting[]): AsyncGenerator<void, void> {
    const newestFirst = [...tasks].sort((a, b) => Number(b.since) - Number(a.since));
    for (let at = 0; at < newestFirst.length; at += RESTORE_AT_ONCE) {
      await restorePlaces(this.#redis, this.#queue, newestFirst.slice(at, at + RESTORE_AT_ONCE));
      yield;
    }
  }
}
