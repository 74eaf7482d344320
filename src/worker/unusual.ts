/**
 * Claims that are none of the usual: a name that this worker does not know, and ids whose task the broker
 * lost.
 *
 * @module
 */
import type { ActivityStore } from "../activity/store.ts";
import type { Claim, Queue } from "../broker/broker.ts";
import { workerLogger } from "../log/lifecycle.ts";
import { listClosest } from "../task/closest.ts";

/** The first wait of a task whose name nobody here knows; it doubles. */
const UNKNOWN_FIRST_MS = 5_000;
const UNKNOWN_MOST_MS = 300_000;
/** How long it is given back before it ends in an error. */
const UNKNOWN_LIMIT_MS = 3_600_000;

/** What is needed to settle them. */
export interface UnusualParts {
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
  /** The pool's tasks. */
  readonly tasks: ReadonlyMap<string, unknown>;
}

/**
 * A task whose name this worker does not know goes back with a growing delay, charged nothing: a newer
 * program may be on its way. After an hour it ends, its context kept in the row.
 */
export async function giveBackUnknown(claim: Claim, parts: UnusualParts): Promise<void> {
  const known = listClosest(claim.name, parts.tasks.keys());
  const problem = `No worker here knows the task '${claim.name}': this pool's tasks are ${known}`;
  if (claim.unknownForMs < UNKNOWN_LIMIT_MS) {
    const delayMs = Math.min(UNKNOWN_FIRST_MS * 2 ** Math.min(claim.unknowns, 10), UNKNOWN_MOST_MS);
    workerLogger().warn(`${problem}; it goes back to the queue for ${delayMs / 1_000} s`);
    const { outcome, token } = await parts.queue.release(claim, { delayMs, charge: "unknown" });
    if (outcome === "done") {
      await parts.store.write({ agentId: claim.id, token, status: "queued", message: problem });
    }
    return;
  }
  workerLogger().error(`${problem}; it ends after an hour`);
  await parts.store.write({
    agentId: claim.id,
    token: claim.token,
    status: "error",
    message: problem,
    error: problem,
    failure: { name: "UnknownTaskError", message: problem, stack: null },
  });
  await parts.queue.end(claim);
}

/** Ids that stood in the queue without their task: each is put in again from its row, where it has one. */
export async function restoreOrphans(ids: readonly string[], parts: UnusualParts): Promise<void> {
  const rows = await parts.store.readRows(ids);
  for (const id of ids) {
    const row = rows.find((each) => each.agentId === id);
    if (row === undefined || (row.status !== "queued" && row.status !== "running")) {
      workerLogger().warn(
        `Left ${id} in the list of foreign entries: the queue had its id alone, and ` +
          (row === undefined ? "it has no row" : `its row says ${row.status}`),
      );
      continue;
    }
    await parts.queue.raiseToken(row.token);
    await parts.queue.enqueue([{
      id,
      name: row.taskName,
      payload: row.context ?? "",
      counters: {
        attempt: row.attempt,
        failures: row.failures,
        crashes: row.crashes,
        lapses: row.lapses,
      },
    }]);
    workerLogger().warn(`Restored task ${row.taskName} ${id} from its row: the broker had lost it`);
  }
}
