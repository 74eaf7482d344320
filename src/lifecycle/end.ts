/**
 * Ending: a task's last write goes into its row, then the broker forgets it. Whoever ends a task does it here: the
 * worker that ran it, the supervisor of a worker that is gone, and the sweep.
 *
 * @module
 */
import type { ActivityFailure } from "../activity/activity.ts";
import { isTerminal } from "../activity/activity.ts";
import type { RowState } from "../activity/rows.ts";
import type { ClaimRef } from "../broker/broker.ts";
import type { Counters } from "../task/counters.ts";
import { backoff, sleep } from "../clock.ts";
import { Brokers } from "./brokers.ts";
import type { TaskStores } from "./task_stores.ts";

/** What a task ends with. */
export interface Ending {
  /** How it ends. */
  readonly status: "complete" | "error" | "canceled";
  /** The message of row and log. */
  readonly message: string;
  /** How far it came. */
  readonly percentage?: number;
  /** The result's JSON. */
  readonly result?: string;
  /** What went wrong. */
  readonly error?: string;
  /** The same in parts. */
  readonly failure?: ActivityFailure;
  /** Counters that changed. */
  readonly counters?: Partial<Counters>;
}

/** What became of an end. */
export type EndOutcome =
  /** It is in the row, and the broker has forgotten the task. */
  | { readonly kind: "ended"; readonly status: Ending["status"] }
  /** The row had something else to say, and the broker was brought to it. */
  | { readonly kind: "overruled"; readonly row: RowState }
  /** The database refuses it in any words, and it was not to be tried again: the claim is as it was. */
  | { readonly kind: "invalid"; readonly reason: string };

/** A claim, and what its task is called. */
export interface NamedClaim extends ClaimRef {
  /** The task's name. */
  readonly name: string;
}

/** How an end is written. */
export interface EndParts extends TaskStores {
  /** Ends the tries of a write that the database does not answer. */
  readonly signal?: AbortSignal;
  /** Makes the row of a task that has none; where it is missing, such a task is ended in the broker alone. */
  readonly makeRow?: () => Promise<void>;
  /** What is written instead of an end that the database refuses for this reason. */
  readonly instead?: (reason: string) => Ending;
  /**
   * Until it aborts, an end that the database refuses in any words is tried again, with growing pauses: a rule of the
   * database's owner may let it pass later, and the handler is not to run again for it.
   *
   * @default {undefined} (it is tried once)
   */
  readonly until?: () => AbortSignal;
  /** Tells the operator of an end that the database refuses. */
  readonly tell?: (line: string) => void;
  /** Calls the broker; it may be called until it answers, since the row is written by then. */
  readonly insist?: (call: () => Promise<unknown>) => Promise<void>;
}

/** Between two tries of an end that the database refuses. */
const REFUSED_PAUSES = { firstMs: 1_000, mostMs: 300_000, exact: true };

/** Ends a claimed task: row first, then the broker. */
export async function endTask(
  claim: NamedClaim,
  ending: Ending,
  parts: EndParts,
): Promise<EndOutcome> {
  const { instead } = parts;
  for (let refusals = 1;; refusals++) {
    const outcome = await tryToEnd(claim, ending, parts);
    if (outcome.kind !== "invalid") return outcome;
    if (instead !== undefined) {
      const other = await tryToEnd(claim, instead(outcome.reason), parts);
      if (other.kind !== "invalid") return other;
    }
    const pauseMs = backoff(refusals, REFUSED_PAUSES);
    const until = parts.until?.();
    const isOver = until === undefined || until.aborted;
    parts.tell?.(
      `Cannot end task ${claim.name} ${claim.id} as '${ending.status}': the database refuses to write its row ` +
        `(agent_id '${claim.id}'): ${outcome.reason}; ` +
        (isOver ? "it stays as it is for now" : `it is tried again in ${pauseMs / 1_000} s`),
    );
    if (isOver) return outcome;
    await sleep(pauseMs, { signal: until });
  }
}

async function tryToEnd(
  claim: NamedClaim,
  ending: Ending,
  parts: EndParts,
): Promise<EndOutcome> {
  const { store, queue, signal, makeRow, insist = once } = parts;
  const write = { agentId: claim.id, token: claim.token, ...ending };
  let outcome = await store.write(write, { signal });
  if (outcome.kind === "missing" && makeRow !== undefined) {
    await makeRow();
    outcome = await store.write(write, { signal });
  }
  switch (outcome.kind) {
    case "invalid":
      return outcome;
    case "refused":
      await settleToRow(claim, outcome.row, parts);
      return { kind: "overruled", row: outcome.row };
    case "written":
    case "missing":
      await insist(() => queue.end(claim));
      return { kind: "ended", status: ending.status };
    default:
      return outcome satisfies never;
  }
}

/** A row says something else than whoever holds the claim: the broker is brought to it. */
export async function settleToRow(
  claim: ClaimRef,
  { status, token }: RowState,
  parts: EndParts,
): Promise<void> {
  const { queue, insist = once } = parts;
  if (isTerminal(status) || await isElsewhere(claim, parts)) {
    return await insist(() => queue.end(claim));
  }
  // The row is newer than the broker: it was restored from an old copy. Its tokens go on above the row's.
  await queue.raiseToken(token);
  await queue.release(claim);
}

/** Whether the task is another queue's or another broker's: it runs there, and is not to run here too. */
async function isElsewhere({ id }: ClaimRef, { queue, store }: TaskStores): Promise<boolean> {
  const row = await store.readRow(id);
  if (row?.queue !== queue.name) return row !== undefined;
  if (row.brokerId === null) return false;
  return (await (await Brokers.read({ queue, store })).elsewhere([row.brokerId])).size > 0;
}

async function once(call: () => Promise<unknown>): Promise<void> {
  await call();
}
