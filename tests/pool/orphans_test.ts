import { Pool } from "@agentexec/core";
import { assertEquals } from "../support/assert.ts";
import { chat, echo } from "../fixtures/tasks.ts";
import { rawRedis } from "../broker/raw_redis.ts";
import { fixture, recordLogs } from "../support/pools.ts";
import { startPostgres, startRedis } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";

Deno.test("a task that Redis lost while the database was away runs when it is back", async () => {
  await using _ = await recordLogs();
  await using redis = await startRedis();
  await using postgres = await startPostgres();
  await using database = await postgres.freshDatabase();
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: redis.url,
    databaseUrl: database.url,
    entrypoint: fixture("pool.ts"),
    numWorkers: 1,
    sweepInterval: { milliseconds: 200 },
  });
  await pool.migrate();
  await pool.start();
  await using raw = await rawRedis(redis.url);
  const task = await pool.enqueue(echo, { text: "found again" }, { delay: { hours: 1 } });
  const { agentId } = task;
  await postgres.stop();
  // As if Redis had evicted its data: the id alone stands in the queue.
  await raw.send("DEL", `{fixture}:task:${agentId}`);
  await raw.send("ZREM", "{fixture}:delayed", agentId);
  await raw.send("RPUSH", "fixture", agentId);
  await raw.send("ZADD", "{fixture}:wake", "0", "wake");
  const told = async () => Number(await raw.send("ZSCORE", "{fixture}:orphans", agentId));
  const first = await waitFor(told, { what: "a worker to meet the id" });
  assertEquals(await raw.send("LLEN", "fixture"), 0);
  await waitFor(async () => await told() > first, {
    what: "a worker to be told again, since the first one could not ask the database",
  });
  await postgres.restart();
  assertEquals((await task.result({ timeout: { seconds: 40 } })).text, "found again");
  assertEquals(await raw.send("ZCARD", "{fixture}:orphans"), 0);
  await pool.shutdown({ timeout: { seconds: 0 } });
});

Deno.test("a task that Redis lost, and whose context no row keeps, ends in an error that says so", async () => {
  await using _ = await recordLogs();
  await using redis = await startRedis();
  await using postgres = await startPostgres();
  await using database = await postgres.freshDatabase();
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: redis.url,
    databaseUrl: database.url,
    entrypoint: fixture("pool.ts"),
    numWorkers: 1,
    storeContext: false,
  });
  await pool.migrate();
  await pool.start();
  await using raw = await rawRedis(redis.url);
  const later = { delay: { hours: 1 } };
  const lost = await pool.enqueue(echo, { text: "gone" }, later);
  const bare = await pool.enqueue(chat, undefined, later);
  for (const { agentId } of [lost, bare]) {
    await raw.send("DEL", `{fixture}:task:${agentId}`);
    await raw.send("ZREM", "{fixture}:delayed", agentId);
    await raw.send("RPUSH", "fixture", agentId);
  }
  await raw.send("ZADD", "{fixture}:wake", "0", "wake");
  assertEquals(await lost.wait({ timeout: { seconds: 30 } }), "error");
  const detail = await pool.activity.detail(lost.agentId);
  assertEquals([detail?.attempt, detail?.failure?.name], [0, "TaskLostError"]);
  assertEquals(detail?.error?.includes("storeContext: false"), true);
  // One that takes no context has lost none.
  assertEquals(await bare.result({ timeout: { seconds: 30 } }), bare.agentId);
  assertEquals(await raw.send("ZCARD", "{fixture}:orphans"), 0);
});
