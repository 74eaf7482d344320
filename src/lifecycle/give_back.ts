/**
 * Giving back: a claimed task returns to the queue, and its row says why it waits.
 *
 * @module
 */
import type { ClaimRef, ReleaseOptions } from "../broker/broker.ts";
import type { Counters } from "../task/counters.ts";
import { endTask } from "./end.ts";
import type { TaskStores } from "./task_stores.ts";

/** Why and how a task goes back. */
export interface GiveBackOptions extends ReleaseOptions {
  /** What its row then says. */
  readonly message: string;
  /** Counters that changed. */
  readonly counters?: Partial<Counters>;
}

/**
 * Gives a claimed task back: the broker first, whose token then fences the row. One that somebody canceled while it was
 * claimed does not go back, it ends.
 */
export async function giveBack(
  claim: ClaimRef,
  { message, counters, ...release }: GiveBackOptions,
  parts: TaskStores,
): Promise<void> {
  const { outcome, token } = await parts.queue.release(claim, release);
  if (outcome === "canceled") return await endCanceled(claim, parts);
  // Another's, or ended: whoever has it writes its row.
  if (outcome !== "done") return;
  await parts.store.write({
    agentId: claim.id,
    token,
    status: "queued",
    message,
    ...(counters === undefined ? {} : { counters }),
  });
}

/** Somebody canceled the task while its worker had it: it does not run again. */
export async function endCanceled(claim: ClaimRef, parts: TaskStores): Promise<void> {
  await endTask(
    claim,
    { status: "canceled", message: "Canceled: its worker process is gone" },
    parts,
  );
}
