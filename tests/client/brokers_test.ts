import { Client, defineTask } from "@agentexec/core";
import pg from "pg";
import type { ActivityStore } from "../../src/activity/store.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { startPool } from "../support/pools.ts";
import { sharedPostgres, startRedis } from "../support/servers.ts";
import { onBothGrounds, openStores } from "../support/stores.ts";
import { type Bench, makeBench } from "./support.ts";

const ping = defineTask("ping");
const NOTHING = { canceled: 0, otherBrokers: 0 };

/** Makes all tasks older than those that may be about to be pushed. */
async function age(store: ActivityStore): Promise<void> {
  const then = new Date(Date.now() - 600_000).toISOString();
  await store.database().updateTable("agentexec_activity")
    .set({ queued_at: then, created_at: then }).execute();
}

/** Makes brokers look as if nobody had used them for that long. */
async function unused(store: ActivityStore, minutes: number): Promise<void> {
  const then = new Date(Date.now() - minutes * 60_000).toISOString();
  await store.database().updateTable("agentexec_broker").set({ last_used_at: then }).execute();
}

async function brokersOf(store: ActivityStore): Promise<readonly Record<string, unknown>[]> {
  return await store.database().selectFrom("agentexec_broker").selectAll().execute();
}

async function statusesOf(bench: Bench): Promise<readonly string[]> {
  const { items } = await bench.client.activity.list();
  return items.map(({ status }) => status).sort();
}

onBothGrounds(
  "cancelPending() at one broker leaves the tasks of another on the same database alone",
  async (ground) => {
    await using stores = await openStores(ground);
    await using others = await openStores(ground);
    const { databaseUrl, brokerUrl } = stores;
    await using here = await makeBench({ databaseUrl, brokerUrl, queueName: "agents" });
    await using there = await makeBench({
      databaseUrl,
      brokerUrl: others.brokerUrl,
      queueName: "agents",
    });
    for (const bench of [here, there]) {
      await bench.client.enqueueMany(ping, [undefined, undefined]);
      await (await bench.worker()).start();
    }
    await age(here.store);
    assertEquals(await here.client.cancelPending(), { canceled: 0, otherBrokers: 2 });
    assertEquals(await statusesOf(here), ["queued", "queued", "running", "running"]);
    const all = { scope: "queue" } as const;
    assertEquals(await here.client.cancelPending(all), { canceled: 2, otherBrokers: 2 });
    assertEquals(await statusesOf(here), ["canceled", "canceled", "queued", "running"]);
    // Four minutes are within what a supervisor that says it every minute may be late.
    await unused(here.store, 4);
    assertEquals(await here.client.cancelPending(all), { canceled: 0, otherBrokers: 2 });
    assertEquals(await there.client.cancelPending(all), { canceled: 2, otherBrokers: 0 });
  },
);

Deno.test("the tasks of a Redis that lost its data and came back as another are canceled, once nobody used the former", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  const options = { brokerUrl: redis.url, databaseUrl: database.url, queueName: "agents" };
  {
    await using former = await makeBench(options);
    await former.client.enqueueMany(ping, [undefined, undefined, undefined]);
    await (await former.worker()).start();
    await age(former.store);
  }
  const flushed = await new Deno.Command("redis-cli", {
    args: ["-p", String(redis.port), "flushall"],
  }).output();
  assertTrue(flushed.success);
  await using bench = await makeBench(options);
  const { client, store } = bench;
  const task = await client.enqueue(ping);
  assertEquals(await client.cancelPending(), { canceled: 0, otherBrokers: 3 });
  assertEquals((await brokersOf(store)).length, 2);
  await unused(store, 6);
  assertEquals(await client.cancelPending(), { canceled: 3, otherBrokers: 0 });
  assertEquals(await task.status(), "queued");
  assertEquals(await client.cancelPending(), NOTHING);
});

