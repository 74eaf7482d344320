import { ConnectionError, IncompatibleError } from "../../src/errors.ts";
import { claim, claimOne, crew, register, task } from "../contract/broker/bench.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { freePort } from "../support/ports.ts";
import { startProxy } from "../support/proxy.ts";
import { startRedis } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { rawRedis } from "./raw_redis.ts";
import { atPort, brokerOf, openQueue } from "./redis_bench.ts";

/** The error of a connection that cannot be made. */
async function refusal<E extends Error>(
  url: string,
  // deno-lint-ignore no-explicit-any -- constructors differ in their parameters
  type: new (...args: any[]) => E,
): Promise<E> {
  const broker = brokerOf(url);
  try {
    return await assertRejects(() => broker.connect(), type);
  } finally {
    await broker.close();
  }
}

Deno.test("an unreachable Redis is told with its cause, at once, and may be tried again", async () => {
  const port = freePort();
  const error = await refusal(`redis://127.0.0.1:${port}`, ConnectionError);
  assertEquals(error.retryable, true);
  assertEquals(
    error.message,
    `Cannot connect to Redis at redis://127.0.0.1:${port}/0: connect ECONNREFUSED 127.0.0.1:${port}`,
  );
});

Deno.test("a wrong or missing password is not tried again and not shown", async () => {
  await using server = await startRedis({ args: ["--requirepass", "s3cret-right"] });
  const wrong = new URL(server.url);
  wrong.password = "s3cret-wrong";
  for (const [url, reason] of [[wrong.href, "WRONGPASS"], [server.url, "NOAUTH"]] as const) {
    const error = await refusal(url, ConnectionError);
    assertEquals(error.retryable, false);
    assertMatch(error.message, new RegExp(reason));
    assertTrue(!error.message.includes("s3cret"), error.message);
  }
  wrong.password = "s3cret-right";
  await using opened = await openQueue(wrong.href);
  assertEquals(await opened.queue.enqueue([task()]), ["accepted"]);
});

Deno.test("a database that the server does not have is refused by its number", async () => {
  await using server = await startRedis({ args: ["--databases", "4"] });
  await using third = await openQueue(`${server.url}/3`);
  await using redis = await rawRedis(server.url);
  await third.queue.enqueue([task()]);
  assertEquals(await redis.send("DBSIZE"), 0);
  const error = await refusal(`${server.url}/4`, ConnectionError);
  assertEquals(error.retryable, false);
  assertMatch(error.message, /\/4: the server has no database of this number$/);
});

Deno.test("a cluster's node is refused with the reason", async () => {
  await using server = await startRedis({ args: ["--cluster-enabled", "yes"] });
  const { message } = await refusal(server.url, IncompatibleError);
  assertMatch(message, /it is a node of a Redis cluster, only a single server is supported yet$/);
});

Deno.test("a Redis older than 7.0 is refused with its version", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  const version = /redis_version:(\S+)/.exec(String(await redis.send("INFO", "server")))?.[1] ?? "";
  await using proxy = startProxy(server.port);
  const old = "6.2.99".slice(0, version.length).padEnd(version.length, "9");
  proxy.rewrite(version, old);
  const { message } = await refusal(atPort(server.url, proxy.port), IncompatibleError);
  assertMatch(message, /at least version 7\.0 is needed, current value is 6\.2/);
});

Deno.test("what is no Redis is told as such within the deadline", async () => {
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response("hi"),
  );
  try {
    const error = await within(refusal(`redis://127.0.0.1:${server.addr.port}`, ConnectionError), {
      what: "the refusal",
    });
    assertMatch(error.message, /^Cannot connect to Redis at redis:/);
  } finally {
    await server.shutdown();
  }
});

Deno.test("a missing right of the user is named and not tried again", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await redis.send(
    "ACL",
    "SETUSER",
    "reader",
    "on",
    ">pw",
    "~*",
    "&*",
    "+@read",
    "+@connection",
    "+@scripting",
    "+time",
  );
  const url = new URL(server.url);
  [url.username, url.password] = ["reader", "pw"];
  const broker = brokerOf(url.href);
  try {
    await broker.connect();
    const error = await assertRejects(() => broker.queue("jobs").open(), ConnectionError);
    assertEquals(error.retryable, false);
    assertMatch(
      error.message,
      /^Cannot open the queue 'jobs' at redis:.*its access list does not allow this/,
    );
    const wait = { timeoutMs: 5_000, signal: new AbortController().signal };
    const waited = await assertRejects(() => broker.queue("jobs").wait(wait), ConnectionError);
    assertEquals(waited.retryable, false);
  } finally {
    await broker.close();
  }
});

