/**
 * Giving back: a claimed task returns to the queue, and its row says why it waits.
 *
 * @module
 */
import type { ActivityWrite } from "../activity/rows.ts";
import type { ReleaseOptions } from "../broker/broker.ts";
import { AgentexecError } from "../errors.ts";
import type { Counters } from "../task/counters.ts";
import { type EndParts, endTask, type NamedClaim } from "./end.ts";

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
  claim: NamedClaim,
  { message, counters, ...release }: GiveBackOptions,
  parts: EndParts,
): Promise<void> {
  const { outcome, token } = await parts.queue.release(claim, release);
  if (outcome === "canceled") return await endCanceled(claim, parts);
  // Another's, or ended: whoever has it writes its row.
  if (outcome !== "done") return;
  const row = { agentId: claim.id, token, message };
  await noteWaiting(counters === undefined ? row : { ...row, counters }, parts);
}

/**
 * Writes that a task waits, which the broker knows already.
 *
 * @throws {AgentexecError} If the database refuses that; the task runs all the same.
 */
export async function noteWaiting(
  write: Omit<ActivityWrite, "status">,
  { store }: EndParts,
): Promise<void> {
  const outcome = await store.write({ ...write, status: "queued" });
  if (outcome.kind !== "invalid") return;
  throw new AgentexecError(
    `the database refuses to note that task ${write.agentId} waits: ${outcome.reason}`,
  );
}

/** Somebody canceled the task while its worker had it: it does not run again. */
export async function endCanceled(claim: NamedClaim, parts: EndParts): Promise<void> {
  await endTask(
    claim,
    { status: "canceled", message: "Canceled: its worker process is gone" },
    parts,
  );
}
