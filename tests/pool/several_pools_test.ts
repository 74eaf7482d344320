import { Client } from "@agentexec/core";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { hold } from "../fixtures/tasks.ts";
import { leftHold, leftPeek, rightHold, rightPeek } from "../fixtures/two_pools_tasks.ts";
import { alive, childrenOf, type Program, runProgram } from "../support/processes.ts";
import { sharedPostgres, startRedis } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";

/** Stores, a producer, and the environment of the programs that share them. */
async function setUp(queueName: string) {
  const redis = await startRedis();
  const database = await sharedPostgres().freshDatabase();
  const urls = { brokerUrl: redis.url, databaseUrl: database.url };
  const client = new Client({ ...urls, queueName });
  await client.migrate();
  return {
    client,
    env: { REDIS_URL: redis.url, DATABASE_URL: database.url, NO_COLOR: "1" },
    async [Symbol.asyncDispose]() {
      await client.close();
      await redis[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function running(client: Client, ...agentIds: readonly string[]): Promise<void> {
  for (const agentId of agentIds) {
    await waitFor(async () => (await client.activity.detail(agentId))?.status === "running", {
      what: `task ${agentId} to run`,
      timeoutMs: 20_000,
    });
  }
}

/** How many lines of a program's standard output match. */
function count(program: Program, pattern: RegExp): number {
  return program.stdout.filter((line) => pattern.test(line)).length;
}

Deno.test("two pools in one program keep queues, workers, scopes and log lines apart, and one SIGTERM ends both", async () => {
  await using set = await setUp("left");
  const { client } = set;
  await using program = await runProgram("two_pools.ts", {
    env: { ...set.env, LEFT_KEY: "for the left", RIGHT_KEY: "for the right" },
  });
  await program.waitForLine(/^\[left\] Worker 1 is ready$/);
  await program.waitForLine(/^\[right\] Worker 0 is ready$/);

  const ofLeft = await (await client.enqueue(leftPeek)).result();
  const ofRight = await (await client.enqueue(rightPeek)).result();
  assertEquals([ofLeft.left, ofLeft.right], ["for the left", null]);
  assertEquals([ofRight.left, ofRight.right], [null, "for the right"]);
  assertTrue(ofLeft.pid !== ofRight.pid, "each pool has workers of its own");
  await program.waitForLine(/^\[left Worker [01]\] Task completed: left_peek$/);
  await program.waitForLine(/^\[right Worker 0\] Task completed: right_peek$/);

  const pids = childrenOf(program.pid);
  const tasks = [
    await client.enqueue(leftHold, { ms: 1_500 }),
    await client.enqueue(rightHold, { ms: 1_500 }),
  ];
  await running(client, ...tasks.map((task) => task.agentId));
  program.signal("SIGTERM");
  assertEquals(await program.exit, { code: 0, signal: null }, program.output);
  for (const task of tasks) assertEquals(await task.status(), "complete");
  await waitFor(() => !pids.some(alive), { what: `processes ${pids} to be gone` });
  assertEquals(count(program, /^both have ended$/), 1);
  // The last lines of both pools were written before the end.
  assertEquals(count(program, /^\[left Worker [01]\] Task completed: left_hold$/), 1);
  assertEquals(count(program, /^\[right Worker 0\] Task completed: right_hold$/), 1);
  for (const line of program.stdout.slice(0, -1)) {
    assertMatch(line, /^\[(left|right)( Worker \d)?\] /);
  }
});

Deno.test("two programs on one queue share its work, and each prints what its own workers did", async () => {
  await using set = await setUp("fixture");
  const { client } = set;
  const env = { ...set.env, AGENTEXEC_NUM_WORKERS: "1" };
  await using one = await runProgram("pool.ts", { env });
  await using other = await runProgram("pool.ts", { env });
  const programs = [one, other];
  for (const program of programs) await program.waitForLine(/Worker 0 is ready/);

  // With one worker each, two tasks run at once only where both programs have one.
  const long = [
    await client.enqueue(hold, { ms: 60_000 }),
    await client.enqueue(hold, { ms: 60_000 }),
  ];
  await running(client, ...long.map((task) => task.agentId));
  for (const program of programs) await program.waitForLine(/Processing task: hold/);
  for (const task of long) assertEquals(await client.cancel(task.agentId), "requested");
  for (const task of long) assertEquals(await task.wait(), "canceled");

  const tasks = await client.enqueueMany(hold, Array.from({ length: 20 }, () => ({ ms: 100 })));
  for (const task of tasks) assertEquals(await task.result(), "held");
  for (const program of programs) program.signal("SIGTERM");
  for (const program of programs) {
    assertEquals(await program.exit, { code: 0, signal: null }, program.output);
  }
  const shares = programs.map((program) => count(program, /^\[Worker 0\] Task completed: hold$/));
  assertEquals(shares[0]! + shares[1]!, 20);
  for (const share of shares) assertTrue(share > 0, `the shares were ${shares}`);
});
