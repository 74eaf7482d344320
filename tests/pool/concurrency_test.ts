import { Pool } from "@agentexec/core";
import { assertEquals } from "../support/assert.ts";
import { hold, tools } from "../fixtures/tasks.ts";
import { fixture, recordLogs, startPool } from "../support/pools.ts";
import { waitFor } from "../support/wait.ts";

Deno.test("a worker with concurrency 5 runs five tasks at once, each with its own currentTask() and db", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({ concurrency: 5 });
  const { pool } = started;
  const held = await pool.enqueueMany(hold, Array.from({ length: 5 }, () => ({ ms: 60_000 })));
  await waitFor(async () => await pool.activity.count({ status: "running" }) === 5, {
    what: "five running tasks",
  });
  const busy = await waitFor(
    () => pool.workers[0]!.tasks.length === 5 ? pool.workers[0] : undefined,
    {
      what: "five tasks of Worker 0",
    },
  );
  assertEquals([...busy.tasks].sort(), held.map((task) => task.agentId).sort());
  for (const task of held) await task.cancel();
  for (const task of held) assertEquals(await task.wait(), "canceled");
  const many = await pool.enqueueMany(
    tools,
    Array.from({ length: 20 }, (_, i) => ({ key: `${i}` })),
  );
  for (const task of many) assertEquals(await task.result(), { agentId: task.agentId, rows: 1 });
});

Deno.test("a crash of the process charges each task that ran in it one crash, and they all run again", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({ concurrency: 3 });
  const { pool } = started;
  const tasks = await pool.enqueueMany(hold, Array.from({ length: 3 }, () => ({ ms: 1_500 })));
  await waitFor(async () => await pool.activity.count({ status: "running" }) === 3, {
    what: "three running tasks",
  });
  Deno.kill(pool.workers[0]!.pid!, "SIGKILL");
  for (const task of tasks) {
    assertEquals(await task.result(), "held");
    const detail = await pool.activity.detail(task.agentId);
    assertEquals([detail?.attempt, detail?.crashes], [2, 1]);
  }
});

Deno.test("two pools run side by side in one program, each with its queue, and one may start again", async () => {
  await using _ = await recordLogs();
  await using first = await startPool({ concurrency: 2 });
  await first.pool.shutdown();
  await first.pool.start();
  await using second = new Pool({
    name: "second",
    queueName: "second",
    brokerUrl: first.redis.url,
    databaseUrl: first.databaseUrl,
    entrypoint: fixture("second.ts"),
    numWorkers: 1,
  });
  await second.start();
  const one = await first.pool.enqueue(tools, { key: "one" });
  const two = await second.enqueue("second_task");
  assertEquals((await one.result()).agentId, one.agentId);
  assertEquals(await two.result(), "from the second pool");
});
