/**
 * Crashing: a task whose worker died while its handler ran runs again after a growing wait, or ends as failed after
 * too many crashes.
 *
 * @module
 */
import { isTerminal } from "../activity/activity.ts";
import type { OwnedClaim } from "../broker/broker.ts";
import { backoff } from "../clock.ts";
import { type EndParts, endTask } from "./end.ts";
import { giveBack } from "./give_back.ts";

/** The wait of a task whose process crashed once; it doubles with each crash. */
const WAITS = { firstMs: 1_000, mostMs: 300_000, exact: true };

/** How a worker died. */
export interface Crash {
  /** What its process ended by. */
  readonly cause: string;
  /** How many crashes end a task. */
  readonly crashLimit: number;
}

/** Settles a task that ran in a worker that died. */
export async function crashTask(
  claim: OwnedClaim,
  { cause, crashLimit }: Crash,
  parts: EndParts,
): Promise<void> {
  const { id: agentId, token } = claim;
  const crashes = claim.crashes + 1;
  const message = `The worker process died while the task ran in it: ${cause}`;
  if (crashes >= crashLimit) {
    const error = `${message} (crash ${crashes} of at most ${crashLimit})`;
    await endTask(claim, {
      status: "error",
      message: `Task failed: its worker process died ${crashes} times`,
      error,
      failure: { name: "WorkerCrashError", message: error, stack: null },
      counters: { crashes },
    }, parts);
    return;
  }
  // Before the broker gives it to others: a later row may say so before ours comes.
  const closed = await parts.store.write({ agentId, token, message, closesAttempt: true });
  if (closed.kind === "refused" && isTerminal(closed.row.status)) {
    await parts.queue.end(claim);
    return;
  }
  await giveBack(claim, {
    delayMs: backoff(crashes, WAITS),
    charge: "crash",
    message: `Waiting to run again after crash ${crashes} of at most ${crashLimit}`,
    counters: { crashes },
  }, parts);
}
