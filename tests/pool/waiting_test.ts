import { ResultTimeoutError } from "@agentexec/core";
import { nest } from "../fixtures/tasks.ts";
import { assertMatch, assertRejects } from "../support/assert.ts";
import { poolTest, recordLogs } from "../support/pools.ts";
import { waitFor } from "../support/wait.ts";

poolTest(
  "a wait for a task whose name has a typo says which names there are, the closest first",
  async (startPool) => {
    await using log = await recordLogs();
    await using started = await startPool();
    const { pool } = started;
    const task = await pool.enqueue("Ecko", { text: "x" });
    await waitFor(
      async () => /knows/.test((await pool.activity.detail(task.agentId))?.message ?? ""),
      { what: "the worker to give it back" },
    );
    const error = await assertRejects(
      () => task.result({ timeout: { milliseconds: 20 } }),
      ResultTimeoutError,
    );
    const words = /No worker here knows the task 'Ecko': this pool's tasks are echo, /;
    assertMatch(error.message, words);
    assertMatch(error.message, /\(still queued, it waits for another try: No worker/);
    assertMatch(log.messages().find((line) => line.includes("'Ecko'")) ?? "", words);
  },
);

poolTest(
  "a handler that waits for a task of its own full queue is told that it holds the slot",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool({ numWorkers: 1 });
    const { pool } = started;
    const outer = await pool.enqueue(nest, { ms: 200 });
    assertMatch(
      String(await outer.result({ timeout: { seconds: 30 } })),
      /no worker of 'fixture' has taken it in 0\.2 s: is it declared there, is a slot free besides the one that this handler holds while it waits\?\)$/,
    );
  },
);
