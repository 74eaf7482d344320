import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { TaskFailedError, ValidationError } from "@agentexec/core";
import { chat, echo, fail, hold } from "../fixtures/tasks.ts";
import { queueEmptied, recordLogs, startPool } from "../support/pools.ts";
import { onBothGrounds } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";

Deno.test("a task that is enqueued runs in a worker process and its result comes back", async () => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const { pool } = started;
  const task = await pool.enqueue(echo, { text: "hello" }, { metadata: { org: "o-1" } });
  assertEquals(await task.result(), { text: "hello", attempt: 1 });
  const detail = await pool.activity.detail(task.agentId);
  assertEquals(detail?.status, "complete");
  assertEquals(detail?.metadata, { org: "o-1" });
  assertEquals(detail?.log.map((line) => line.status), ["queued", "running", "complete"]);
  await queueEmptied(pool);
});

Deno.test("what a worker logs, prints and writes reaches the supervisor's log with the task attached", async () => {
  await using log = await recordLogs();
  await using started = await startPool();
  const task = await started.pool.enqueue(chat);
  assertEquals(await task.result(), task.agentId);
  const expected = [
    "Processing task: chat",
    "from console.log { a: 1 }",
    "from console.error",
    "from the log",
    "raw to stdout",
    "raw to stderr",
    "Task completed: chat",
  ];
  for (const line of expected) {
    await waitFor(() => log.messages().includes(line), { what: `the line ${line}` });
  }
  const record = log.records.find((each) => each.message.join("") === "from the log");
  assertEquals(record?.properties.agentId, task.agentId);
  assertEquals(record?.properties.taskName, "chat");
  assertEquals(record?.properties.worker, 0);
  assertEquals(record?.properties.step, 3);
});

Deno.test("a handler that throws ends its task with the error and its cause on record, and the worker goes on", async () => {
  await using log = await recordLogs();
  await using started = await startPool();
  const { pool } = started;
  const cases: [string, RegExp][] = [
    ["plain", /Error: plain/],
    ["string", /just a string/],
    ["undefined", /undefined/],
    ["cause", /TypeError: outer[\s\S]*RangeError: inner/],
    ["bigint", /BigInt/],
    ["response", /result is a Response, .* return await response\.json\(\)/],
    ["headers", /result\.headers is a Headers, .* use Object\.fromEntries\(headers\)/],
    ["iterator", /result is an AsyncGenerator, .* return what it yields as an array/],
    ["cycle", /cycl|circular/i],
    ["getter", /from the getter/],
    ["nul", /NUL|cannot be stored/i],
    ["nul error", /before.*after/],
  ];
  for (const [how, pattern] of cases) {
    const task = await pool.enqueue(fail, { how });
    const error = await assertRejects(() => task.result(), TaskFailedError);
    assertEquals(error.attempts, 1);
    const detail = await pool.activity.detail(task.agentId);
    assertEquals(detail?.status, "error");
    assertMatch(detail?.error ?? "", pattern);
  }
  assertEquals(pool.workers.map((worker) => worker.restarts), [0]);
  await waitFor(
    () => log.messages().some((line) => line.startsWith("Task failed: TypeError: outer")),
    {
      what: "the line of the failed task",
    },
  );
});

Deno.test("a context that its schema refuses is refused at enqueue, with the field's name", async () => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const error = await assertRejects(
    () => started.pool.enqueue(echo, { text: 5 } as unknown as { text: string }),
    ValidationError,
  );
  assertMatch(error.message, /echo.*text/s);
});

Deno.test("pool.workers shows what each worker does", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({ numWorkers: 2 });
  const { pool } = started;
  assertEquals(pool.workers.map(({ id, state }) => ({ id, state })), [
    { id: 0, state: "ready" },
    { id: 1, state: "ready" },
  ]);
  const task = await pool.enqueue(hold, { ms: 60_000 });
  const busy = await waitFor(() => pool.workers.find((worker) => worker.state === "busy"), {
    what: "a busy worker",
  });
  assertEquals(busy.tasks, [task.agentId]);
  // The broker knows of it a moment before its row does.
  await waitFor(async () => await task.status() === "running", { what: "the task to run" });
  assertEquals(await pool.cancel(task.agentId), "requested");
  assertEquals(await task.wait(), "canceled");
});

onBothGrounds("pool.workers shows each of many short tasks while it runs", async (ground) => {
  await using _ = await recordLogs();
  await using started = await startPool({}, ground);
  const { pool } = started;
  let seen = 0;
  for (let n = 0; n < 12; n++) {
    const task = await pool.enqueue(hold, { ms: 200 });
    let ended = false;
    const result = task.result().finally(() => ended = true);
    const shown = await waitFor(
      () => pool.workers[0]?.tasks.includes(task.agentId) ? "shown" : ended && "ended",
      { what: "the busy worker, or the task's end" },
    );
    if (shown === "shown") seen++;
    await result;
  }
  // With the supervisor's bookkeeping of once a second alone it is one in five.
  assertTrue(seen >= 8, `seen ${seen} of 12`);
  await waitFor(() => pool.workers.every(({ state }) => state === "ready"), {
    what: "an idle pool",
  });
});
