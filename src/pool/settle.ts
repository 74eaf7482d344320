/**
 * What becomes of the tasks of a worker that is gone: each is settled by what its row says.
 *
 * @module
 */
import type { ActivityFailure, ActivityStatus } from "../activity/activity.ts";
import type { TaskRow } from "../activity/rows.ts";
import type { ActivityStore } from "../activity/store.ts";
import type { Counters, OwnedClaim, Queue } from "../broker/broker.ts";
import { backoff } from "../clock.ts";
import type { Interrupted } from "../task/definition.ts";

/** The wait of a task whose process crashed once; it doubles with each crash. */
const CRASH_DELAYS = { firstMs: 1_000, mostMs: 300_000, exact: true };

/** Why a worker is gone: on its own account, or because a stop cut it off. */
export type Departure =
  | { readonly kind: "died"; readonly cause: string; readonly crashLimit: number }
  | { readonly kind: "cut off"; readonly interrupted: (taskName: string) => Interrupted };

/** Where claims and rows are. */
export interface SettleParts {
  /** The queue. */
  readonly queue: Queue;
  /** The rows. */
  readonly store: ActivityStore;
}

/** Rows hold contexts of up to a MiB each, so that a statement must not ask for too many. */
const ROWS_AT_ONCE = 8;

/** Settles every claim that a worker left. Answers with the ids of those that a stop cut off. */
export async function settleWorker(
  workerId: string,
  departure: Departure,
  parts: SettleParts,
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
      await settleInterrupted(claim, departure.interrupted(claim.name), parts);
    } else if (hadStarted(claim, row)) {
      await settleCrash(claim, departure, parts);
    } else {
      await giveBack(claim, "Interrupted before it started", parts);
    }
  }));
  return cutOff;
}

type RowState = Pick<TaskRow, "status" | "token">;

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

function isTerminal(status: ActivityStatus): boolean {
  return status === "complete" || status === "error" || status === "canceled";
}

/** The handler starts only after its row says `running` under the claim's very token. */
function hadStarted(claim: OwnedClaim, row: RowState | undefined): boolean {
  return row?.status === "running" && row.token === claim.token;
}

async function settleInterrupted(
  claim: OwnedClaim,
  interrupted: Interrupted,
  parts: SettleParts,
): Promise<void> {
  if (interrupted === "requeue") {
    return await giveBack(claim, "Interrupted: the pool was stopped", parts);
  }
  await end(
    claim,
    { status: "canceled", message: "Canceled: the pool was stopped while it ran" },
    parts,
  );
}

async function settleCrash(
  claim: OwnedClaim,
  { cause, crashLimit }: Departure & { kind: "died" },
  parts: SettleParts,
): Promise<void> {
  const crashes = claim.crashes + 1;
  const message = `The worker process died while the task ran in it: ${cause}`;
  if (crashes >= crashLimit) {
    const error = `${message} (crash ${crashes} of at most ${crashLimit})`;
    return await end(claim, {
      status: "error",
      message: `Task failed: its worker process died ${crashes} times`,
      error,
      failure: { name: "WorkerCrashError", message: error, stack: null },
      counters: { crashes },
    }, parts);
  }
  const { id: agentId, token: claimed } = claim;
  // Before the broker gives it to others: a later row may say so before ours comes.
  const closed = await parts.store.write({ agentId, token: claimed, message, closesAttempt: true });
  if (closed.kind === "refused" && isTerminal(closed.row.status)) {
    await parts.queue.end(claim);
    return;
  }
  const delayMs = backoff(crashes, CRASH_DELAYS);
  const { outcome, token } = await parts.queue.release(claim, { delayMs, charge: "crash" });
  if (outcome === "canceled") return await endCanceled(claim, parts);
  if (outcome !== "done") return;
  await parts.store.write({
    agentId,
    token,
    status: "queued",
    message: `Waiting to run again after crash ${crashes} of at most ${crashLimit}`,
    counters: { crashes },
  });
}

async function giveBack(claim: OwnedClaim, message: string, parts: SettleParts): Promise<void> {
  const { outcome, token } = await parts.queue.release(claim);
  if (outcome === "canceled") return await endCanceled(claim, parts);
  if (outcome !== "done") return;
  await parts.store.write({ agentId: claim.id, token, status: "queued", message });
}

interface Ending {
  readonly status: ActivityStatus;
  readonly message: string;
  readonly error?: string;
  readonly failure?: ActivityFailure;
  readonly counters?: Partial<Counters>;
}

/** Somebody canceled it while its worker had it: it does not run again. */
async function endCanceled(claim: OwnedClaim, parts: SettleParts): Promise<void> {
  await end(claim, { status: "canceled", message: "Canceled: its worker process is gone" }, parts);
}

/** Row first, then the broker. */
async function end(claim: OwnedClaim, ending: Ending, parts: SettleParts): Promise<void> {
  await parts.store.write({ agentId: claim.id, token: claim.token, ...ending });
  await parts.queue.end(claim);
}
