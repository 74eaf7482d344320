/**
 * The results of many tasks, as they are now.
 *
 * @module
 */
import type { ActivityStatus } from "../activity/activity.ts";
import { kindOf } from "../show.ts";
import { checkAgentId } from "./enqueue_options.ts";
import type { Stores } from "../stores/stores.ts";

/**
 * The progress of a task, and its outcome if it has ended.
 *
 * @example
 * ```ts
 * import type { TaskResult } from "@agentexec/core";
 *
 * function show({ taskName, status, result, error }: TaskResult): string {
 *   return `${taskName} ${status}: ${status === "complete" ? JSON.stringify(result) : error ?? ""}`;
 * }
 * ```
 */
export interface TaskResult {
  /** The task's id. */
  readonly agentId: string;
  /** The task's name. */
  readonly taskName: string;
  /** How far it is. */
  readonly status: ActivityStatus;
  /** The result as JSON gives it; undefined if it has none, or none yet. */
  readonly result: unknown;
  /** What went wrong, with its causes; null if nothing did. */
  readonly error: string | null;
}

/** Reads them, in the order of the ids; null for ids without a task. */
export async function readResults(
  stores: Stores,
  ids: readonly string[],
): Promise<readonly (TaskResult | null)[]> {
  const asked = checkIds(ids);
  const rows = await (await stores.activity()).readResults([...new Set(asked)]);
  const byId = new Map(rows.map((row) => [row.agentId, row]));
  return asked.map((agentId) => {
    const row = byId.get(agentId);
    if (row === undefined) return null;
    const { taskName, status, result, error } = row;
    return {
      agentId,
      taskName,
      status,
      result: result === null ? undefined : JSON.parse(result),
      error,
    };
  });
}

/** The ids as the stores have them. */
function checkIds(ids: readonly string[]): readonly string[] {
  if (Array.isArray(ids)) return ids.map((id, index) => checkAgentId(id, `ids[${index}]`));
  throw new TypeError(`Cannot use 'ids': it must be an array, current value is ${kindOf(ids)}`);
}
