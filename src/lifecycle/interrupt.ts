/**
 * Interrupting: a task that was cut off runs again at once, charged nothing, or ends as canceled where its program wants
 * that.
 *
 * @module
 */
import type { Interrupted } from "../task/definition.ts";
import { type EndParts, endTask, type NamedClaim } from "./end.ts";
import { giveBack } from "./give_back.ts";

/** Settles a task that a stop of its pool cut off. */
export async function interruptTask(
  claim: NamedClaim,
  interrupted: Interrupted,
  parts: EndParts,
): Promise<void> {
  if (interrupted === "requeue") {
    return await giveBack(claim, { message: "Interrupted: the pool was stopped" }, parts);
  }
  const message = "Canceled: the pool was stopped while it ran";
  await endTask(claim, { status: "canceled", message }, parts);
}
