import { Client, Pool } from "@agentexec/core";
import pg from "pg";
import { assertEquals } from "../support/assert.ts";
import { chat, echo, hold } from "../fixtures/tasks.ts";
import { fixture, recordLogs, startPool } from "../support/pools.ts";
import { sharedPostgres, startPgBouncer, startPostgres, startRedis } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";

Deno.test("a pool behind PgBouncer in transaction mode runs its tasks", async () => {
  await using _ = await recordLogs();
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  await using bouncer = await startPgBouncer(database.url);
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: redis.url,
    databaseUrl: bouncer.url,
    entrypoint: fixture("pool.ts"),
    numWorkers: 2,
  });
  await pool.migrate();
  await pool.start();
  const tasks = await pool.enqueueMany(
    echo,
    Array.from({ length: 50 }, (_, i) => ({ text: `${i}` })),
  );
  for (const [index, task] of tasks.entries()) assertEquals((await task.result()).text, `${index}`);
  const chatty = await pool.enqueue(chat);
  assertEquals(await chatty.result(), chatty.agentId);
  assertEquals(await pool.activity.count({ status: "complete" }), 51);
});

Deno.test("all backends terminated 100 times under load: no process dies, no call hangs, no task is lost", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({ numWorkers: 2 });
  const { pool, redis, databaseUrl } = started;
  await using producer = new Client({
    brokerUrl: redis.url,
    databaseUrl,
    queueName: "fixture",
  });
  const name = new URL(databaseUrl).pathname.slice(1);
  const url = new URL(databaseUrl);
  url.pathname = "/postgres";
  const admin = new pg.Client({ connectionString: url.href });
  await admin.connect();
  let rounds = 0;
  let terminated = 0;
  const attack = (async () => {
    while (rounds < 100) {
      const { rowCount } = await admin.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1",
        [name],
      );
      terminated += rowCount ?? 0;
      rounds++;
      // The next round strikes connections that have been made anew and are at work again.
      const before = await completed(databaseUrl);
      await waitFor(async () => ended || await completed(databaseUrl) > before, {
        what: "a task to complete between two rounds",
        timeoutMs: 20_000,
      });
    }
  })();
  let ended = false;
  const ids: string[] = [];
  try {
    for (let i = 0; i < 400; i++) {
      const agentId = crypto.randomUUID();
      // Every fourth reports progress while it runs.
      if (i % 4 === 0) await insist(() => producer.enqueue(chat, undefined, { agentId }));
      else await insist(() => producer.enqueue(echo, { text: `${i}` }, { agentId }));
      ids.push(agentId);
    }
    for (const [i, id] of ids.entries()) {
      const timeout = { seconds: 60 };
      if (i % 4 === 0) {
        assertEquals(await insist(() => producer.handle(chat, id).result({ timeout })), id);
      } else {
        const { text } = await insist(() => producer.handle(echo, id).result({ timeout }));
        assertEquals(text, `${i}`);
      }
    }
  } finally {
    ended = true;
    await attack;
    await admin.end();
  }
  assertEquals(rounds, 100);
  assertEquals(terminated >= 100, true, `${terminated} backends were terminated`);
  const { ended: complete, odd } = await endings(databaseUrl);
  assertEquals(odd, []);
  assertEquals(complete, 400);
  assertEquals(pool.workers.map((worker) => worker.restarts), [0, 0]);
});

