import { TaskFailedError } from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { die, echo, hold, offspring } from "../fixtures/tasks.ts";
import { poolTest, queueEmptied, recordLogs, startPool, type TestPool } from "../support/pools.ts";
import { alive } from "../support/process_table.ts";
import { waitFor } from "../support/wait.ts";

async function running({ pool }: TestPool, agentId: string): Promise<void> {
  await waitFor(async () => (await pool.activity.detail(agentId))?.message === "holding", {
    what: `task ${agentId} to run`,
  });
}

poolTest(
  "a task whose worker is killed runs again in the worker's replacement, charged one crash",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool();
    const { pool } = started;
    const task = await pool.enqueue(hold, { ms: 1_500 });
    await running(started, task.agentId);
    Deno.kill(pool.workers[0]!.pid!, "SIGKILL");
    assertEquals(await task.result(), "held");
    const detail = await pool.activity.detail(task.agentId);
    assertEquals([detail?.attempt, detail?.crashes, detail?.failures], [2, 1, 0]);
    assertEquals(pool.workers[0]!.restarts, 1);
    assertTrue(
      detail?.log.some((line) =>
        /died while the task ran in it: .*SIGKILL/.test(line.message ?? "")
      ),
    );
  },
);

poolTest(
  "a canceled task whose worker is killed ends canceled and does not run again",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool();
    const { pool } = started;
    const task = await pool.enqueue(hold, { ms: 60_000 });
    await running(started, task.agentId);
    const { pid } = pool.workers[0]!;
    // It can neither be told of the cancel nor end by it.
    Deno.kill(pid!, "SIGSTOP");
    assertEquals(await task.cancel(), "requested");
    Deno.kill(pid!, "SIGKILL");
    assertEquals(await task.wait({ timeout: { seconds: 30 } }), "canceled");
    await queueEmptied(pool);
    const detail = await pool.activity.detail(task.agentId);
    assertEquals([detail?.attempt, detail?.crashes], [1, 0]);
    assertEquals(pool.workers[0]!.restarts, 1);
  },
);

const deaths: [string, RegExp][] = [
  ["exit", /exit code 0/],
  ["rejection", /nobody caught me/],
  ["timer", /thrown in a timer/],
];
for (const [how, cause] of deaths) {
  poolTest(
    `a task that ends its process (${how}) does so three times, then ends with what killed it`,
    async (startPool) => {
      await using log = await recordLogs();
      await using started = await startPool({ numWorkers: 2 });
      const { pool } = started;
      const pill = await pool.enqueue(die, { how });
      const innocents = await pool.enqueueMany(
        echo,
        Array.from({ length: 50 }, (_, i) => ({ text: `${i}` })),
      );
      const error = await assertRejects(() => pill.result(), TaskFailedError);
      assertEquals(error.attempts, 3);
      const detail = await pool.activity.detail(pill.agentId);
      assertEquals([detail?.status, detail?.crashes], ["error", 3]);
      assertMatch(detail?.error ?? "", cause);
      const ends = log.messages().filter((line) => /^Worker \d \(pid \d+\) ended: /.test(line));
      assertEquals(ends.filter((line) => cause.test(line)).length, 3, ends.join("\n"));
      for (const [index, innocent] of innocents.entries()) {
        assertEquals((await innocent.result()).text, `${index}`);
      }
    },
  );
}

poolTest("what a handler started is gone with its worker", async (startPool) => {
  await using _ = await recordLogs();
  await using started = await startPool({ permissions: { run: ["sleep"] } });
  const { pool } = started;
  const task = await pool.enqueue(offspring);
  const message = await waitFor(async () => {
    const said = (await pool.activity.detail(task.agentId))?.message ?? "";
    return /^\d+$/.test(said) ? said : undefined;
  }, { what: "the child's pid" });
  const child = Number(message);
  assertTrue(alive(child));
  Deno.kill(pool.workers[0]!.pid!, "SIGKILL");
  await waitFor(() => !alive(child), { what: `process ${child} to be gone` });
});

poolTest(
  "a task with a context that no longer passes its schema ends in an error that says so",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool();
    const task = await started.pool.enqueue("echo", { text: 7 });
    const error = await assertRejects(() => task.result(), TaskFailedError);
    assertMatch(error.message, /echo/);
  },
);

