/**
 * Interrupting: a task that was cut off runs again at once, charged nothing, or ends as canceled where its program wants
 * that.
 *
 * @module
 */
import type { ClaimRef } from "../broker/broker.ts";
import type { Interrupted } from "../task/definition.ts";
import { endTask } from "./end.ts";
import { giveBack } from "./give_back.ts";
import type { TaskStores } from "./task_stores.ts";

/** Settles a task that a stop of its pool cut off. */
export async function interruptTask(
  claim: ClaimRef,
  interrupted: Interrupted,
  parts: TaskStores,
): Promise<void> {
  if (interrupted === "requeue") {
    return await giveBack(claim, { message: "Interrupted: the pool was stopped" }, parts);
  }
  const message = "Canceled: the pool was stopped while it ran";
  await endTask(claim, { status: "canceled", message }, parts);
}
