import { DatabaseSync } from "node:sqlite";
import { assertEquals } from "../support/assert.ts";
import { echo } from "../fixtures/tasks.ts";
import { fixture, queueEmptied, recordLogs } from "../support/pools.ts";
import { openStores } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";
import { Pool } from "@agentexec/core";

const KILLS = 20;
const WAVE = 50;

Deno.test("twenty workers killed at work leave both files whole, and every task completes", async () => {
  await using _ = await recordLogs();
  await using stores = await openStores("files");
  const { brokerUrl, databaseUrl } = stores;
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl,
    databaseUrl,
    entrypoint: fixture("pool.ts"),
    numWorkers: 2,
    concurrency: 10,
    crashLimit: 1_000,
  });
  await pool.migrate();
  await pool.start();
  const ids: string[] = [];
  const killed = new Set<number>();
  for (let kill = 0; kill < KILLS; kill++) {
    const contexts = Array.from({ length: WAVE }, (_, n) => ({ text: `${kill}/${n}` }));
    const tasks = await pool.enqueueMany(echo, contexts);
    ids.push(...tasks.map(({ agentId }) => agentId));
    // In the middle of the wave: some have ended, some have not.
    await waitFor(async () => (await pool.depth()).waiting < WAVE - 5, {
      what: "the wave to begin",
    });
    const pid = await waitFor(
      () => pool.workers.find(({ pid }) => pid !== null && !killed.has(pid))?.pid,
      { what: "a worker that lives" },
    );
    killed.add(pid);
    Deno.kill(pid, "SIGKILL");
  }
  await waitFor(async () => await pool.activity.count({ status: "complete" }) === ids.length, {
    what: "every task to complete",
    timeoutMs: 60_000,
  });
  await queueEmptied(pool);
  await pool.shutdown();
  for (const url of [brokerUrl, databaseUrl]) {
    const file = new DatabaseSync(url.slice("sqlite:".length));
    const answer = file.prepare("pragma integrity_check").all().map((row) => ({ ...row }));
    file.close();
    assertEquals(answer, [{ integrity_check: "ok" }]);
  }
});