poolTest(
  "a task whose name no worker knows goes back to the queue with a delay, charged nothing",
  async (startPool) => {
    await using log = await recordLogs();
    await using started = await startPool();
    const { pool } = started;
    const task = await pool.enqueue("nobody_knows", { a: 1 });
    await waitFor(async () => (await pool.depth()).delayed === 1, {
      what: "the task to be delayed",
    });
    await waitFor(
      () => log.messages().some((line) => line.includes("knows the task 'nobody_knows'")),
      {
        what: "the warning",
      },
    );
    const detail = await pool.activity.detail(task.agentId);
    assertEquals([detail?.status, detail?.crashes, detail?.failures], ["queued", 0, 0]);
  },
);

Deno.test("a pool goes on after its Redis lost everything, idle or at work", async () => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const { pool, redis } = started;
  const flush = () =>
    new Deno.Command("redis-cli", { args: ["-p", String(redis.port), "FLUSHALL"], stdout: "null" })
      .output();
  await flush();
  const first = await pool.enqueue(echo, { text: "after an idle flush" });
  assertEquals((await first.result()).text, "after an idle flush");
  const busy = await pool.enqueue(hold, { ms: 2_500 });
  await running(started, busy.agentId);
  await flush();
  assertEquals(await busy.result(), "held");
  assertEquals((await pool.activity.detail(busy.agentId))?.attempt, 1);
  const last = await pool.enqueue(echo, { text: "after a busy flush" });
  assertEquals((await last.result()).text, "after a busy flush");
});

Deno.test("a pool goes on after its Redis was killed and came back", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({ numWorkers: 2 });
  const { pool, redis } = started;
  const busy = await pool.enqueue(hold, { ms: 1_500 });
  await running(started, busy.agentId);
  const waiting = await pool.enqueueMany(
    echo,
    Array.from({ length: 100 }, (_, i) => ({ text: `${i}` })),
  );
  await redis.kill();
  await redis.restart();
  assertEquals(await busy.result(), "held");
  for (const [index, task] of waiting.entries()) {
    assertEquals((await task.result()).text, `${index}`);
  }
  assertEquals(pool.workers.map((worker) => worker.restarts), [0, 0]);
});

poolTest(
  "a stop that waits for nothing puts what it cut off back to the head of the queue, charged nothing",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool();
    const { pool } = started;
    const task = await pool.enqueue(hold, { ms: 60_000 });
    const next = await pool.enqueue(echo, { text: "next" });
    await running(started, task.agentId);
    const report = await pool.shutdown({ timeout: { seconds: 0 } });
    assertEquals(report, { drained: false, cutOff: [task.agentId] });
    const { waiting, running: left } = await pool.depth();
    assertEquals([waiting, left], [2, 0]);
    const detail = await pool.activity.detail(task.agentId);
    assertEquals([detail?.status, detail?.crashes, detail?.failures], ["queued", 0, 0]);
    await pool.start();
    await running(started, task.agentId);
    assertEquals(await pool.cancel(task.agentId), "requested");
    assertEquals((await next.result()).text, "next");
  },
);

poolTest("a stop told to cancel cancels what it cuts off, in row and queue", async (startPool) => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const { pool } = started;
  const task = await pool.enqueue(hold, { ms: 60_000 });
  await running(started, task.agentId);
  await pool.shutdown({ timeout: { seconds: 0 }, interrupted: "cancel" });
  assertEquals(await task.status(), "canceled");
  assertEquals(await pool.depth(), {
    waiting: 0,
    delayed: 0,
    running: 0,
    oldestMs: null,
    diagnostics: { foreign: 0, foreignDropped: 0 },
  });
});

poolTest("a graceful shutdown waits for what runs and takes nothing new", async (startPool) => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const { pool } = started;
  const task = await pool.enqueue(hold, { ms: 3_000 });
  const next = await pool.enqueue(echo, { text: "next" });
  await running(started, task.agentId);
  assertEquals(await pool.shutdown(), { drained: true, cutOff: [] });
  assertEquals(await task.status(), "complete");
  assertEquals(await next.status(), "queued");
  assertEquals((await pool.depth()).waiting, 1);
});
