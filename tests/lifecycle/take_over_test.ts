/**
 * A task's id that is known already: in another queue, by another broker that lives, or by one that is gone.
 */
import { Client, defineTask, TaskConflictError } from "@agentexec/core";
import { endRun } from "../../src/lifecycle/run.ts";
import { type Bench, makeBench } from "../client/support.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { sharedPostgres, startRedis } from "../support/servers.ts";
import { onBothGrounds, openStores } from "../support/stores.ts";

const ping = defineTask("ping");

/** Makes brokers look as if nobody had used them for six minutes. */
async function unused({ store }: Bench): Promise<void> {
  const then = new Date(Date.now() - 360_000).toISOString();
  await store.database().updateTable("agentexec_broker").set({ last_used_at: then }).execute();
}

async function flush(port: number): Promise<void> {
  const args = ["-p", String(port), "flushall"];
  assertTrue((await new Deno.Command("redis-cli", { args }).output()).success);
}

onBothGrounds(
  "enqueue() with an id of another queue is a conflict that names both",
  async (ground) => {
    await using stores = await openStores(ground);
    const { brokerUrl, databaseUrl } = stores;
    await using one = await makeBench({ brokerUrl, databaseUrl, queueName: "one" });
    await using other = await makeBench({ brokerUrl, databaseUrl, queueName: "other" });
    const { agentId } = await one.client.enqueue(ping);
    for (const _ of ["queued", "running", "complete"]) {
      const error = await assertRejects(
        () => other.client.enqueue(ping, undefined, { agentId }),
        TaskConflictError,
      );
      assertEquals(error.agentId, agentId);
      assertTrue(/queue 'one'.*queue 'other'/.test(error.message), error.message);
      assertEquals((await other.queue.depth()).waiting, 0);
      if (_ === "queued") await (await one.worker()).complete();
    }
  },
);

onBothGrounds(
  "enqueue() with an id that another broker in use has is a conflict that names it",
  async (ground) => {
    await using stores = await openStores(ground);
    await using others = await openStores(ground);
    const { databaseUrl } = stores;
    const queueName = "agents";
    await using here = await makeBench({ databaseUrl, brokerUrl: stores.brokerUrl, queueName });
    await using there = await makeBench({ databaseUrl, brokerUrl: others.brokerUrl, queueName });
    const { agentId } = await here.client.enqueue(ping);
    const again = () => there.client.enqueue(ping, undefined, { agentId });
    const error = await assertRejects(again, TaskConflictError);
    const row = await here.store.database().selectFrom("agentexec_broker").selectAll()
      .where("id", "=", await here.queue.open()).executeTakeFirstOrThrow();
    assertTrue(error.message.includes(String(row["address"])), error.message);
    assertEquals((await there.queue.depth()).waiting, 0);
    // Once nobody has used that one for five minutes, it is gone.
    await unused(here);
    assertEquals((await again()).agentId, agentId);
    assertEquals((await (await there.worker()).complete()).id, agentId);
    assertEquals((await here.store.readRow(agentId))?.status, "complete");
  },
);

Deno.test("a task of a Redis that lost its data is opened again by the same id, whether it waited or ran", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  const options = { brokerUrl: redis.url, databaseUrl: database.url, queueName: "agents" };
  const ids: string[] = [];
  {
    await using former = await makeBench(options);
    const worker = await former.worker();
    for (const _ of [1, 2]) ids.push((await former.client.enqueue(ping)).agentId);
    assertEquals((await worker.start()).id, ids[0]);
  }
  await flush(redis.port);
  await using bench = await makeBench(options);
  for (const agentId of ids) await bench.client.enqueue(ping, undefined, { agentId });
  assertEquals((await bench.queue.depth()).waiting, 2);
  const worker = await bench.worker();
  const ran = [await worker.complete(), await worker.complete()];
  assertEquals(
    ran.map(({ id, attempt }) => [id, attempt]).sort(),
    [
      [ids[0], 2],
      [ids[1], 1],
    ].sort(),
  );
  for (const id of ids) assertEquals((await bench.store.readRow(id))?.status, "complete");
  assertEquals(await worker.tryClaim(), undefined);
});

Deno.test("a run whose end its row refuses since another broker has the task ends here, and does not run again", async () => {
  await using redis = await startRedis();
  await using other = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  const options = { databaseUrl: database.url, queueName: "agents" };
  await using here = await makeBench({ ...options, brokerUrl: redis.url });
  await using there = await makeBench({ ...options, brokerUrl: other.url });
  await using client = new Client({ ...options, brokerUrl: other.url });
  const { agentId } = await here.client.enqueue(ping);
  const claim = await (await here.worker()).start();
  await client.enqueue(ping);
  // As a version of the library that did not look at brokers left it.
  const [from, to] = [await here.queue.open(), await there.queue.open()];
  await here.store.moveTasks([agentId], { from, to });
  await there.store.write({ agentId, token: "9000000000000000", status: "queued" });
  const outcome = await endRun(claim, { status: "complete", message: "Done" }, {
    queue: here.queue,
    store: here.store,
    brokerId: from,
    storeContext: true,
    lost: new AbortController().signal,
    stopping: new AbortController().signal,
    onRefused: () => {},
  });
  assertEquals(outcome.kind, "overruled");
  assertEquals(await here.queue.whereabouts([agentId]), ["unknown"]);
  assertEquals((await here.store.readRow(agentId))?.status, "queued");
});
