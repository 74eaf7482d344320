/**
 * What becomes of a claim: whether it is still its worker's, and how it ends.
 *
 * @module
 */
import { CANCEL_HOLD_MS } from "../protocol.ts";
import type {
  Claim,
  ClaimRef,
  ClaimState,
  ReleaseOptions,
  Returned,
  SettleOutcome,
} from "../broker.ts";
import { channelOf, putMessage } from "./messages.ts";
import { hold, place, placeNew, putBack, QueueNumbers, supervisorOf, unplace } from "./places.ts";
import type { Transaction } from "./transaction.ts";

/** What a claim is asked by its id. */
interface PlaceRow {
  readonly state: string;
  readonly token: number;
  readonly owner: string;
  readonly cancel: number;
}

function placeOf(transaction: Transaction, queue: string, id: string): PlaceRow | undefined {
  return transaction.get<PlaceRow>(
    "select state, token, owner, cancel from agentexec_broker_task where queue = ? and id = ?",
    queue,
    id,
  );
}

/** Whether a claim is the caller's; the word that refuses it where it is not. */
function fence(row: PlaceRow | undefined, { token }: ClaimRef): SettleOutcome {
  if (row === undefined) return "gone";
  return row.state === "claimed" && String(row.token) === token ? "done" : "lost";
}

/** Whether each claim is still its worker's own, and whether it is to stop. */
export function checkClaims(
  transaction: Transaction,
  queue: string,
  claims: readonly ClaimRef[],
): readonly ClaimState[] {
  return claims.map(({ id, token }) => {
    const row = placeOf(transaction, queue, id);
    if (row === undefined) return "gone";
    if (row.state !== "claimed" || String(row.token) !== token) return "lost";
    return row.cancel === 1 ? "cancel" : "own";
  });
}

/** Forgets a task whose row is written, and says that it ended. */
export function endClaim(transaction: Transaction, queue: string, claim: ClaimRef): SettleOutcome {
  const settled = fence(placeOf(transaction, queue, claim.id), claim);
  if (settled !== "done") return settled;
  unplace(transaction, { queue, id: claim.id });
  putMessage(transaction, channelOf(queue, { kind: "ended", id: claim.id }), "ended");
  return "done";
}

/** Gives a task back: at the head, or with a delay, with or without a charge. */
export function releaseClaim(
  transaction: Transaction,
  queue: string,
  { claim, delayMs = 0, charge }: ReleaseOptions & { readonly claim: ClaimRef },
): Returned {
  const { id } = claim;
  const row = placeOf(transaction, queue, id);
  const outcome = fence(row, claim);
  if (row === undefined || outcome !== "done") return { outcome, token: "" };
  if (row.cancel === 1) {
    const supervisorId = supervisorOf(row.owner);
    hold(transaction, { queue, id }, { token: row.token, supervisorId, ms: CANCEL_HOLD_MS });
    return { outcome: "canceled", token: claim.token };
  }
  if (charge === "unknown") {
    transaction.run(
      `update agentexec_broker_task set unknowns = unknowns + 1, unknown_since = coalesce(unknown_since, ?)
      where queue = ? and id = ?`,
      transaction.now,
      queue,
      id,
    );
  } else if (charge !== undefined) {
    // Its handler ran, so its name is known.
    transaction.run(
      `update agentexec_broker_task set ${
        charge === "crash" ? "crashes = crashes" : "failures = failures"
      } + 1,
      unknowns = 0, unknown_since = null where queue = ? and id = ?`,
      queue,
      id,
    );
  }
  const numbers = QueueNumbers.of(transaction, queue);
  const token = putBack(transaction, numbers, { queue, id, delayMs: Math.ceil(delayMs) });
  numbers.save();
  return { outcome, token: String(token) };
}

/** Takes a lost claim again, under the same token. False where it has another owner or place. */
export function reassertClaim(
  transaction: Transaction,
  queue: string,
  { claim, workerId, leaseMs }: {
    readonly claim: Claim;
    readonly workerId: string;
    readonly leaseMs: number;
  },
): boolean {
  const { id, token, name, payload } = claim;
  const row = placeOf(transaction, queue, id);
  const { now } = transaction;
  const held = { state: "claimed", owner: workerId, lease: now + leaseMs } as const;
  if (row === undefined) {
    const task = { queue, id, name, payload, counters: claim };
    placeNew(transaction, task, { ...held, since: now, token: Number(token) });
  } else {
    const own = row.state === "claimed" && String(row.token) === token && row.owner === workerId;
    if (!own) return false;
    place(transaction, { queue, id }, held);
  }
  const numbers = QueueNumbers.of(transaction, queue);
  numbers.raise(Number(token));
  numbers.save();
  return true;
}

/** Takes a task out where it waits, or marks it for its worker to stop. */
export function cancelOrMark(
  transaction: Transaction,
  queue: string,
  id: string,
): "removed" | "requested" | "unknown" {
  const row = placeOf(transaction, queue, id);
  if (row === undefined) return "unknown";
  if (row.state === "claimed") {
    transaction.run(
      "update agentexec_broker_task set cancel = 1 where queue = ? and id = ?",
      queue,
      id,
    );
    return "requested";
  }
  unplace(transaction, { queue, id });
  putMessage(transaction, channelOf(queue, { kind: "ended", id }), "canceled");
  return "removed";
}
