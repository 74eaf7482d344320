/**
 * The sweep: takes tasks back from hosts that are gone, wherever they ran, and records what became of each.
 *
 * @module
 */
import type { SweptClaim } from "../broker/broker.ts";
import { settlesWithin } from "../clock.ts";
import { lapseTask, lostMessage } from "../lifecycle/lapse.ts";
import { supervisorLogger } from "../log/loggers.ts";
import { type MaintenanceParts, MaintenanceService } from "./service.ts";

/** How long a sweep waits for its records to be written, before it leaves them to themselves. */
const RECORD_MS = 1_000;

/** Sweeps, on behalf of a supervisor. */
export function sweeping(parts: MaintenanceParts): MaintenanceService {
  return new MaintenanceService({
    name: "sweep",
    doing: "sweep",
    everyMs: parts.sweepMs,
    run: () => sweep(parts),
    trouble: parts.trouble,
  });
}

async function sweep(parts: MaintenanceParts): Promise<void> {
  const swept = await parts.queue.sweep(parts.registered());
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
}

async function record(claim: SweptClaim, { queue, store, pool }: MaintenanceParts): Promise<void> {
  const { id: agentId, lapses, name, outcome } = claim;
  const log = supervisorLogger(pool);
  if (outcome === "exhausted") log.error(`${lostMessage(lapses)}: ${name} ${agentId}`);
  if (outcome === "returned") {
    log.warn(`Took task ${name} ${agentId} back from a host that is gone (lapse ${lapses})`);
  }
  // One whose end the database refuses is answered with again by a later sweep.
  await lapseTask(claim, { queue, store, tell: (line) => log.error(line) });
}
