import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { echo } from "../fixtures/tasks.ts";
import { rawRedis } from "../broker/raw_redis.ts";
import { recordLogs, startPool } from "../support/pools.ts";
import { waitFor } from "../support/wait.ts";

Deno.test("a supervisor says that another program writes into its queue, and not every second", async () => {
  await using log = await recordLogs();
  await using started = await startPool();
  const { pool, redis } = started;
  await using raw = await rawRedis(redis.url);
  const warnings = () => log.messages().filter((line) => line.includes("were no tasks"));
  const stray = async (n: number) => {
    await raw.send("LPUSH", "fixture", `{"task":"python","n":${n}}`);
    // What comes behind it is claimed after it.
    assertEquals((await (await pool.enqueue(echo, { text: "x" })).result()).text, "x");
  };
  await stray(1);
  await waitFor(() => warnings().length === 1, { what: "the warning" });
  assertMatch(
    warnings()[0] ?? "",
    /^1 entries of the queue 'fixture' .*AGENTEXEC_QUEUE_NAME.*'queueName'.*'\{fixture\}:foreign'/,
  );
  await stray(2);
  await waitFor(() => warnings().length === 2, { what: "the warning that there are more" });
  await stray(3);
  const renewals = async () => Number(await raw.send("HGET", "{fixture}:broker", "served"));
  for (let second = 0; second < 3; second++) {
    const before = await renewals();
    await waitFor(async () => await renewals() > before, { what: "a renewal" });
  }
  assertEquals(warnings().length, 2);
  const { diagnostics } = await pool.depth();
  assertTrue(diagnostics.foreign === 3 && diagnostics.foreignDropped === 0);
});
