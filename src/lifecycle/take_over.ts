/**
 * Taking over: tasks whose rows name another broker become this one's where that one is gone, or stood where this one
 * does and lost its data.
 *
 * @module
 */
import type { ProducerQueue } from "../broker/broker.ts";
import { isTerminal } from "../activity/activity.ts";
import type { InsertOutcome, NewTaskRow } from "../activity/rows.ts";
import { monotonicMs, sleep } from "../clock.ts";
import { Brokers } from "./brokers.ts";
import type { TaskStores } from "./task_stores.ts";

/**
 * How long a living worker may take to claim again what its broker lost: right after that its rows say that they run, and
 * nobody is dead.
 */
const SIGN_OF_LIFE_MS = 2_500;
const LOOK_EVERY_MS = 200;

/** What became of a row that named another broker. */
export type TakeOver =
  /** It names this one now, and the rest is as for any row of this broker. */
  | Exclude<InsertOutcome, { readonly kind: "elsewhere" }>
  /** That broker is in use. */
  | { readonly kind: "elsewhere"; readonly address: string };

/** A row that named another broker. */
export interface ElsewhereRow {
  /** The row that was to be made. */
  readonly row: NewTaskRow;
  /** The broker that the present one names. */
  readonly brokerId: string;
}

/** Takes rows over; the outcomes stand in their order. */
export async function takeOver(
  found: readonly ElsewhereRow[],
  stores: TaskStores<ProducerQueue>,
): Promise<readonly TakeOver[]> {
  const { queue, store } = stores;
  const to = await queue.open();
  const brokers = await Brokers.read(stores);
  const others = await brokers.elsewhere(found.map(({ brokerId }) => brokerId));
  const free = found.filter(({ brokerId }) => !others.has(brokerId));
  for (const from of new Set(free.map(({ brokerId }) => brokerId))) {
    const ids = free.filter(({ brokerId }) => brokerId === from).map(({ row }) => row.agentId);
    if (from !== to) await store.moveTasks(ids, { from, to });
  }
  const moved = await store.insertTasks(free.map(({ row }) => ({ ...row, brokerId: to })));
  const outcomes = new Map(free.map((each, index) => [each, moved[index]]));
  const elsewhere = (id: string) => ({
    kind: "elsewhere" as const,
    address: brokers.addressOf(id) ?? id,
  });
  return await Promise.all(found.map(async (each) => {
    const outcome = outcomes.get(each);
    if (outcome === undefined) return elsewhere(each.brokerId);
    if (outcome.kind === "elsewhere") return elsewhere(outcome.brokerId);
    if (outcome.kind !== "same" || isTerminal(outcome.status)) return outcome;
    // Tokens of this broker go on above those of the former, or its claims would be refused by the row.
    await queue.raiseToken(outcome.token);
    return outcome.status === "running" ? await openRunning(each.row.agentId, stores) : outcome;
  }));
}

/** A row says that it runs: by a worker that will claim it again, or by one that is gone with its broker. */
async function openRunning(
  agentId: string,
  { queue, store }: TaskStores<ProducerQueue>,
): Promise<Exclude<InsertOutcome, { readonly kind: "elsewhere" }>> {
  const until = monotonicMs() + SIGN_OF_LIFE_MS;
  for (;;) {
    const [place] = await queue.whereabouts([agentId]);
    const row = await store.readRow(agentId);
    if (row === undefined) return { kind: "same", status: "running", token: "0" };
    if (place !== "unknown" || row.status !== "running") {
      return { kind: "same", status: row.status, token: row.token };
    }
    if (monotonicMs() >= until) break;
    await sleep(LOOK_EVERY_MS);
  }
  const token = await queue.nextToken();
  const message = "Waiting to run again: the broker that had it is gone";
  const written = await store.write({ agentId, token, status: "queued", message });
  if (written.kind === "refused") return { kind: "same", ...written.row };
  return { kind: "same", status: "queued", token };
}
