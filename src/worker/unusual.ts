/**
 * Claims that are none of the usual: a name that this worker does not know, and ids whose task the broker
 * lost.
 *
 * @module
 */
import type { TaskRow } from "../activity/rows.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { Claim, Queue } from "../broker/broker.ts";
import { backoff } from "../clock.ts";
import { workerLogger } from "../log/lifecycle.ts";
import { listClosest } from "../task/closest.ts";

/** The first wait of a task whose name nobody here knows; it doubles. */
const UNKNOWN_DELAYS = { firstMs: 5_000, mostMs: 300_000, exact: true };
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
    const delayMs = backoff(claim.unknowns + 1, UNKNOWN_DELAYS);
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

/** Rows hold contexts of up to a MiB each, so that a statement must not ask for too many. */
const ROWS_AT_ONCE = 8;

/**
 * Ids that stood in the queue without their task: each is put in again from its row, where it has one that has not ended,
 * and else settled. The broker tells again of those that this does not come to.
 */
export async function restoreOrphans(ids: readonly string[], parts: UnusualParts): Promise<void> {
  for (let at = 0; at < ids.length; at += ROWS_AT_ONCE) {
    await restoreSome(ids.slice(at, at + ROWS_AT_ONCE), parts);
  }
}

async function restoreSome(ids: readonly string[], parts: UnusualParts): Promise<void> {
  const { queue, store } = parts;
  const rows = new Map((await store.readRows(ids)).map((row) => [row.agentId, row]));
  for (const id of ids) {
    const row = rows.get(id);
    if (row === undefined) {
      workerLogger().warn(
        `Left ${id} among the foreign entries of the queue: it has neither a task nor a row`,
      );
      await queue.settleOrphans([id], "foreign");
    } else if (row.status === "queued" || row.status === "running") {
      await restore(row, parts);
    } else {
      workerLogger().info(
        `Dropped ${id} from the queue, which had its id alone: it is ${row.status}`,
      );
      await queue.settleOrphans([id], "ended");
    }
  }
}

async function restore(row: TaskRow, { queue }: UnusualParts): Promise<void> {
  const { agentId: id, taskName: name, attempt, failures, crashes, lapses } = row;
  await queue.raiseToken(row.token);
  const counters = { attempt, failures, crashes, lapses };
  const [word] = await queue.enqueue([{ id, name, payload: row.context ?? "", counters }]);
  if (word === "accepted") {
    workerLogger().warn(`Restored task ${name} ${id} from its row: the broker had lost it`);
  }
}
