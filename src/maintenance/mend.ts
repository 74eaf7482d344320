/**
 * The mending: puts tasks that stand nowhere into their places again, a part of the queue at a time.
 *
 * @module
 */
import { type MaintenanceParts, MaintenanceService } from "./service.ts";

/** Mends a part of the queue between any two sweeps. The broker lets one supervisor at a time do it. */
export function mending(
  { queue, sweepMs, registered, trouble }: MaintenanceParts,
): MaintenanceService {
  return new MaintenanceService({
    name: "mend",
    doing: "mend the queue",
    everyMs: sweepMs,
    run: (signal) => queue.mend({ ...registered(), signal }),
    trouble,
  });
}
