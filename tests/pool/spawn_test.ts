import { StartError } from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { makePool, recordLogs } from "../support/pools.ts";

Deno.test("start rejects with the system's own words when no worker process can be started", async () => {
  await using _ = await recordLogs();
  await using made = await makePool({
    // Longer than what any system takes as an argument.
    denoArgs: [`--v8-flags=${"x".repeat(200_000)}`],
  });
  const error = await assertRejects(() => made.pool.start(), StartError);
  assertMatch(
    error.message,
    /Worker 0 ended before it was ready: it could not be started: .*Argument list too long/,
  );
  assertEquals(made.pool.workers, []);
});
