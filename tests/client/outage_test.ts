import { Client } from "../../src/client/client.ts";
import {
  ConnectionError,
  EnqueueError,
  EnqueueManyError,
  EnqueueUncertainError,
} from "../../src/errors.ts";
import { defineTask } from "../../src/task/definition.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { freePort } from "../support/ports.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { type RedisServer, startPostgres, startRedis } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";
import { makeBench } from "./support.ts";

const ping = defineTask("ping");

Deno.test("enqueue() where no broker was ever reached is refused and leaves nothing behind", async () => {
  await using bench = await makeBench();
  await using client = new Client({
    ...bench.options,
    brokerUrl: `redis://127.0.0.1:${freePort()}`,
  });
  const error = await assertRejects(() => client.enqueue(ping), EnqueueError);
  assertEquals(error.name, "EnqueueError");
  assertMatch(error.message, /^Cannot enqueue task 'ping': it was not accepted, ConnectionError: /);
  assertTrue(error.cause instanceof ConnectionError);
  assertEquals(await bench.client.activity.count(), 0);
});

Deno.test("enqueue() while the broker is down is not accepted, and the same id is accepted afterwards", async () => {
  await using redis = await startRedis();
  await using bench = await makeBench({ brokerUrl: redis.url });
  await bench.client.enqueue(ping);
  await redis.stop();
  const error = await assertRejects(() => bench.client.enqueue(ping), EnqueueError);
  assertEquals(error.name, "EnqueueError");
  const { agentId } = error;
  const detail = await bench.client.activity.detail(agentId);
  assertEquals(detail?.status, "error");
  await redis.restart();
  const worker = await bench.worker();
  await worker.complete();
  const task = await bench.client.enqueue(ping, undefined, { agentId });
  assertEquals(await task.status(), "queued");
  assertEquals((await worker.complete()).id, agentId);
  assertEquals(await task.wait(), "complete");
});

Deno.test("enqueue() while the broker hangs is not accepted, runs nowhere, and is accepted afterwards", async () => {
  await using redis = await startRedis();
  await using bench = await makeBench({ brokerUrl: redis.url });
  const worker = await bench.worker();
  redis.pause();
  const error = await assertRejects(() => bench.client.enqueue(ping), EnqueueError);
  redis.resume();
  const { agentId } = error;
  const early = await worker.tryClaim();
  if (early !== undefined) {
    // The push was in the server's buffer all along; the row keeps it from running.
    assertEquals(await worker.write(early, { status: "running" }), "refused");
    await worker.end(early, { status: "running" });
  }
  const task = await bench.client.enqueue(ping, undefined, { agentId });
  await worker.complete();
  assertEquals(await task.wait(), "complete");
  assertEquals(await worker.tryClaim(), undefined);
});

Deno.test("enqueue() while the database is down tells that nobody knows, and is accepted once afterwards", async () => {
  await using postgres = await startPostgres();
  await using database = await postgres.freshDatabase();
  await using bench = await makeBench({ databaseUrl: database.url });
  // The way in is open; where it never was, the task is plainly refused.
  await bench.client.activity.count();
  await bench.client.depth();
  await postgres.stop();
  const error = await assertRejects(() => bench.client.enqueue(ping), EnqueueUncertainError);
  const { agentId } = error;
  assertTrue(error.message.includes(`enqueue it again with { agentId: "${agentId}" }`));
  assertTrue(error instanceof EnqueueError);
  await postgres.restart();
  const task = await bench.client.enqueue(ping, undefined, { agentId });
  await bench.client.enqueue(ping, undefined, { agentId });
  const worker = await bench.worker();
  assertEquals((await worker.complete()).id, agentId);
  assertEquals(await task.wait(), "complete");
  assertEquals(await worker.tryClaim(), undefined);
});

Deno.test("enqueue() while both are down tells that nobody knows", async () => {
  await using redis = await startRedis();
  await using postgres = await startPostgres();
  await using database = await postgres.freshDatabase();
  await using bench = await makeBench({ brokerUrl: redis.url, databaseUrl: database.url });
  await bench.client.enqueue(ping);
  await Promise.all([redis.stop(), postgres.stop()]);
  const { agentId } = await assertRejects(
    () => bench.client.enqueue(ping),
    EnqueueUncertainError,
  );
  await Promise.all([redis.restart(), postgres.restart()]);
  await bench.client.enqueue(ping, undefined, { agentId });
});

Deno.test("enqueueMany() says which were accepted where the broker goes away in the middle", async () => {
  await using redis = await startRedis();
  await using bench = await makeBench({ brokerUrl: redis.url });
  await bench.client.enqueue(ping);
  await redis.stop();
  const error = await assertRejects(
    () => bench.client.enqueueMany(ping, new Array(1_500).fill(undefined)),
    EnqueueManyError,
  );
  assertEquals([error.accepted.length, error.refused.length], [0, 1_500]);
  assertTrue(error.cause instanceof EnqueueError);
  assertMatch(error.message, /^Cannot enqueue 1500 of 1500 tasks 'ping': /);
});

