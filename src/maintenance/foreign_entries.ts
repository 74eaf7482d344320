/**
 * Tells the operator that another program writes into the queue.
 *
 * @module
 */
import type { QueueDiagnostics } from "../broker/broker.ts";
import { monotonicMs } from "../clock.ts";
import { supervisorLogger } from "../log/loggers.ts";
import { type MaintenanceParts, MaintenanceService } from "./service.ts";

/** A few more are not worth another line before this has passed. */
const SAY_AGAIN_MS = 3_600_000;
/** Between two looks: what is looked at is known from the renewals. */
const LOOK_EVERY_MS = 1_000;

/**
 * Warns of foreign entries: when there are any, when they have doubled, and every hour in which more came. Of the
 * supervisors of a queue its maintainer does.
 */
export function watchingForeignEntries(
  { pool, queue, registered, trouble }: Omit<MaintenanceParts, "store" | "sweepMs">,
  latest: () => QueueDiagnostics | undefined,
): MaintenanceService {
  let said = 0;
  let saidAt = -Infinity;
  return new MaintenanceService({
    name: "foreign entries",
    doing: "tell of foreign entries",
    everyMs: LOOK_EVERY_MS,
    run: async () => {
      const { foreign, foreignDropped } = latest() ?? { foreign: 0, foreignDropped: 0 };
      const count = foreign + foreignDropped;
      // Somebody put them away: the next one is news.
      if (count < said) said = count;
      if (count === said || (count < 2 * said && monotonicMs() - saidAt < SAY_AGAIN_MS)) return;
      const isOurs = await queue.maintain(registered().supervisorId);
      [said, saidAt] = [count, monotonicMs()];
      if (!isOurs) return;
      const dropped = foreignDropped === 0 ? "" : ` (${foreignDropped} of them dropped)`;
      supervisorLogger(pool).warn(
        `${count} entries of the queue '${queue.name}' were no tasks${dropped}: another program writes into this ` +
          `list, choose another name by AGENTEXEC_QUEUE_NAME or the option 'queueName'. They are kept in the sorted ` +
          `set '{${queue.name}}:foreign': look at them by ZRANGE, put them away by DEL`,
      );
    },
    trouble,
  });
}
