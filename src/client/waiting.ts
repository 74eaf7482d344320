/**
 * What is said of a task that somebody waits for and that does not end: the likeliest reasons are a name that no
 * worker knows, a pool that does not run, and a handler that waits for a task of its own full queue.
 *
 * @module
 */
import type { TaskRow } from "../activity/rows.ts";
import { workerConnections } from "../program/role.ts";
import { currentTaskOrUndefined } from "../task/current.ts";
import type { Stores } from "../stores/stores.ts";
import { warn } from "../stores/warn.ts";

/** How long a task may wait for a worker before the operator is told. Rows are read every 5 s: the third time. */
const WARN_AFTER_MS = 9_500;

/**
 * How far a task is that has not ended after `waitedMs` milliseconds.
 *
 * @param now The time in milliseconds of the Unix epoch.
 */
export function describeUnended(row: TaskRow, waitedMs: number, now: number): string {
  const said = row.message === null ? "" : `: ${row.message}`;
  if (row.status !== "queued") return `${row.status}, attempt ${row.attempt}${said}`;
  if (isDelayed(row, now)) return `still queued, it is not due before ${row.runAt?.toISOString()}`;
  // With a token it was somebody's already, who left word why it waits again.
  if (row.token !== "0") return `still queued, it waits for another try${said}`;
  const own = isOwnQueue(row) ? " besides the one that this handler holds while it waits" : "";
  return `still queued, no worker of '${row.queue}' has taken it in ${
    Math.round(waitedMs / 100) / 10
  } s: is it declared there, is a slot free${own}?`;
}

/** Tells the operator, once per client, queue and task name, of a task that no worker takes. */
export function warnOfWaiting(stores: Stores, row: TaskRow, waitedMs: number): void {
  const now = stores.now();
  if (row.status !== "queued" || waitedMs < WARN_AFTER_MS || isDelayed(row, now)) return;
  if (!stores.mayWarn(`waiting for '${row.taskName}' of '${row.queue}'`)) return;
  warn(`Task '${row.taskName}' (${row.agentId}) is ${describeUnended(row, waitedMs, now)}`);
}

function isDelayed({ runAt }: TaskRow, now: number): boolean {
  return runAt !== null && runAt.getTime() > now;
}

/** Whether the code that waits is a handler of the queue that the task waits in. */
function isOwnQueue({ queue }: TaskRow): boolean {
  return currentTaskOrUndefined() !== undefined && workerConnections()?.queueName === queue;
}
