/**
 * The test kit: a pool's tasks in the test's own process, without servers and worker processes, with the same
 * checks, order and activity as in production.
 *
 * @example A test, run by `deno test`
 * ```ts
 * import { Pool } from "@agentexec/core";
 * import { testPool } from "@agentexec/core/testing";
 * import { z } from "zod";
 *
 * const pool = new Pool({ name: "module-docs" });
 * const remind = pool.task(
 *   "remind",
 *   { context: z.object({ whom: z.string() }), result: z.string() },
 *   ({ context }) => `Reminded ${context.whom}`,
 * );
 *
 * Deno.test("a reminder runs when it is due", async () => {
 *   await using kit = testPool(pool, { clock: new Date("2030-01-01T09:00:00Z") });
 *   const task = await pool.enqueue(remind, { whom: "Ada" }, { delay: { hours: 1 } });
 *   console.assert((await kit.run()).length === 0);
 *   kit.advance({ hours: 1 });
 *   console.assert((await kit.run()).length === 1);
 *   console.assert(await task.result() === "Reminded Ada");
 * });
 * ```
 *
 * @module
 */
export { testPool } from "./src/testing/kit.ts";
export {
  type EnqueuedTask,
  type TestPool,
  type TestPoolOptions,
  type TestPoolRunOptions,
  type TestRun,
} from "./src/testing/test_pool.ts";
