import { Pool, TaskFailedError } from "@agentexec/core";
import pg from "pg";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { holdOnce, meet, note } from "../fixtures/meeting_tasks.ts";
import { hold, tools } from "../fixtures/tasks.ts";
import { fixture, poolTest, recordLogs, startPool, type TestPool } from "../support/pools.ts";
import { waitFor } from "../support/wait.ts";

/** One worker that runs five tasks at once. */
function startMeeting(): Promise<TestPool> {
  return startPool({
    name: "meeting",
    queueName: "meeting",
    entrypoint: fixture("meeting.ts"),
    numWorkers: 1,
    concurrency: 5,
  });
}

poolTest(
  "a worker with concurrency 5 runs five tasks at once, each with its own currentTask() and db",
  async (startPool) => {
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
  },
);

poolTest(
  "a crash of the process charges each task that ran in it one crash, and they all run again",
  async (startPool) => {
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
  },
);

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

Deno.test("five tasks that wait for each other in one worker meet, and each keeps its own current task", async () => {
  await using _ = await recordLogs();
  await using started = await startMeeting();
  const { pool } = started;
  const texts = ["a", "b", "c", "d", "e"];
  // Each waits until all five are in the same process.
  const tasks = await pool.enqueueMany(meet, texts.map((text) => ({ text, count: 5 })));
  for (const [index, task] of tasks.entries()) {
    assertEquals(await task.result({ timeout: { seconds: 30 } }), {
      agentId: task.agentId,
      attempt: 1,
      taskName: "meet",
      text: texts[index]!,
    });
  }
});

Deno.test("a crash charges the tasks that ran one crash, and those that waited nothing", async () => {
  await using _ = await recordLogs();
  await using started = await startMeeting();
  const { pool } = started;
  const running = await pool.enqueueMany(holdOnce, Array.from({ length: 5 }, () => undefined));
  await waitFor(async () => {
    const rows = await pool.activity.list({ status: "running" });
    return rows.items.filter((row) => row.message === "holding").length === 5;
  }, { what: "five tasks to hold" });
  const waiting = await pool.enqueueMany(note, [{ text: "x" }, { text: "y" }, { text: "z" }]);
  const depth = await pool.depth();
  assertEquals([depth.running, depth.waiting], [5, 3]);
  const worker = await waitFor(() => pool.workers.find((each) => each.tasks.length === 5), {
    what: "the supervisor to know the five",
  });
  assertEquals([...worker.tasks].sort(), running.map((task) => task.agentId).sort());

  Deno.kill(worker.pid!, "SIGKILL");
  for (const task of running) assertEquals(await task.result({ timeout: { seconds: 30 } }), 2);
  for (const task of running) {
    const detail = await pool.activity.detail(task.agentId);
    assertEquals([detail?.attempt, detail?.crashes, detail?.failures], [2, 1, 0]);
  }
  for (const task of waiting) {
    await task.wait();
    const detail = await pool.activity.detail(task.agentId);
    assertEquals([detail?.attempt, detail?.crashes], [1, 0]);
  }
  assertEquals(pool.workers.map((each) => each.restarts), [1]);
});

Deno.test("handlers that run at once write to the program's own tables by db, each in its own transaction", async () => {
  await using _ = await recordLogs();
  await using started = await startMeeting();
  const { pool, databaseUrl } = started;
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query("create table notes (agent_id uuid primary key, text text not null)");
    const texts = Array.from({ length: 20 }, (_, i) => i === 7 ? "unwanted" : `note ${i}`);
    const tasks = await pool.enqueueMany(note, texts.map((text) => ({ text })));
    for (const [index, task] of tasks.entries()) {
      if (texts[index] === "unwanted") {
        const error = await assertRejects(() => task.result(), TaskFailedError);
        assertMatch(error.message, /not this one/);
      } else {
        assertEquals(await task.result({ timeout: { seconds: 30 } }), { status: "running" });
      }
    }
    const { rows } = await client.query(
      "select n.text, a.status from notes n join agentexec_activity a using (agent_id) order by n.text",
    );
    const expected = texts.filter((text) => text !== "unwanted").sort();
    assertEquals(rows.map((row) => row.text).sort(), expected);
    assertEquals(new Set(rows.map((row) => row.status)), new Set(["complete"]));
  } finally {
    await client.end();
  }
});
