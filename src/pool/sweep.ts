/**
 * The sweep: takes tasks back from hosts that are gone, wherever they ran, and records what became of each.
 *
 * @module
 */
import type { ActivityStore } from "../activity/store.ts";
import type { Queue, SweptClaim } from "../broker/broker.ts";
import { settlesWithin } from "../clock.ts";
import { supervisorLogger } from "../log/lifecycle.ts";
import type { TroubleLog } from "../log/trouble.ts";

/** What a sweep works on. */
export interface SweepParts {
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
  /** The pool's name. */
  readonly pool: string;
  /** Where troubles that come back are logged. */
  readonly trouble: TroubleLog;
}

/** How long a sweep waits for its records to be written, before it leaves them to themselves. */
const RECORD_MS = 1_000;

/** Sweeps once, on behalf of a supervisor, and mends a part of the queue. */
export async function sweep(
  options: {
    readonly supervisorId: string;
    readonly leaseMs: number;
    readonly signal: AbortSignal;
  },
  parts: SweepParts,
): Promise<void> {
  const swept = await parts.queue.sweep(options);
  // Each for itself: a row that cannot be written keeps no other from being told of its task's return.
  const recording = Promise.all(
    swept.map((claim) =>
      record(claim, parts).catch((error: Error) =>
        parts.trouble.say("sweep", "Cannot sweep", error)
      )
    ),
  );
  // A row that another transaction holds locked is written when that has ended: the next sweep does not wait for it.
  await settlesWithin(recording, RECORD_MS);
  await parts.queue.mend(options);
}

async function record(claim: SweptClaim, { queue, store, pool }: SweepParts): Promise<void> {
  const { id: agentId, token, lapses, name } = claim;
  if (claim.outcome === "canceled") {
    const message = "Canceled: the host that ran it is gone";
    await store.write({ agentId, token, status: "canceled", message });
    await queue.end(claim);
    return;
  }
  if (claim.outcome === "returned") {
    supervisorLogger(pool).warn(
      `Took task ${name} ${agentId} back from a host that is gone (lapse ${lapses})`,
    );
    const message = "Waiting to run again: the host that ran it is gone";
    await store.write({ agentId, token, status: "queued", message, counters: { lapses } });
    return;
  }
  const message = `Task lost: the host that ran it went away ${lapses} times`;
  supervisorLogger(pool).error(`${message}: ${name} ${agentId}`);
  const error = `lost: ${message}`;
  const failure = { name: "TaskLostError", message, stack: null };
  const counters = { lapses };
  await store.write({ agentId, token, status: "error", message, error, failure, counters });
  await queue.end(claim);
}
