/**
 * A run's beginning and end. The row decides: `running` is written before the handler starts, the end is written before
 * the broker forgets the task, and a write that the row refuses settles the broker to what the row says.
 *
 * @module
 */
import type { Claim } from "../broker/broker.ts";
import { sleep } from "../clock.ts";
import { AgentexecError, ConnectionError } from "../errors.ts";
import { workerLogger } from "../log/loggers.ts";
import { countersOf } from "../task/counters.ts";
import { type Ending, type EndOutcome, type EndParts, endTask, settleToRow } from "./end.ts";
import { giveBack } from "./give_back.ts";
import type { TaskStores } from "./task_stores.ts";

/** Between two tries of a call that the broker has to answer. */
const TRY_AGAIN_MS = 500;
/** How long a task waits whose run a store refused. */
const POSTPONED_MS = 1_000;

/** What a run's beginning and end need. */
export interface RunParts extends TaskStores {
  /** The broker's id, for a row that has to be made. */
  readonly brokerId: string;
  /** Whether rows keep the context. */
  readonly storeContext: boolean;
  /** Aborts when the run may write nothing any more. */
  readonly lost: AbortSignal;
  /** Aborts when the worker is to end: the broker is then not waited for any longer. */
  readonly stopping: AbortSignal;
  /** Called when the database refused the run's end: it is tried again and again, and needs no slot. */
  readonly onRefused: (line: string) => void;
}

/** Begins a run: its handler may start, or the row had something else to say and the claim is settled. */
export async function beginRun(
  claim: Claim,
  message: string,
  parts: RunParts,
): Promise<"begun" | "settled"> {
  const { store, lost: signal } = parts;
  const { id: agentId, token } = claim;
  const write = { agentId, token, message, counters: countersOf(claim) };
  const begin = () => store.write({ ...write, status: "running" }, { signal });
  let outcome = await begin();
  if (outcome.kind === "missing") {
    await makeRow(claim, parts);
    outcome = await begin();
  }
  if (outcome.kind === "written") return "begun";
  if (outcome.kind !== "refused") {
    const reason = outcome.kind === "invalid" ? `refused: ${outcome.reason}` : outcome.kind;
    throw new AgentexecError(`Cannot begin task ${agentId} by a write that was ${reason}`);
  }
  await settleToRow(claim, outcome.row, endParts(claim, parts));
  return "settled";
}

/**
 * Ends a run; `instead` makes the end that is written if the database refuses a result.
 *
 * @throws {AgentexecError} If the worker is to end, and the database still refuses to write the end.
 */
export async function endRun(
  claim: Claim,
  ending: Ending,
  { instead, ...parts }: RunParts & Pick<EndParts, "instead">,
): Promise<EndOutcome> {
  const more = instead === undefined ? {} : { instead };
  const outcome = await endTask(claim, ending, { ...endParts(claim, parts), ...more });
  if (outcome.kind !== "invalid" || parts.lost.aborted) return outcome;
  throw new AgentexecError(`The database refuses the end of task ${claim.id}: ${outcome.reason}`);
}

/** The stores failed, not the task: it waits a moment, charged nothing. Its row is left as it is. */
export async function postponeRun(claim: Claim, { queue }: TaskStores): Promise<void> {
  await queue.release(claim, { delayMs: POSTPONED_MS });
}

/** The run's worker ends since its supervisor died: the task goes back at once, so that it runs elsewhere. */
export async function orphanRun(claim: Claim, parts: TaskStores): Promise<void> {
  await giveBack(claim, { message: "Interrupted: the supervisor died" }, parts);
}

function endParts(claim: Claim, parts: RunParts): EndParts {
  const { queue, store, lost } = parts;
  return {
    queue,
    store,
    signal: lost,
    makeRow: () => makeRow(claim, parts),
    insist: (call) => insist(call, parts),
    until: () => AbortSignal.any([lost, parts.stopping]),
    tell: (line) => {
      workerLogger().error(line);
      parts.onRefused(line);
    },
  };
}

/** A task without a row (the database lost it): it gets one, so that its life is on record. */
async function makeRow(claim: Claim, parts: RunParts): Promise<void> {
  const { store, queue, brokerId, storeContext } = parts;
  const [outcome] = await store.insertTasks([{
    agentId: claim.id,
    taskName: claim.name,
    queue: queue.name,
    brokerId,
    context: storeContext && claim.payload !== "" ? claim.payload : null,
    metadata: "{}",
  }]);
  if (outcome?.kind !== "locked") return;
  throw new ConnectionError(
    `Cannot make the row of task ${claim.id}: another transaction has made it and has not ended`,
    { retryable: true },
  );
}

/**
 * Calls the broker until it answers. The row is written, so nothing depends on it but the slot: a worker
 * that is to end does not wait, and whoever meets the claim later settles it by the row.
 */
async function insist(
  call: () => Promise<unknown>,
  { lost, stopping }: RunParts,
): Promise<void> {
  for (;;) {
    try {
      await call();
      return;
    } catch (error) {
      if (!(error instanceof ConnectionError)) throw error;
      if (lost.aborted || stopping.aborted) return;
      await sleep(TRY_AGAIN_MS, { signal: stopping });
    }
  }
}
