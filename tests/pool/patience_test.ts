import { ConnectionError, Pool, type PoolOptions } from "@agentexec/core";
import { rawRedis } from "../broker/raw_redis.ts";
import { echo } from "../fixtures/tasks.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { type LogRecorder, makePool, recordLogs } from "../support/pools.ts";
import { freePort } from "../support/ports.ts";
import { runProgram } from "../support/processes.ts";
import { startProxy } from "../support/proxy.ts";
import { sharedPostgres, startPostgres, startRedis } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";

const HINT = /import\.meta\.main/;

function countOf(log: LogRecorder, pattern: RegExp): number {
  return log.messages().filter((line) => pattern.test(line)).length;
}

/** The options by which workers reach one of their stores by another port. */
function throughPort(store: "broker" | "database", url: string, port: number): PoolOptions {
  const other = new URL(url);
  other.port = String(port);
  return store === "broker" ? { workerBrokerUrl: other.href } : { workerDatabaseUrl: other.href };
}

for (const store of ["broker", "database"] as const) {
  Deno.test(`workers whose ${store} is away while they start wait for it, and the start goes on`, async () => {
    await using log = await recordLogs();
    await using made = await makePool();
    const url = store === "broker" ? made.brokerUrl : made.databaseUrl;
    await using proxy = startProxy(Number(new URL(url).port));
    proxy.refuse();
    await using pool = new Pool({
      name: "waiting",
      queueName: "fixture",
      brokerUrl: made.brokerUrl,
      databaseUrl: made.databaseUrl,
      entrypoint: new URL("../fixtures/waiting_pool.ts", import.meta.url).href,
      numWorkers: 2,
      ...throughPort(store, url, proxy.port),
    });
    const starting = pool.start();
    starting.catch(() => {}); // It is awaited below.
    await waitFor(() => countOf(log, /Waiting for a store: .*ECONNREFUSED/) === 2, {
      what: "both workers to wait",
    });
    proxy.accept();
    await within(starting, { what: "the start", timeoutMs: 30_000 });
    const task = await pool.enqueue(echo, { text: "at last" });
    assertEquals((await task.result({ timeout: { seconds: 30 } })).text, "at last");
    assertEquals(
      countOf(log, /ended before it was ready|Cannot start/),
      0,
      log.messages().join("\n"),
    );
    await pool.shutdown({ timeout: { seconds: 0 } });
  });

  Deno.test(`a ${store} that stays away from workers ends the start after connectTimeout, with its cause and no hint at code`, async () => {
    await using log = await recordLogs();
    await using made = await makePool();
    const url = store === "broker" ? made.brokerUrl : made.databaseUrl;
    await using pool = new Pool({
      name: "waiting",
      queueName: "fixture",
      brokerUrl: made.brokerUrl,
      databaseUrl: made.databaseUrl,
      entrypoint: new URL("../fixtures/waiting_pool.ts", import.meta.url).href,
      numWorkers: 4,
      connectTimeout: { seconds: 2 },
      ...throughPort(store, url, freePort()),
    });
    const error = await assertRejects(() => pool.start(), ConnectionError);
    assertMatch(error.message, /Worker \d.*within the 2 s of 'connectTimeout'.*ECONNREFUSED/);
    assertTrue(!HINT.test(error.message), error.message);
    assertEquals(countOf(log, HINT), 0);
    // One for each worker that waits.
    assertEquals(countOf(log, /Waiting for a store/), 4);
    assertTrue(log.messages().length <= 4 + 4 + 2, log.messages().join("\n"));
  });
}

Deno.test("a Redis that dies while workers start, and comes back, is waited for by supervisor and workers alike", async () => {
  await using log = await recordLogs();
  await using made = await makePool();
  await using proxy = startProxy(made.redis.port);
  proxy.refuse();
  await using pool = new Pool({
    name: "waiting",
    queueName: "fixture",
    brokerUrl: made.brokerUrl,
    databaseUrl: made.databaseUrl,
    entrypoint: new URL("../fixtures/waiting_pool.ts", import.meta.url).href,
    numWorkers: 2,
    startTimeout: { seconds: 20 },
    ...throughPort("broker", made.brokerUrl, proxy.port),
  });
  const starting = pool.start();
  starting.catch(() => {}); // It is awaited below.
  await waitFor(() => countOf(log, /Waiting for a store/) === 2, { what: "both workers to wait" });
  await made.redis.kill();
  await waitFor(() => countOf(log, /trying again until it answers/) === 1, {
    what: "the supervisor to notice",
  });
  await made.redis.restart();
  proxy.accept();
  await within(starting, { what: "the start", timeoutMs: 40_000 });
  await waitFor(() => countOf(log, /Connected again to redis:.* after \d/) === 1, {
    what: "the supervisor's word that it is back",
  });
  await pool.shutdown({ timeout: { seconds: 0 } });
});