Deno.test("tasks that a client enqueued by a former id of its own Redis are known for this one's", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  const options = { brokerUrl: redis.url, databaseUrl: database.url, queueName: "agents" };
  await using old = await makeBench(options);
  await old.client.enqueue(ping);
  await new Deno.Command("redis-cli", { args: ["-p", String(redis.port), "flushall"] }).output();
  await using bench = await makeBench(options);
  const late = await old.client.enqueue(ping);
  await age(bench.store);
  assertEquals(await bench.client.cancelPending(), { canceled: 0, otherBrokers: 1 });
  assertEquals(await late.status(), "queued");
  const all = { scope: "queue" } as const;
  assertEquals(await bench.client.cancelPending(all), { canceled: 1, otherBrokers: 1 });
  assertEquals(await late.status(), "canceled");
});

Deno.test("rows of the id that a Redis had before a new client came first after its loss are its own", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  const options = { brokerUrl: redis.url, databaseUrl: database.url, queueName: "agents" };
  await using old = await makeBench(options);
  const lost = await old.client.enqueue(ping);
  const supervisor = { supervisorId: crypto.randomUUID(), workerIds: [], leaseMs: 10_000 };
  const former = await old.queue.open();
  await old.queue.renew(supervisor);
  await new Deno.Command("redis-cli", { args: ["-p", String(redis.port), "flushall"] }).output();
  await using fresh = await makeBench(options);
  assertTrue(await fresh.queue.open() !== former);
  await old.queue.renew(supervisor);
  await age(fresh.store);
  assertEquals(await fresh.client.cancelPending(), { canceled: 1, otherBrokers: 0 });
  assertEquals(await lost.status(), "canceled");
});

Deno.test("a broker of which nobody has said anything is left alone for 5 minutes first", async () => {
  await using bench = await makeBench();
  const { client, store, queue } = bench;
  const row = { taskName: "ping", queue: queue.name, brokerId: "b", context: null, metadata: "{}" };
  await store.insertTasks([{ ...row, agentId: crypto.randomUUID() }]);
  await age(store);
  assertEquals(await client.cancelPending(), { canceled: 0, otherBrokers: 1 });
  assertEquals(await client.cancelPending(), { canceled: 0, otherBrokers: 1 });
  await unused(store, 6);
  assertEquals(await client.cancelPending(), { canceled: 1, otherBrokers: 0 });
});

Deno.test("a supervisor says that it uses its broker when it starts, a client when it enqueues, without passwords", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "secret"] });
  await using database = await sharedPostgres().freshDatabase();
  const brokerUrl = redis.url.replace("redis://", "redis://:secret@");
  await using bench = await makeBench({ brokerUrl, databaseUrl: database.url, queueName: "other" });
  assertEquals(await brokersOf(bench.store), []);
  await bench.client.enqueue(ping);
  await using pool = await startPool({ brokerUrl, databaseUrl: database.url });
  assertTrue(pool.pool.workers.length > 0);
  const brokers = await brokersOf(bench.store);
  assertEquals(brokers.map(({ queue }) => queue).sort(), ["fixture", "other"]);
  assertEquals(brokers.find(({ queue }) => queue === "other")?.id, await bench.queue.open());
  for (const { address } of brokers) {
    assertTrue(String(address).includes(String(redis.port)), String(address));
    assertTrue(!String(address).includes("secret"), String(address));
  }
});

Deno.test("a client that may not write the table of brokers enqueues all the same", async () => {
  await using bench = await makeBench();
  const user = `producer_${crypto.randomUUID().replaceAll("-", "")}`;
  const admin = new pg.Client({ connectionString: bench.options.databaseUrl });
  await admin.connect();
  try {
    await admin.query(`create user ${user} password 'password'`);
    await admin.query(
      `grant select, insert, update on agentexec_activity, agentexec_activity_log to ${user}`,
    );
    await admin.query(`grant select on agentexec_migration to ${user}`);
    const databaseUrl = new URL(bench.options.databaseUrl);
    databaseUrl.username = user;
    databaseUrl.password = "password";
    await using client = new Client({ ...bench.options, databaseUrl: databaseUrl.href });
    const task = await client.enqueue(ping);
    assertEquals(await task.status(), "queued");
    assertEquals(await brokersOf(bench.store), []);
  } finally {
    await admin.query(`drop owned by ${user}`).catch(() => {});
    await admin.query(`drop user if exists ${user}`).catch(() => {});
    await admin.end();
  }
});
