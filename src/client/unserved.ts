/**
 * A warning for whoever enqueues where nobody runs tasks: everything is accepted, and nothing happens.
 *
 * @module
 */
import type { ProducerQueue } from "../broker/broker.ts";
import { AgentexecError } from "../errors.ts";
import type { Stores } from "../stores/stores.ts";
import { warn } from "../stores/warn.ts";

/** How long a queue may be without a supervisor: one that is being replaced is away for less. */
const UNSERVED_MS = 60_000;

/** Warns, once per client and queue, of a queue that no supervisor serves. Called when a task was accepted. */
export async function warnOfUnserved(stores: Stores, queue: ProducerQueue): Promise<void> {
  if (!stores.isFirstUse(queue.name)) return;
  try {
    const ms = await queue.unservedMs();
    if (ms !== null && ms < UNSERVED_MS) return;
    const since = ms === null ? "yet" : `for ${Math.round(ms / 1_000)} s`;
    warn(
      `No supervisor has served the queue '${queue.name}' ${since}: what is enqueued waits until a pool of this queue ` +
        `runs (pool.run() or pool.start())`,
    );
  } catch (error) {
    // The task is in; that this could not be looked up is no reason to say anything else.
    if (!(error instanceof AgentexecError)) throw error;
  }
}
