/**
 * Waiting for the results of several tasks.
 *
 * @module
 */
import { checkOptions } from "../options.ts";
import { kindOf } from "../show.ts";
import { checkSignal } from "../task/signals.ts";
import { type TaskHandle, type TaskWaitOptions, WAIT_OPTIONS } from "./handle.ts";

/**
 * The results of handles, in their order.
 *
 * @example
 * ```ts
 * import type { GatheredResults, TaskHandle } from "@agentexec/core";
 *
 * const results: GatheredResults<[TaskHandle<string>, TaskHandle<number>]> = ["text", 5];
 * console.log(results);
 * ```
 */
export type GatheredResults<Handles extends readonly TaskHandle[]> = {
  -readonly [Index in keyof Handles]: Handles[Index] extends TaskHandle<infer Result> ? Result
    : never;
};

/**
 * Waits for several tasks and gives their results in the order of the handles. The first failure is thrown at once;
 * the other tasks go on, and nobody waits for them any more.
 *
 * @param handles The tasks, of one kind or of several.
 * @param options How long to wait for all of them.
 * @returns The results.
 * @throws {TaskFailedError} If one ended in an error; `agentId` tells which.
 * @throws {TaskCanceledError} If one was canceled.
 * @throws {ResultTimeoutError} If the time is up before the last has ended; all go on.
 * @throws {ResultExpiredError} If there is no record of one (any more).
 * @throws {TypeError} If one is no handle.
 *
 * @example
 * ```ts
 * import { Client, defineTask, gather } from "@agentexec/core";
 * import { z } from "zod";
 *
 * const research = defineTask("research_company", {
 *   context: z.object({ company: z.string() }),
 *   result: z.object({ summary: z.string() }),
 * });
 *
 * await using client = new Client();
 * const tasks = await client.enqueueMany(research, [{ company: "Acme" }, { company: "Umbrella" }]);
 * const results = await gather(tasks, { timeout: { minutes: 10 } });
 * console.log(results.map(({ summary }) => summary));
 * ```
 */
export async function gather<const Handles extends readonly TaskHandle[]>(
  handles: Handles,
  options: TaskWaitOptions = {},
): Promise<GatheredResults<Handles>> {
  checkOptions("gather results", options, WAIT_OPTIONS);
  const { timeout, signal } = options;
  checkSignal(signal);
  checkHandles(handles);
  // One for each: a runtime warns of many listeners on one signal.
  const stops = handles.map(() => new AbortController());
  const abort = (reason?: unknown) => stops.forEach((stop) => stop.abort(reason));
  const onAbort = () => abort(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted) onAbort();
  try {
    const results = await Promise.all(
      handles.map((handle, index) => handle.result({ timeout, signal: stops[index]?.signal })),
    );
    return results as GatheredResults<Handles>;
  } finally {
    signal?.removeEventListener("abort", onAbort);
    abort();
  }
}

function checkHandles(handles: readonly unknown[]): void {
  if (!Array.isArray(handles)) {
    throw new TypeError(
      `Cannot gather: the handles must be an array, current value is ${kindOf(handles)}`,
    );
  }
  const wrong = handles.findIndex((each) => typeof each?.result !== "function");
  if (wrong < 0) return;
  throw new TypeError(
    `Cannot gather: handles[${wrong}] must be what enqueue or handle gave, current value is ${
      kindOf(handles[wrong])
    }`,
  );
}