Deno.test("Postgres that is stopped again and again while tasks run fails none of them, and no process dies", async () => {
  await using log = await recordLogs();
  await using redis = await startRedis();
  await using server = await startPostgres();
  await using database = await server.freshDatabase();
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: redis.url,
    databaseUrl: database.url,
    entrypoint: fixture("pool.ts"),
    numWorkers: 2,
    concurrency: 4,
  });
  await pool.migrate();
  await pool.start();
  const long = await pool.enqueueMany(hold, [{ ms: 1_000 }, { ms: 1_000 }]);
  const tasks = [
    ...long,
    ...await pool.enqueueMany(echo, Array.from({ length: 600 }, (_, i) => ({ text: `${i}` }))),
    ...await pool.enqueueMany(chat, Array.from({ length: 30 }, () => undefined)),
  ];
  const processed = () =>
    log.messages().filter((line) => line.startsWith("Processing task:")).length;
  // Those who wait already bear with the outages; each has read its row before the first.
  const results = Promise.all(long.map((task) => task.result()));
  await Promise.all(long.map((task) => task.status()));
  for (let round = 1; round <= 4; round++) {
    await waitFor(() => processed() >= round * 40, { what: `round ${round}'s tasks to start` });
    await server.stop();
    if (round === 1) {
      // Away for long enough that every worker has given up a call.
      const since = performance.now();
      await waitFor(() => performance.now() - since > 3_500, { what: "a few seconds to pass" });
    }
    await server.restart();
  }
  assertEquals(await results, ["held", "held"]);
  await waitFor(async () => (await endings(database.url)).ended === tasks.length, {
    what: "all tasks to end",
    timeoutMs: 30_000,
  });
  assertEquals((await endings(database.url)).odd, []);
  assertEquals(pool.workers.map((worker) => worker.restarts), [0, 0]);
});

/** How many tasks ended, and those that ended otherwise than once, as `complete`. */
async function endings(databaseUrl: string) {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    const ended = await client.query(
      "select count(*)::int as n from agentexec_activity where status not in ('queued', 'running')",
    );
    const odd = await client.query(`
      select a.agent_id, a.task_name, a.status, a.attempt, a.error,
        array_agg(l.status || ': ' || l.message order by l.token, l.seq) as log
      from agentexec_activity a join agentexec_activity_log l using (agent_id)
      group by a.agent_id
      having a.status <> 'complete'
        or count(*) filter (where l.status in ('complete', 'error', 'canceled')) <> 1`);
    return { ended: ended.rows[0].n as number, odd: odd.rows };
  } finally {
    await client.end();
  }
}

/** How many tasks have completed, asked over a connection that lasts for the question. */
async function completed(databaseUrl: string): Promise<number> {
  const client = new pg.Client({ connectionString: databaseUrl });
  client.on("error", () => {});
  try {
    await client.connect();
    const { rows } = await client.query(
      "select count(*)::int as n from agentexec_activity where status = 'complete'",
    );
    return rows[0].n;
  } finally {
    await client.end().catch(() => {});
  }
}

/** A producer's calls may fail while its backend is being terminated; the same call again is accepted once. */
async function insist<T>(call: () => Promise<T>): Promise<T> {
  let value: { got: T } | undefined;
  await waitFor(async () => (value = { got: await call() }), {
    what: "the call to succeed",
    timeoutMs: 60_000,
  });
  return value!.got;
}

Deno.test("a row that a program's transaction keeps locked holds up no other task of the worker, and is written after it", async () => {
  await using _ = await recordLogs();
  await using started = await startPool({ numWorkers: 1, concurrency: 3 });
  const { pool, databaseUrl } = started;
  const theirs = new pg.Client({ connectionString: databaseUrl });
  await theirs.connect();
  const lock = (id: string) =>
    theirs.query("select 1 from agentexec_activity where agent_id = $1 for update", [id]);
  await theirs.query("begin");
  // One is locked before it starts, one before it ends.
  const first = await pool.enqueue(echo, { text: "first" }, { delay: { seconds: 1 } });
  await lock(first.agentId);
  const second = await pool.enqueue(chat);
  await lock(second.agentId);
  await waitFor(async () => (await pool.depth()).running === 2, { what: "both to be claimed" });
  const others = Array.from({ length: 20 }, (_, i) => ({ text: `${i}` }));
  for (const task of await pool.enqueueMany(echo, others)) {
    await task.result({ timeout: { seconds: 30 } });
  }
  const { rows } = await theirs.query("select 1 from pg_locks where not granted");
  assertEquals(rows, []);
  assertEquals((await pool.activity.detail(first.agentId))?.status, "queued");
  await theirs.query("rollback");
  assertEquals((await first.result({ timeout: { seconds: 30 } })).text, "first");
  assertEquals(await second.result({ timeout: { seconds: 30 } }), second.agentId);
  await theirs.end();
});
