import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { recordLogs, startPool } from "../support/pools.ts";
import { waitFor } from "../support/wait.ts";

Deno.test("a task whose name nobody knew for an hour ends once, its context kept", async () => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const { pool, redis } = started;
  const redisCli = async (...args: string[]) => {
    const { stdout } = await new Deno.Command("redis-cli", {
      args: ["-p", String(redis.port), ...args],
    }).output();
    return new TextDecoder().decode(stdout).trim();
  };
  const task = await pool.enqueue("nobody_knows", { a: 1 });
  await waitFor(async () => (await pool.depth()).delayed === 1, { what: "the task to be delayed" });
  // As if the first worker that did not know it had met it two hours ago, and its wait were over.
  const [seconds] = (await redisCli("TIME")).split("\n");
  const past = String(Number(seconds) * 1_000 - 7_200_000);
  await redisCli("HSET", `{fixture}:task:${task.agentId}`, "unknownSince", past);
  await redisCli("ZADD", "{fixture}:delayed", past, task.agentId);
  assertEquals(await task.wait({ timeout: { seconds: 30 } }), "error");
  await waitFor(async () => await redisCli("EXISTS", `{fixture}:task:${task.agentId}`) === "0", {
    what: "the broker to forget it",
  });
  const detail = await pool.activity.detail(task.agentId);
  assertMatch(detail?.error ?? "", /No worker here knows the task 'nobody_knows'/);
  assertEquals(detail?.context, { a: 1 });
  const counter = await redisCli("INFO", "commandstats");
  const calls = Number(/cmdstat_evalsha:calls=(\d+)/.exec(counter)?.[1]);
  assertTrue(calls < 500, `the loop claimed it over and over: ${calls} scripts were run`);
});
