import type { ActivityDetail, Client } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import { pool as fixture } from "../fixtures/pool.ts";
import { echo, fail, hold } from "../fixtures/tasks.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { startPool } from "../support/pools.ts";

const FAILURES = ["string", "undefined", "cause", "bigint", "cycle", "getter", "nul", "nul error"];

/** Enqueues a task for each way in which one can end, waits for their ends, and answers with what is on record. */
async function recordsOf(client: Client): Promise<readonly unknown[]> {
  const canceled = await client.enqueue(echo, { text: "never" }, { delay: { days: 1 } });
  await canceled.cancel();
  const tasks = [
    canceled,
    await client.enqueue(echo, { text: "hello" }, { metadata: { org: "o-1" } }),
    await client.enqueue("echo", { text: 5 }),
    await client.enqueue(hold, { ms: 1 }),
  ];
  for (const how of FAILURES) tasks.push(await client.enqueue(fail, { how }));
  const records = [];
  for (const task of tasks) {
    await task.wait({ timeout: { seconds: 30 } });
    const detail = await client.activity.detail(task.agentId);
    assertTrue(detail !== null);
    records.push(comparable(detail));
  }
  return records;
}

/** Without ids and times, and without the stacks, whose paths are those of two programs. */
function comparable(detail: ActivityDetail): unknown {
  const { agentId: _id, createdAt, queuedAt, startedAt, endedAt, updatedAt, runAt, ...parts } =
    detail;
  const { error, failure, log, ...rest } = parts;
  const times = [createdAt, queuedAt, startedAt, endedAt, updatedAt, runAt];
  return {
    ...rest,
    times: times.map((time) => time !== null),
    error: withoutFrames(error),
    failure: failure === null ? null : { ...failure, stack: withoutFrames(failure.stack) },
    log: log.map(({ at: _at, ...line }) => line),
  };
}

function withoutFrames(text: string | null): readonly string[] | undefined {
  return text?.split("\n").filter((line) => !/^\s+at /.test(line));
}

Deno.test("what the kit leaves on record of a task is what a worker leaves", async () => {
  let ofKit: readonly unknown[];
  {
    await using _kit = testPool(fixture);
    ofKit = await recordsOf(fixture);
  }
  // Its name is free for the pool whose worker evaluates the same module.
  await fixture.close();
  await using real = await startPool();
  assertEquals(ofKit, await recordsOf(real.pool));
  assertEquals(ofKit.length, FAILURES.length + 4);
});
