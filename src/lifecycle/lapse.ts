/**
 * Lapsing: a task whose host is gone waits again, as the sweep that found it left it in the broker, ends as lost
 * after too many lapses, or as canceled if somebody wanted that.
 *
 * @module
 */
import type { SweptClaim } from "../broker/broker.ts";
import { type EndParts, endTask } from "./end.ts";
import { noteWaiting } from "./give_back.ts";

/** Settles a task that a sweep took from a host that is gone. */
export async function lapseTask(claim: SweptClaim, parts: EndParts): Promise<void> {
  const { id: agentId, token, lapses, outcome } = claim;
  const counters = { lapses };
  if (outcome === "canceled") {
    await endTask(
      claim,
      { status: "canceled", message: "Canceled: the host that ran it is gone" },
      parts,
    );
    return;
  }
  if (outcome === "returned") {
    const message = "Waiting to run again: the host that ran it is gone";
    return await noteWaiting({ agentId, token, message, counters }, parts);
  }
  const message = lostMessage(lapses);
  await endTask(claim, {
    status: "error",
    message,
    error: `lost: ${message}`,
    failure: { name: "TaskLostError", message, stack: null },
    counters,
  }, parts);
}

/** What a task that is lost ends with. */
export function lostMessage(lapses: number): string {
  return `Task lost: the host that ran it went away ${lapses} times`;
}
