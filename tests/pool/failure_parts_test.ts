import type { ActivityFailure } from "@agentexec/core";
import { assertEquals, assertMatch } from "../support/assert.ts";
import { die, echo, fail } from "../fixtures/tasks.ts";
import { poolTest, recordLogs } from "../support/pools.ts";

poolTest(
  "what went wrong is on record in parts, whether the handler threw, a schema refused or the process died",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool({ crashLimit: 1 });
    const { pool } = started;
    const tasks = [
      await pool.enqueue(fail, { how: "cause" }),
      await pool.enqueue(fail, { how: "nul error" }),
      await pool.enqueue(fail, { how: "string" }),
      await pool.enqueue("echo", { text: 5 }),
      await pool.enqueue(die, { how: "rejection" }),
    ];
    const failures: (ActivityFailure | null | undefined)[] = [];
    for (const task of tasks) {
      assertEquals(await task.wait({ timeout: { seconds: 60 } }), "error");
      failures.push((await pool.activity.detail(task.agentId))?.failure);
    }
    assertEquals(failures.map((each) => each?.name), [
      ...["TypeError", "Error", "Error", "ValidationError", "WorkerCrashError"],
    ]);
    assertEquals(failures[0]?.message, "outer");
    assertMatch(failures[0]?.stack ?? "", /^TypeError: outer\n\s+at /);
    assertEquals(failures[1]?.message, "before\ufffdafter \ufffd end");
    assertEquals(failures[2], {
      name: "Error",
      message: "Thrown string: just a string",
      stack: null,
    });
    assertMatch(failures[4]?.message ?? "", /nobody caught me/);
    const { items } = await pool.activity.list({ errorName: "WorkerCrashError" });
    assertEquals(items.map(({ agentId }) => agentId), [tasks[4]?.agentId]);
    const well = await pool.enqueue(echo, { text: "well" });
    await well.result();
    assertEquals((await pool.activity.detail(well.agentId))?.failure, null);
  },
);