for (const store of ["Redis", "Postgres"] as const) {
  Deno.test(`each process says once that ${store} went away and once that it is back, and nothing between`, async () => {
    await using redis = await startRedis();
    await using postgres = await startPostgres();
    await using database = await postgres.freshDatabase();
    const env = {
      REDIS_URL: redis.url,
      DATABASE_URL: database.url,
      AGENTEXEC_NUM_WORKERS: "2",
      NO_COLOR: "1",
    };
    await using migrating = await runProgram("migrating.ts", { env });
    assertEquals((await migrating.exit).code, 0, migrating.output);
    await using program = await runProgram("migrated_pool.ts", { env });
    await program.waitForLine(/^ready$/);
    const server = store === "Redis" ? redis : postgres;
    await server.kill();
    const lost = /trying again until it answers/;
    const back = /Connected again to (redis|postgres):.* after \d/;
    await program.waitForLine(lost, { count: 3 });
    const from = performance.now();
    // As long as it takes for what is repeated every 5 s to be repeated.
    await waitFor(() => performance.now() - from > 7_000, { what: "a while without the store" });
    await server.restart();
    await program.waitForLine(back, { count: 3 });
    const lines = program.output.split("\n");
    assertEquals(lines.filter((line) => lost.test(line)).length, 3, program.output);
    assertEquals(lines.filter((line) => back.test(line)).length, 3, program.output);
    const others = lines.filter((line) => /warning|error/i.test(line) && !lost.test(line));
    assertEquals(others, [], program.output);
    program.signal("SIGTERM");
    assertEquals((await program.exit).code, 0, program.output);
  });
}

Deno.test("what workers log while their supervisor does not listen reaches it all the same", async () => {
  await using log = await recordLogs();
  await using made = await makePool();
  await using proxy = startProxy(Number(new URL(made.brokerUrl).port));
  await using pool = new Pool({
    name: "waiting",
    queueName: "fixture",
    brokerUrl: `redis://127.0.0.1:${proxy.port}`,
    databaseUrl: made.databaseUrl,
    entrypoint: new URL("../fixtures/waiting_pool.ts", import.meta.url).href,
    workerBrokerUrl: made.brokerUrl,
    numWorkers: 1,
  });
  await pool.start();
  await using raw = await rawRedis(made.brokerUrl);
  proxy.refuse();
  await waitFor(async () => !String(await raw.send("PUBSUB", "CHANNELS")).includes(":log:"), {
    what: "the supervisor to be deaf",
  });
  // By the workers' way: the supervisor's own is closed.
  const task = await made.pool.enqueue(echo, { text: "unheard" });
  await task.result({ timeout: { seconds: 30 } });
  await waitFor(() => countOf(log, /Task completed: echo/) === 1, { what: "the worker's lines" });
  proxy.accept();
  await waitFor(() => countOf(log, /Connected again to redis:/) === 1, {
    what: "the supervisor to be back",
  });
  await pool.shutdown({ timeout: { seconds: 30 } });
  assertEquals(countOf(log, /Processing task: echo/), 1);
  assertEquals(countOf(log, /Task completed: echo/), 1);
  assertEquals(countOf(log, /were lost|was lost/), 0, log.messages().join("\n"));
});

Deno.test("a wrong port of Postgres is tried as long as one of Redis, by migrate() too, and the error has the last cause", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  await using http = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response("hi"),
  );
  const wrong = (url: string, port: number) => {
    const other = new URL(url);
    other.port = String(port);
    return other.href;
  };
  for (
    const [brokerUrl, databaseUrl, pattern] of [
      [wrong(redis.url, freePort()), database.url, /redis:.*ECONNREFUSED/],
      [redis.url, wrong(database.url, freePort()), /postgres:.*ECONNREFUSED/],
      // Somebody listens there, and it is no Postgres.
      [redis.url, wrong(database.url, redis.port), /postgres:/],
      [redis.url, wrong(database.url, http.addr.port), /postgres:/],
    ] as const
  ) {
    await using log = await recordLogs();
    await using pool = new Pool({
      name: "wrong",
      queueName: "wrong",
      brokerUrl,
      databaseUrl,
      entrypoint: new URL("../fixtures/waiting_pool.ts", import.meta.url).href,
      connectTimeout: { milliseconds: 1_500 },
    });
    const first = brokerUrl === redis.url ? () => pool.migrate() : () => pool.start();
    const error = await assertRejects(first, ConnectionError);
    assertMatch(error.message, /within the 1\.5 s of 'connectTimeout': /);
    assertMatch(error.message, pattern);
    // A server that is silent fails no attempt before the time is up.
    assertTrue(countOf(log, /trying again until it answers/) <= 1, log.messages().join("\n"));
  }
});