Deno.test("a user with the rights of the README runs the whole protocol", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await redis.send(
    ...["ACL", "SETUSER", "pool", "on", ">pw", "resetkeys", "~jobs", "~{jobs}:*", "resetchannels"],
    ...[
      "&{jobs}:*",
      "-@all",
      "+@connection",
      "+@scripting",
      "+@read",
      "+@write",
      "+@pubsub",
      "+time",
    ],
    ...["-@dangerous"],
  );
  const url = new URL(server.url);
  [url.username, url.password] = ["pool", "pw"];
  await using opened = await openQueue(url.href);
  const { queue } = opened;
  const own = crew();
  await register(queue, own);
  const heard: string[] = [];
  const one = task();
  await queue.subscribe({ kind: "ended", id: one.id }, { onMessage: (text) => heard.push(text) });
  await queue.enqueue([one]);
  await queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal });
  const run = await claimOne(queue, own.workerIds[0]);
  await queue.sweep({ supervisorId: own.supervisorId, leaseMs: 0 });
  assertEquals(await queue.end(run), "done");
  await waitFor(() => heard.length === 1, { what: "the end of the task" });
});

Deno.test("a full Redis refuses new tasks and lets everything else go on", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const own = crew(2);
  const [first, second] = own.workerIds;
  await register(queue, own);
  await queue.enqueue([task(), task(), task(), task(), task()]);
  const { claims: [ended, released, kept] } = await claim(queue, first, { slots: 9 });
  assertTrue(ended !== undefined && released !== undefined && kept !== undefined);
  const heard: string[] = [];
  await queue.subscribe({ kind: "ended", id: ended.id }, { onMessage: (text) => heard.push(text) });
  await redis.send("CONFIG", "SET", "maxmemory", "1");
  const error = await assertRejects(() => queue.enqueue([task()]), ConnectionError);
  assertEquals(error.retryable, true);
  assertMatch(error.message, /^Cannot enqueue into 'jobs' at redis:.*: it is full \(maxmemory\)/);
  assertEquals(await queue.end(ended), "done");
  await waitFor(() => heard.length === 1, { what: "the end of the task" });
  assertEquals((await queue.release(released, { charge: "crash" })).outcome, "done");
  assertEquals((await register(queue, own)).owned.map(({ id }) => id), [kept.id]);
  assertEquals(await queue.check([kept]), ["own"]);
  await queue.ready(first, "x");
  assertEquals((await queue.removeWorker(first)).length, 1);
  assertEquals((await claimOne(queue, second ?? "")).id, released.id);
  assertEquals(await queue.cancel(kept.id), "requested");
  await queue.publish({ kind: "log", supervisorId: own.supervisorId }, "x");
  await queue.wait({ timeoutMs: 100, signal: new AbortController().signal });
  await redis.send("CONFIG", "SET", "maxmemory", "0");
  assertEquals(await queue.enqueue([task()]), ["accepted"]);
});

Deno.test("a master that becomes a replica is left, and found again when it is one no more", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const waiting = queue.wait({ timeoutMs: 1_000, signal: new AbortController().signal });
  await redis.send("REPLICAOF", "127.0.0.1", String(freePort()));
  await within(waiting, { what: "the wait to end" });
  const error = await assertRejects(() => queue.enqueue([task()]), ConnectionError);
  assertTrue(error.retryable, error.message);
  const broker = await refusal(server.url, ConnectionError);
  assertEquals(broker.retryable, true);
  const late = queue.enqueue([task()]);
  await redis.send("REPLICAOF", "NO", "ONE");
  assertEquals(await late, ["accepted"]);
});

Deno.test("a Redis that cannot save is told by name, and may be tried again", async () => {
  await using server = await startRedis({ args: ["--appendonly", "no", "--save", "3600 1"] });
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  await Deno.mkdir(`${server.dir}/dump.rdb/x`, { recursive: true });
  try {
    await redis.send("BGSAVE");
    await waitFor(
      async () => /last_bgsave_status:err/.test(String(await redis.send("INFO", "persistence"))),
      { what: "the save to fail" },
    );
    const error = await assertRejects(() => opened.queue.enqueue([task()]), ConnectionError);
    assertEquals(error.retryable, true);
    assertMatch(error.message, /it cannot save to its disk and refuses writes/);
  } finally {
    // A Redis that cannot save does not end on SIGTERM.
    await redis.send("CONFIG", "SET", "save", "");
  }
});

Deno.test("connections carry the client's name, and none is left after close", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  // All but the one that asks.
  const clients = async () =>
    String(await redis.send("CLIENT", "LIST")).split("\n").filter((line) =>
      !line.includes("cmd=client")
    )
      .filter((line) => line !== "");
  await using opened = await openQueue(server.url);
  await opened.queue.subscribe({ kind: "log", supervisorId: "s" }, { onMessage: () => {} });
  const signal = new AbortController().signal;
  const wait = opened.queue.wait({ timeoutMs: 5_000, signal });
  await waitFor(async () => (await clients()).length === 3, { what: "three connections" });
  await opened.queue.depth();
  // An answer under way is waited for.
  const call = opened.queue.depth();
  await opened.broker.close();
  await call;
  await within(wait, { what: "the wait to end with its connection", timeoutMs: 4_000 });
  await waitFor(async () => (await clients()).length === 0, { what: "no connection" });
  for (
    const use of [
      () => opened.queue.depth(),
      () => opened.queue.wait({ timeoutMs: 5_000, signal }),
      () => opened.queue.subscribe({ kind: "log", supervisorId: "s" }, { onMessage: () => {} }),
    ]
  ) {
    const error = await assertRejects(use, ConnectionError);
    assertEquals(error.retryable, false);
    assertMatch(error.message, /: the connection was closed$/);
  }
});
