import { currentTask, defineTask, Pool } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import { z } from "zod";
import { AgentexecError } from "../../src/errors.ts";
import { assertEquals, assertRejects } from "../support/assert.ts";

const CLOCK = new Date("2030-01-01T09:00:00Z");

const note = defineTask("note", { context: z.object({ text: z.string() }), result: z.string() });
const chain = defineTask("chain", { context: z.object({ left: z.number() }) });

/** A pool of its own for each test: a pool's name is given once. */
function makePool(): Pool {
  const pool = new Pool({ name: crypto.randomUUID(), queueName: "kit" });
  pool.task(note, ({ context }) => context.text.toUpperCase());
  pool.task(chain, async ({ context: { left } }) => {
    if (left > 0) await pool.enqueue(chain, { left: left - 1 });
    return left;
  });
  return pool;
}

Deno.test("run() runs what is due and what that enqueues, in the order of the queue", async () => {
  await using pool = makePool();
  await using kit = testPool(pool, { clock: CLOCK });
  const task = await pool.enqueue(chain, { left: 2 });
  await pool.enqueue(note, { text: "between" });
  const runs = await kit.run();
  assertEquals(runs.map(({ taskName, status, result }) => [taskName, status, result]), [
    ["chain", "complete", 2],
    ["note", "complete", "BETWEEN"],
    ["chain", "complete", 1],
    ["chain", "complete", 0],
  ]);
  assertEquals(await task.result(), 2);
  assertEquals(await kit.run(), []);
});