Deno.test("status() and result() while the database is down reject with a connection error", async () => {
  await using postgres = await startPostgres();
  await using database = await postgres.freshDatabase();
  await using bench = await makeBench({ databaseUrl: database.url });
  const task = await bench.client.enqueue(ping);
  const waiting = Promise.allSettled([task.result()]);
  await task.status();
  await postgres.stop();
  await assertRejects(() => task.status(), ConnectionError);
  await assertRejects(() => task.result(), ConnectionError);
  await postgres.restart();
  await (await bench.worker()).complete("pong");
  // The one that had begun before bore with the outage.
  assertEquals(await waiting, [{ status: "fulfilled", value: "pong" }]);
});

/** A call of a producer fails within 2 s; that it took more than twice as long is no matter of a busy machine. */
const TOO_LONG_MS = 4_500;

/** How a broker can be away, and back. */
const OUTAGES = {
  killed: { begin: ({ redis }: Away) => redis.kill(), end: ({ redis }: Away) => redis.restart() },
  frozen: { begin: ({ redis }: Away) => redis.pause(), end: ({ redis }: Away) => redis.resume() },
  "cut off": {
    begin: ({ proxy }: Away) => proxy.block(),
    end: ({ proxy }: Away) => proxy.unblock(),
  },
};
interface Away {
  readonly redis: RedisServer;
  readonly proxy: Proxy;
}

for (const [how, { begin, end }] of Object.entries(OUTAGES)) {
  Deno.test(`each call of a producer fails within 2 s while its broker is ${how}, connected before or not`, async () => {
    await using redis = await startRedis();
    await using proxy = startProxy(redis.port);
    const brokerUrl = `redis://127.0.0.1:${proxy.port}`;
    await using bench = await makeBench({ brokerUrl: redis.url });
    const options = { ...bench.options, brokerUrl };
    await using known = new Client(options);
    const waiting = await known.enqueue(ping);
    await begin({ redis, proxy });
    await using fresh = new Client(options);
    // With the database open the broker alone is waited for.
    await fresh.activity.count();
    for (const client of [known, fresh]) {
      const calls: [string, () => Promise<unknown>][] = [
        ["enqueue", () => client.enqueue(ping)],
        ["enqueueMany", () => client.enqueueMany(ping, new Array(100).fill(undefined))],
        ["cancel", () => client.cancel(waiting.agentId)],
        ["cancelPending of what is abandoned", () => client.cancelPending()],
        ["cancelPending", () => client.cancelPending({ scope: "queue" })],
        ["depth", () => client.depth()],
      ];
      for (const [name, call] of calls) {
        const from = performance.now();
        const error = await assertRejects(call, Error);
        const ms = performance.now() - from;
        assertTrue(ms < TOO_LONG_MS, `${name} took ${ms} ms: ${error.message}`);
        const typed = error instanceof ConnectionError ? error : error.cause;
        assertTrue(typed instanceof Error && /Error$/.test(typed.name), `${name}: ${error}`);
        if (name.startsWith("enqueue")) {
          assertTrue(error instanceof EnqueueError || error instanceof EnqueueManyError, name);
        } else assertTrue(error instanceof ConnectionError, `${name}: ${error}`);
      }
    }
    await end({ redis, proxy });
    await waitFor(() => fresh.depth(), { what: "the broker to answer again" });
    assertEquals(await known.cancel(waiting.agentId), "canceled");
  });
}

Deno.test("who waits for a task while the broker does not answer hears of its end, and may stop waiting", async () => {
  await using redis = await startRedis();
  await using bench = await makeBench({ brokerUrl: redis.url });
  const { client } = bench;
  const [followed, awaited] = await client.enqueueMany(ping, [undefined, undefined]);
  assertTrue(followed !== undefined && awaited !== undefined);
  redis.pause();
  const stop = new AbortController();
  const steps = followed.progress({ signal: stop.signal })[Symbol.asyncIterator]();
  assertEquals((await steps.next()).value?.status, "queued");
  const from = performance.now();
  const next = steps.next();
  stop.abort();
  assertEquals((await next).done, true);
  const result = awaited.result();
  await client.db.updateTable("agentexec_activity").set({
    status: "complete",
    ended_at: new Date(),
  })
    .where("agent_id", "=", awaited.agentId).execute();
  assertEquals(await result, undefined);
  const ms = performance.now() - from;
  // The broker is given 5 s to confirm that somebody listens.
  assertTrue(ms < TOO_LONG_MS, `it took ${ms} ms`);
  redis.resume();
});
