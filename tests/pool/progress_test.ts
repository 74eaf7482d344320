import { storesOf } from "../../src/client/client.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { report } from "../fixtures/tasks.ts";
import { recordLogs, startPool } from "../support/pools.ts";
import { waitFor } from "../support/wait.ts";

/** The deadline of a single call to Redis: what one update that waits for it costs. */
const ONE_CALL_MS = 5_000;

for (const how of ["stopped", "hanging"] as const) {
  Deno.test(`a handler's updates wait for no Redis that is ${how}, and the row has the last one`, async () => {
    await using log = await recordLogs();
    await using started = await startPool();
    const { pool, redis } = started;
    const task = await pool.enqueue(report, { updates: 50, after: "go" });
    await waitFor(async () => await task.status() === "running", { what: "the task to run" });
    if (how === "stopped") await redis.stop();
    else redis.pause();
    try {
      await pool.activity.create({ taskName: "go" });
      await waitFor(async () => await task.status() === "complete", { what: "the row to end" });
    } finally {
      if (how === "stopped") await redis.restart();
      else redis.resume();
    }
    const { ms } = await task.result();
    assertTrue(ms < ONE_CALL_MS, `50 updates took ${ms} ms`);
    const detail = await pool.activity.detail(task.agentId);
    assertTrue(detail?.log.some((line) => line.message === "step 50") ?? false, "the last update");
    const said = log.messages().filter((line) => line.includes("progress"));
    assertEquals(said, []);
  });
}

Deno.test("with Redis there, who watches sees each update of a handler that does not pause between them", async () => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const { pool } = started;
  const task = await pool.enqueue(report, { updates: 30, after: "go" });
  await waitFor(async () => await task.status() === "running", { what: "the task to run" });
  const seen: string[] = [];
  const queue = await storesOf(pool).queue("fixture");
  const unsubscribe = await queue.subscribe({ kind: "progress", id: task.agentId }, {
    onMessage: (message) => seen.push(JSON.parse(message).message),
  });
  await pool.activity.create({ taskName: "go" });
  await task.result();
  await waitFor(() => seen.includes("step 30"), { what: "the last update" });
  const steps = seen.filter((message) => message.startsWith("step"));
  assertEquals(steps, Array.from({ length: 30 }, (_, i) => `step ${i + 1}`));
  await unsubscribe();
});
