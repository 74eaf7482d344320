/**
 * The run that the present code belongs to, anywhere below its handler.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { AgentexecError } from "../errors.ts";
import type { TaskRun } from "./context.ts";

const storage = new AsyncLocalStorage<TaskRun>();

/**
 * What the handler was called with, from anywhere below it, so that a tool deep in an agent's call tree
 * reaches the task's database, log, signal and activity without their being passed down.
 *
 * @returns The handler's argument.
 * @throws {AgentexecError} If the code does not run below a handler.
 *
 * @example
 * ```ts
 * import { currentTask } from "@agentexec/core";
 *
 * async function saveNote(text: string) {
 *   const { agentId, db } = currentTask();
 *   await db.insertInto("notes").values({ agent_id: agentId, text }).execute();
 * }
 * ```
 */
export function currentTask(): TaskRun {
  const run = storage.getStore();
  if (run === undefined) {
    throw new AgentexecError(
      "Cannot get the current task: this code does not run below a task's handler",
    );
  }
  return run;
}

/** The run below which the present code stands, or undefined outside any. */
export function currentTaskOrUndefined(): TaskRun | undefined {
  return storage.getStore();
}

/** Calls `body` with `run` as the current task, for it and all it starts. */
export function runAsCurrentTask<T>(run: TaskRun, body: () => T): T {
  return storage.run(run, body);
}
