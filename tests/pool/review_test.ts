import { Pool } from "@agentexec/core";
import pg from "pg";
import { parseBrokerUrl } from "../../src/addresses.ts";
import { openBroker } from "../../src/broker/open_broker.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { chat, echo, hold } from "../fixtures/tasks.ts";
import { fixture, makePool, recordLogs, startPool, type TestPool } from "../support/pools.ts";
import { startPostgres, startRedis } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";

async function running({ pool }: TestPool, agentId: string): Promise<void> {
  await waitFor(async () => (await pool.activity.detail(agentId))?.message === "holding", {
    what: `task ${agentId} to run`,
  });
}

async function sql(databaseUrl: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

const HIDE = "alter table agentexec_activity rename to agentexec_hidden";
const SHOW = "alter table agentexec_hidden rename to agentexec_activity";

Deno.test("a stop ends although the database refuses to settle what it cut off, and does not say that all drained", async () => {
  await using log = await recordLogs();
  await using started = await startPool();
  const { pool, databaseUrl } = started;
  const task = await pool.enqueue(hold, { ms: 60_000 });
  await running(started, task.agentId);
  await sql(databaseUrl, HIDE);
  const report = await pool.shutdown({ timeout: { seconds: 0 } });
  assertEquals(report.drained, false);
  assertEquals(pool.workers, []);
  assertTrue(
    log.messages().some((line) => line.includes("Cannot settle the tasks of Worker 0: ")),
  );
});

Deno.test("a worker that dies while the database refuses every write is settled once it takes them again", async () => {
  await using log = await recordLogs();
  await using started = await startPool();
  const { pool, databaseUrl } = started;
  const task = await pool.enqueue(hold, { ms: 100 });
  await task.result();
  const killed = await pool.enqueue(hold, { ms: 3_000 });
  await running(started, killed.agentId);
  await sql(databaseUrl, HIDE);
  Deno.kill(pool.workers[0]!.pid!, "SIGKILL");
  await waitFor(() => log.messages().some((line) => line.includes("Cannot settle the tasks of")), {
    what: "the trouble to be logged",
  });
  await sql(databaseUrl, SHOW);
  assertEquals(await killed.result({ timeout: { seconds: 20 } }), "held");
  const detail = await pool.activity.detail(killed.agentId);
  assertEquals([detail?.attempt, detail?.crashes, detail?.lapses], [2, 1, 0]);
});

Deno.test("a supervisor outlives a key of its queue that another program spoiled, and goes on once it is gone", async () => {
  await using log = await recordLogs();
  await using started = await startPool();
  const { pool, redis } = started;
  await redisCli(redis.port, "SET", "fixture", "not a list");
  Deno.kill(pool.workers[0]!.pid!, "SIGKILL");
  await waitFor(() => log.messages().some((line) => line.includes("Cannot renew the leases")), {
    what: "the trouble to be logged",
  });
  await redisCli(redis.port, "DEL", "fixture");
  const task = await pool.enqueue(echo, { text: "afterwards" });
  assertEquals((await task.result({ timeout: { seconds: 40 } })).text, "afterwards");
});

async function redisCli(port: number, ...args: string[]): Promise<string> {
  const command = new Deno.Command("redis-cli", { args: ["-p", String(port), ...args] });
  return new TextDecoder().decode((await command.output()).stdout).trim();
}

Deno.test("a forced stop while Redis keeps silent is over before one call to it gives up", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({ numWorkers: 2 });
  const { pool, redis } = started;
  // A call as workers and supervisors make it: those of clients give up sooner.
  const broker = openBroker(parseBrokerUrl({ value: redis.url, source: "the test" }));
  await broker.connect();
  await broker.queue("fixture").depth();
  const task = await pool.enqueue(hold, { ms: 60_000 });
  await running(started, task.agentId);
  redis.pause();
  const call = broker.queue("fixture").depth().then(() => "the call", () => "the call");
  const stop = pool.shutdown({ timeout: { seconds: 0 } }).then(({ drained }) => drained);
  assertEquals(await Promise.race([call, stop]), false);
  redis.resume();
  await call;
  await broker.close();
});

Deno.test("a worker that died is not registered again while the database is slow to settle its tasks", async () => {
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
    numWorkers: 1,
  });
  await pool.migrate();
  await pool.start();
  const task = await pool.enqueue(hold, { ms: 2_000 });
  const dead = await redisCli(redis.port, "HKEYS", "{fixture}:workers");
  await waitFor(async () => (await pool.depth()).running === 1, { what: "the task to be claimed" });
  postgres.pause();
  Deno.kill(pool.workers[0]!.pid!, "SIGKILL");
  await waitFor(() => pool.workers[0]!.restarts === 1, { what: "the replacement" });
  postgres.resume();
  assertEquals(await task.result(), "held");
  const registered = await redisCli(redis.port, "HKEYS", "{fixture}:workers");
  assertEquals([registered.split("\n").length, registered === dead], [1, false]);
});

