/**
 * Restoring: what the broker lost it gets again, a waiting task from its row and a running one from its run.
 *
 * @module
 */
import { isTerminal } from "../activity/activity.ts";
import type { TaskRow } from "../activity/rows.ts";
import type { Claim } from "../broker/broker.ts";
import { workerLogger } from "../log/loggers.ts";
import { AgentexecError } from "../errors.ts";
import { countersOf } from "../task/counters.ts";
import type { Task } from "../task/definition.ts";
import { ROWS_AT_ONCE, type TaskStores } from "./task_stores.ts";

/** What restoring needs. */
export interface RestoreParts extends TaskStores {
  /** The pool's tasks. */
  readonly tasks: ReadonlyMap<string, Task>;
  /** Whether rows keep the context. */
  readonly storeContext: boolean;
}

/**
 * Ids that stood in the queue without their task: each is put in again from its row, where it has one that has not ended,
 * and else settled. The broker tells again of those that this does not come to.
 */
export async function restoreOrphans(ids: readonly string[], parts: RestoreParts): Promise<void> {
  for (let at = 0; at < ids.length; at += ROWS_AT_ONCE) {
    await restoreSome(ids.slice(at, at + ROWS_AT_ONCE), parts);
  }
}

async function restoreSome(ids: readonly string[], parts: RestoreParts): Promise<void> {
  const { queue, store } = parts;
  const rows = new Map((await store.readRows(ids)).map((row) => [row.agentId, row]));
  for (const id of ids) {
    const row = rows.get(id);
    if (row === undefined) {
      workerLogger().warn(
        `Left ${id} among the foreign entries of the queue: it has neither a task nor a row`,
      );
      await queue.settleOrphans([id], "foreign");
    } else if (!isTerminal(row.status)) {
      await restore(row, parts);
    } else {
      workerLogger().info(
        `Dropped ${id} from the queue, which had its id alone: it is ${row.status}`,
      );
      await queue.settleOrphans([id], "ended");
    }
  }
}

async function restore(row: TaskRow, parts: RestoreParts): Promise<void> {
  const { queue } = parts;
  const { agentId: id, taskName: name } = row;
  await queue.raiseToken(row.token);
  if (hasLostContext(row, parts)) return await endWithoutContext(row, parts);
  const counters = countersOf(row);
  const [word] = await queue.enqueue([{ id, name, payload: row.context ?? "", counters }]);
  if (word === "accepted") {
    workerLogger().warn(`Restored task ${name} ${id} from its row: the broker had lost it`);
  }
}

/** Rows keep no context, and the task takes one, or nobody here knows: it must not run with an empty one. */
function hasLostContext({ context, taskName }: TaskRow, parts: RestoreParts): boolean {
  if (context !== null || parts.storeContext) return false;
  const task = parts.tasks.get(taskName);
  return task === undefined || task.definition.context !== undefined;
}

async function endWithoutContext(row: TaskRow, { queue, store }: RestoreParts): Promise<void> {
  const { agentId, taskName } = row;
  const message =
    "Task lost: the broker lost its context, and rows keep none (storeContext: false)";
  const outcome = await store.write({
    agentId,
    token: await queue.nextToken(),
    status: "error",
    message,
    error: `lost: ${message}`,
    failure: { name: "TaskLostError", message, stack: null },
  });
  if (outcome.kind === "invalid") {
    // The broker tells of it again.
    throw new AgentexecError(
      `the database refuses to end task ${taskName} ${agentId}: ${outcome.reason}`,
    );
  }
  workerLogger().error(`${message}: ${taskName} ${agentId}`);
  await queue.settleOrphans([agentId], "ended");
}

/** A claim whose task is not in the broker any more, and who asks. */
export interface GoneClaim {
  /** The claim. */
  readonly claim: Claim;
  /** Its worker. */
  readonly workerId: string;
  /** The lease, in milliseconds. */
  readonly leaseMs: number;
  /** Whether it still runs, asked when its row has been read. */
  readonly isRunning: () => boolean;
}

/**
 * Takes the claim of a run again that the broker lost, unless the task has just ended. False if it has another owner
 * now.
 */
export async function reassertClaim(
  { claim, workerId, leaseMs, isRunning }: GoneClaim,
  { queue, store }: TaskStores,
): Promise<boolean> {
  const row = await store.readRow(claim.id);
  if ((row !== undefined && isTerminal(row.status)) || !isRunning()) return true;
  return await queue.reassert(claim, { workerId, leaseMs });
}
