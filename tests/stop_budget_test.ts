import {
  BROKER_CLOSE_MS,
  DATABASE_CLOSE_MS,
  FORCED_STOP,
  FORCED_STOP_MS,
  GUARDIAN_PATIENCE_MS,
  HEAR_DEATH_MS,
  LOG_CLOSE_MS,
  ORPHAN_MS,
  POSTGRES_CANCEL_MS,
  POSTGRES_CUT_MS,
  POSTGRES_END_MS,
  WORKER_CLOSE_MS,
  WRITER_CLOSE_MS,
} from "../src/stop_budget.ts";
import { Pool } from "@agentexec/core";
import { DatabaseSync } from "node:sqlite";
import { hold } from "./fixtures/tasks.ts";
import { assertEquals, assertTrue } from "./support/assert.ts";
import { fixture, recordLogs, startPool } from "./support/pools.ts";
import { startPostgres, startRedis } from "./support/servers.ts";
import { waitFor } from "./support/wait.ts";

Deno.test("the waits of a forced stop add up to less than the 2 s that are promised", () => {
  const sum = FORCED_STOP.reduce((before, step) => before + Math.max(...step), 0);
  // The rest is for what waits for nobody: the kills, and the end of the process.
  assertTrue(sum <= 0.9 * FORCED_STOP_MS, `${sum} ms`);
});

Deno.test("each wait of an end is over before the one around it", () => {
  assertTrue(POSTGRES_END_MS + POSTGRES_CANCEL_MS + POSTGRES_CUT_MS < DATABASE_CLOSE_MS);
  for (const ms of [WRITER_CLOSE_MS + DATABASE_CLOSE_MS, LOG_CLOSE_MS, BROKER_CLOSE_MS]) {
    assertTrue(ms < WORKER_CLOSE_MS);
  }
  for (const ms of [ORPHAN_MS, HEAR_DEATH_MS]) assertTrue(ms < GUARDIAN_PATIENCE_MS);
});

/** Forces the stop of a pool at work while its stores keep silent. A busy machine may take twice as long. */
async function forcedStop(pool: Pool, silence: () => void): Promise<void> {
  const task = await pool.enqueue(hold, { ms: 60_000 });
  await waitFor(async () => (await pool.activity.detail(task.agentId))?.message === "holding", {
    what: "the task to run",
  });
  silence();
  const since = performance.now();
  const { drained } = await pool.shutdown({ timeout: { seconds: 0 } });
  const tookMs = performance.now() - since;
  assertEquals(drained, false);
  assertTrue(tookMs < 2 * FORCED_STOP_MS, `it took ${tookMs} ms`);
}

for (const silent of ["Redis", "Postgres", "Redis and Postgres"]) {
  Deno.test(`a forced stop ends within 2 s while ${silent} keeps silent`, async () => {
    await using _ = await recordLogs();
    await using redis = await startRedis();
    await using postgres = await startPostgres();
    const { url: databaseUrl } = await postgres.freshDatabase();
    await using pool = new Pool({
      name: "fixture",
      queueName: "fixture",
      brokerUrl: redis.url,
      databaseUrl,
      entrypoint: fixture("pool.ts"),
      numWorkers: 2,
    });
    await pool.migrate();
    await pool.start();
    await forcedStop(pool, () => {
      if (silent.includes("Redis")) redis.pause();
      if (silent.includes("Postgres")) postgres.pause();
    });
    redis.resume();
    postgres.resume();
  });
}

Deno.test("a forced stop ends within 2 s while another program keeps both files locked", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({ numWorkers: 2 }, "files");
  const locks = [started.brokerUrl, started.databaseUrl].map((url) =>
    new DatabaseSync(url.slice("sqlite:".length))
  );
  await forcedStop(started.pool, () => locks.forEach((file) => file.exec("begin immediate")));
  for (const file of locks) file.close();
});
