/**
 * Not knowing: a task whose name its worker does not know.
 *
 * @module
 */
import type { Claim } from "../broker/broker.ts";
import { backoff } from "../clock.ts";
import { workerLogger } from "../log/loggers.ts";
import { listClosest } from "../task/closest.ts";
import { type EndParts, endTask } from "./end.ts";
import { giveBack } from "./give_back.ts";

/** The first wait of a task whose name nobody here knows; it doubles. */
const WAITS = { firstMs: 5_000, mostMs: 300_000, exact: true };
/** How long it is given back before it ends in an error. */
const LIMIT_MS = 3_600_000;

/** What is needed to settle one. */
export interface UnknownParts extends EndParts {
  /** The pool's tasks. */
  readonly tasks: ReadonlyMap<string, unknown>;
}

/**
 * A task whose name this worker does not know goes back with a growing delay, charged nothing: a newer
 * program may be on its way. After an hour it ends, its context kept in the row.
 */
export async function settleUnknown(claim: Claim, parts: UnknownParts): Promise<void> {
  const known = listClosest(claim.name, parts.tasks.keys());
  const problem = `No worker here knows the task '${claim.name}': this pool's tasks are ${known}`;
  if (claim.unknownForMs < LIMIT_MS) {
    const delayMs = backoff(claim.unknowns + 1, WAITS);
    workerLogger().warn(`${problem}; it goes back to the queue for ${delayMs / 1_000} s`);
    return await giveBack(claim, { delayMs, charge: "unknown", message: problem }, parts);
  }
  workerLogger().error(`${problem}; it ends after an hour`);
  await endTask(claim, {
    status: "error",
    message: problem,
    error: problem,
    failure: { name: "UnknownTaskError", message: problem, stack: null },
  }, { ...parts, tell: (line) => workerLogger().error(line) });
}
