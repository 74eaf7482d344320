/**
 * The note that a broker is in use, made at once and then every minute.
 *
 * @module
 */
import { aborted } from "../clock.ts";
import { supervisorLogger } from "../log/loggers.ts";
import { SAY_EVERY_MS } from "../stores/broker_use.ts";
import { type MaintenanceParts, MaintenanceService } from "./service.ts";

/** Has the use of a pool's broker noted by `note`. */
export function notingBrokerUse(
  { pool, trouble }: Pick<MaintenanceParts, "pool" | "trouble">,
  note: () => Promise<unknown>,
): MaintenanceService {
  /** What was in the way the last time: it is told once. */
  let problem = "";
  return new MaintenanceService({
    name: "broker use",
    doing: "note that this pool's broker is in use",
    everyMs: SAY_EVERY_MS,
    atStart: true,
    run: async (signal) => {
      const noted = note().then(() => "", ({ message }: Error) => message);
      // A stop does not wait for a database that is away: what is being noted ends with the connections.
      await Promise.race([noted, aborted(signal)]);
      if (signal.aborted) return;
      const former = problem;
      problem = await noted;
      if (problem === "" || problem === former) return;
      supervisorLogger(pool).warn(`Cannot note that this pool's broker is in use: ${problem}`);
    },
    trouble,
  });
}
