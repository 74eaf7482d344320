/**
 * Canceling: in the row first, which decides, then in the broker.
 *
 * What a cancel can meet, and how each ends:
 *
 * - A waiting task: its row ends, and the broker takes it out. Where a worker claims it in between, the
 *   worker's `running` is refused by the row, and its claim ends without the handler having started.
 * - A task that is being enqueued: its row ends, and the push that follows brings a task whose row has
 *   ended; the first claim drops it.
 * - A running task: the broker marks the claim, its worker asks within a second, aborts the handler and
 *   writes the row. A handler that returns first completes; whichever write comes first stands.
 * - A run that is given back in between: the mark keeps the task from going back, and whoever gave it up, or the
 *   next sweep, ends it; where the row already says `queued`, it is canceled here and now.
 * - A run of which the row still says `running` and which the broker had already taken back: the broker
 *   takes it out of the queue, and the row ends under a token above that of the way back.
 * - A broker that lost the task while it runs: its worker claims it again within a second, so this asks
 *   again for a while; where nobody does, nobody runs it, and the row ends.
 *
 * @module
 */
import { type ActivityStatus, isTerminal, type MetadataFilter } from "../activity/activity.ts";
import type { TaskRow } from "../activity/rows.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { ProducerQueue } from "../broker/broker.ts";
import { after, sleep } from "../clock.ts";
import { AgentexecError, ConnectionError, ResultExpiredError } from "../errors.ts";
import type { Stores } from "../stores/stores.ts";

/**
 * What a cancel came to: the task will not run; it runs and was asked to stop; or it had ended before.
 *
 * @example
 * ```ts
 * import type { CancelOutcome, TaskHandle } from "@agentexec/core";
 *
 * async function stop(task: TaskHandle): Promise<CancelOutcome> {
 *   return await task.cancel();
 * }
 * ```
 */
export type CancelOutcome = "canceled" | "requested" | "ended";

/** Which task. */
export interface CancelRef {
  /** Its id. */
  readonly agentId: string;
  /** What its metadata must have; of another one it is as if there was no record. */
  readonly metadata?: MetadataFilter | undefined;
}

const TRIES = 15;
const PAUSE_MS = 200;
/** How long a row that the broker knows nothing of is tried to be written. */
const WRITE_MS = 2_000;

/**
 * Cancels a task.
 *
 * @throws {ResultExpiredError} If there is no record of it.
 */
export async function cancelTask(
  stores: Stores,
  ref: CancelRef,
): Promise<CancelOutcome> {
  const { agentId } = ref;
  const store = await stores.activity();
  let requested = false;
  for (let attempt = 1;; attempt++) {
    const row = await taskRow(store, ref);
    const queue = await stores.queue(row.queue ?? "");
    const step = await cancelOnce({ store, queue, row, patient: attempt < TRIES });
    if (step === "requested") requested = true;
    else if (step === "ended") {
      // The run that was asked to stop may have done so by now.
      return requested && row.status === "canceled" ? "canceled" : "ended";
    } else if (step === "canceled") return "canceled";
    if (requested) {
      // A run that was given back meanwhile is waiting now, and waiting tasks are canceled here.
      const now = await taskRow(store, ref);
      if (now.status !== "queued" || attempt >= TRIES) return endOf(now.status);
    } else if (attempt >= TRIES) {
      throw new AgentexecError(
        `Cannot cancel task '${row.taskName}' (${agentId}): its state kept changing`,
      );
    } else if (step === "unknown") await sleep(PAUSE_MS);
  }
}

function endOf(status: ActivityStatus): CancelOutcome {
  if (status === "canceled") return "canceled";
  return isTerminal(status) ? "ended" : "requested";
}

async function taskRow(
  store: ActivityStore,
  ref: CancelRef,
): Promise<TaskRow> {
  const { agentId } = ref;
  const row = await store.readRow(agentId, ref);
  if (row === undefined) {
    throw new ResultExpiredError(`Cannot cancel task ${agentId}: there is no record of it`, {
      agentId,
    });
  }
  if (row.kind === "task") return row;
  throw new AgentexecError(
    `Cannot cancel ${agentId}: it is a ${row.kind} '${row.taskName}', not a task`,
  );
}

interface Attempt {
  readonly store: ActivityStore;
  readonly queue: ProducerQueue;
  readonly row: TaskRow;
  /** Whether a task that the broker does not know may still turn up. */
  readonly patient: boolean;
}

type Step = CancelOutcome | "changed" | "unknown";

async function cancelOnce({ store, queue, row, patient }: Attempt): Promise<Step> {
  const { agentId, status } = row;
  if (isTerminal(status)) {
    // A cancel that broke off after the row is brought to its end.
    if (status === "canceled") await takeOut(queue, agentId);
    return "ended";
  }
  if (status === "queued") {
    const outcome = await store.cancelRow(agentId, await queue.nextToken());
    if (outcome !== "canceled") return "changed";
    await takeOut(queue, agentId);
    return "canceled";
  }
  const answer = await queue.cancel(agentId);
  if (answer === "requested") return "requested";
  if (answer === "unknown" && patient) return "unknown";
  const token = await queue.nextToken();
  const giveUp = new AbortController();
  const stop = after(WRITE_MS, () => giveUp.abort());
  const written = await store.write(
    { agentId, token, status: "canceled" },
    { signal: giveUp.signal },
  ).finally(stop);
  return written.kind === "written" ? "canceled" : "changed";
}

/** The row has ended, so the broker's copy is worth nothing: where this fails, its next claim drops it. */
export async function takeOut(queue: ProducerQueue, agentId: string): Promise<void> {
  try {
    await queue.cancel(agentId);
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
  }
}
