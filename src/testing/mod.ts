/**
 * A test kit: the tasks of a pool run in the test's own process, without servers and worker processes, with the
 * same checks, order and activity as in production.
 *
 * @example A test, run by `deno test` without any permission
 * ```ts
 * import assert from "node:assert/strict";
 * import { defineTask, Pool } from "@agentexec/core";
 * import { testPool } from "@agentexec/core/testing";
 * import { z } from "zod";
 *
 * const person = z.object({ name: z.string() });
 * const welcome = defineTask("welcome", { context: person });
 * const remind = defineTask("remind", { context: person, result: z.string() });
 *
 * const pool = new Pool();
 * pool.task(welcome, async ({ context, activity }) => {
 *   await activity.update(`Welcoming ${context.name}`);
 *   await pool.enqueue(remind, context, { delay: { days: 3 } });
 * });
 * pool.task(remind, ({ context }) => `${context.name} was reminded`);
 *
 * Deno.test("who was welcomed is reminded three days later", async () => {
 *   await using kit = testPool(pool, { clock: new Date("2030-01-01T09:00:00Z") });
 *   await pool.enqueue(welcome, { name: "Ada" });
 *   await kit.run();
 *
 *   const [reminder] = await kit.enqueued(remind);
 *   assert.equal(reminder?.context.name, "Ada");
 *   assert.deepEqual(reminder?.runAt, new Date("2030-01-04T09:00:00Z"));
 *
 *   kit.advance({ days: 3 });
 *   const [run] = await kit.run();
 *   assert.equal(run?.result, "Ada was reminded");
 * });
 * ```
 *
 * @module
 */
export { testPool } from "./kit.ts";
export {
  type EnqueuedTask,
  type TestPool,
  type TestPoolOptions,
  type TestPoolRunOptions,
  type TestRun,
} from "./test_pool.ts";
