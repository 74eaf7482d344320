/**
 * What becomes of the tasks of a worker that is gone: each is settled by what its row says.
 *
 * @module
 */
import { isTerminal } from "../activity/activity.ts";
import type { RowState } from "../activity/rows.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { OwnedClaim, Queue } from "../broker/broker.ts";
import type { Interrupted } from "../task/definition.ts";
import { type Crash, crashTask } from "./crash.ts";
import type { EndParts } from "./end.ts";
import { endCanceled, giveBack } from "./give_back.ts";
import { interruptTask } from "./interrupt.ts";
import { ROWS_AT_ONCE, type TaskStores } from "./task_stores.ts";

/** Why a worker is gone: on its own account, or because a stop cut it off. */
export type Departure =
  | Crash & { readonly kind: "died" }
  | { readonly kind: "cut off"; readonly interrupted: (taskName: string) => Interrupted };

/** Settles every claim that a worker left. Answers with the ids of those that a stop cut off. */
export async function settleWorker(
  workerId: string,
  departure: Departure,
  parts: EndParts & TaskStores<Queue>,
): Promise<readonly string[]> {
  // Struck off first, so that no late claim of it is granted behind our back.
  const claims = await parts.queue.removeWorker(workerId);
  const rows = await readStates(claims, parts.store);
  const cutOff: string[] = [];
  await Promise.all(claims.map(async (claim) => {
    const row = rows.get(claim.id);
    if (row !== undefined && isTerminal(row.status)) {
      await parts.queue.end(claim);
      return;
    }
    if (departure.kind === "cut off") cutOff.push(claim.id);
    if (claim.canceled) {
      await endCanceled(claim, parts);
    } else if (departure.kind === "cut off") {
      await interruptTask(claim, departure.interrupted(claim.name), parts);
    } else if (hadStarted(claim, row)) {
      await crashTask(claim, departure, parts);
    } else {
      await giveBack(claim, { message: "Interrupted before it started" }, parts);
    }
  }));
  return cutOff;
}

async function readStates(
  claims: readonly OwnedClaim[],
  store: ActivityStore,
): Promise<ReadonlyMap<string, RowState>> {
  const states = new Map<string, RowState>();
  for (let at = 0; at < claims.length; at += ROWS_AT_ONCE) {
    const ids = claims.slice(at, at + ROWS_AT_ONCE).map((claim) => claim.id);
    for (const { agentId, status, token } of await store.readRows(ids)) {
      states.set(agentId, { status, token });
    }
  }
  return states;
}

/** The handler starts only after its row says `running` under the claim's very token. */
function hadStarted(claim: OwnedClaim, row: RowState | undefined): boolean {
  return row?.status === "running" && row.token === claim.token;
}
