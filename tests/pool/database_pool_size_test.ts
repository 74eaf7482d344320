import { Pool, TaskFailedError } from "@agentexec/core";
import { nested } from "../fixtures/nested_tasks.ts";
import { assertEquals, assertRejects, assertThrows, assertTrue } from "../support/assert.ts";
import { fixture, poolTest, recordLogs } from "../support/pools.ts";

const entrypoint = fixture("nested.ts");
const timeout = { seconds: 60 };

poolTest(
  "handlers get two connections per run, and one more than there are fails its task by name",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool({ entrypoint });
    const { pool } = started;
    assertEquals(await (await pool.enqueue(nested, { depth: 2 })).result({ timeout }), "done");
    const task = await pool.enqueue(nested, { depth: 3 });
    const error = await assertRejects(() => task.result({ timeout }), TaskFailedError);
    assertTrue(
      /ConnectionError: .* all 2 connections .*'databasePoolSize'/.test(error.message),
      error.message,
    );
    // The worker goes on.
    assertEquals(await (await pool.enqueue(nested, { depth: 2 })).result({ timeout }), "done");
  },
);

poolTest(
  "the option databasePoolSize says how many connections the handlers of a worker share",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool({ entrypoint, databasePoolSize: 5 });
    assertEquals(
      await (await started.pool.enqueue(nested, { depth: 5 })).result({ timeout }),
      "done",
    );
  },
);

Deno.test("a databasePoolSize that is no number of connections is refused", () => {
  for (const databasePoolSize of [0, -1, 1.5, NaN, "2" as unknown as number]) {
    const error = assertThrows(
      () => new Pool({ name: `size ${databasePoolSize}`.replaceAll(" ", "_"), databasePoolSize }),
      RangeError,
    );
    assertTrue(error.message.includes("'databasePoolSize'"), error.message);
  }
});
