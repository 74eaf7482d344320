/**
 * The two places that know of a task.
 *
 * @module
 */
import type { ActivityStore } from "../activity/store.ts";
import type { ProducerQueue, WorkerQueue } from "../broker/broker.ts";

/** Where tasks are: what changes in both is changed in this room alone. */
export interface TaskStores<Q extends ProducerQueue = WorkerQueue> {
  /** The queue, with what the transition asks of it. */
  readonly queue: Q;
  /** The rows. */
  readonly store: ActivityStore;
}

/** Rows hold contexts of up to a MiB each, so that a statement must not ask for too many. */
export const ROWS_AT_ONCE = 8;