/** A pool whose only worker has taken up a task before its supervisor could hear that it is ready. */
async function startUnheard({ pool, redis, databaseUrl }: TestPool, ms: number) {
  const task = await pool.enqueue(hold, { ms });
  const starting = pool.start().catch((error: Error) => error.name);
  await waitFor(async () => await redisCli(redis.port, "HLEN", "{fixture}:workers") === "1", {
    what: "the worker to be registered",
  });
  // The supervisor is this process: while it is kept busy it cannot hear that its worker is ready.
  while (!psql(databaseUrl, "select message from agentexec_activity").startsWith("holding"));
  return { task, starting };
}

Deno.test("a stop lets a worker that got ready unheard finish the task that it took up", async () => {
  await using _ = await recordLogs();
  await using made = await makePool();
  const { task, starting } = await startUnheard(made, 1_000);
  assertEquals(await made.pool.shutdown(), { drained: true, cutOff: [] });
  await starting;
  const detail = await made.pool.activity.detail(task.agentId);
  assertEquals([detail?.status, detail?.attempt, detail?.crashes], ["complete", 1, 0]);
});

Deno.test("a stop that kills a worker which took up a task unheard charges the task nothing, and names it", async () => {
  await using _ = await recordLogs();
  await using made = await makePool();
  const { pool } = made;
  const { task, starting } = await startUnheard(made, 60_000);
  const report = await pool.shutdown({ timeout: { seconds: 0 } });
  assertEquals(report, { drained: false, cutOff: [task.agentId] });
  assertEquals(await starting, "AbortError");
  const detail = await pool.activity.detail(task.agentId);
  assertEquals([detail?.status, detail?.crashes], ["queued", 0]);
});

function psql(databaseUrl: string, query: string): string {
  const { stdout } = new Deno.Command("psql", { args: [databaseUrl, "-tAc", query] }).outputSync();
  return new TextDecoder().decode(stdout);
}

Deno.test("run resolves when the pool is shut down while it starts, though the broker is away", async () => {
  await using log = await recordLogs();
  await using made = await makePool();
  const { pool, redis } = made;
  await redis.kill();
  const running = pool.run();
  await waitFor(() => log.messages().some((line) => line.includes("Cannot connect")), {
    what: "a first attempt",
  });
  assertEquals(await pool.shutdown(), { drained: true, cutOff: [] });
  await running;
});

Deno.test("a supervisor taken for dead replaces its workers and hears the new ones, though Redis refuses it at first", async () => {
  await using log = await recordLogs();
  await using started = await startPool();
  const { pool, redis } = started;
  const worker = await redisCli(redis.port, "HKEYS", "{fixture}:workers");
  const supervisor = worker.split("/", 1)[0]!;
  const [seconds] = (await redisCli(redis.port, "TIME")).split("\n");
  await redisCli(redis.port, "ACL", "SETUSER", "default", "-subscribe");
  await redisCli(redis.port, "ZADD", "{fixture}:swept", `${seconds}000`, supervisor);
  await waitFor(() => log.messages().some((line) => line.startsWith("Cannot renew the leases")), {
    what: "the refusal",
  });
  await redisCli(redis.port, "ACL", "SETUSER", "default", "+subscribe");
  await waitFor(() => pool.workers[0]!.restarts > 0 && pool.workers[0]!.state === "ready", {
    what: "the replacement",
  });
  const task = await pool.enqueue(chat);
  await task.result();
  await waitFor(() => log.messages().some((line) => line.includes("from the log")), {
    what: "what the new worker logs",
  });
});

Deno.test("a worker whose claims the queue refuses says so, finishes what it runs and goes on", async () => {
  await using log = await recordLogs();
  await using started = await startPool({ concurrency: 2 });
  const { pool, redis } = started;
  const task = await pool.enqueue(hold, { ms: 2_500 });
  await running(started, task.agentId);
  await redisCli(redis.port, "SET", "fixture", "not a list");
  await redisCli(redis.port, "ZADD", "{fixture}:wake", "1", "1");
  await waitFor(() => log.messages().some((line) => line.startsWith("Cannot claim")), {
    what: "the trouble to be logged",
  });
  await redisCli(redis.port, "DEL", "fixture");
  assertEquals(await task.result(), "held");
  assertEquals(pool.workers[0]!.restarts, 0);
  assertEquals((await pool.activity.detail(task.agentId))?.crashes, 0);
});
