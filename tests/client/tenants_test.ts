import { defineTask, ResultExpiredError, type TaskHandle } from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { makeBench } from "./support.ts";

const ping = defineTask("ping");
const OURS = { metadata: { org: "o-1" } };
const THEIRS = { metadata: { org: "o-2" } };

/** Everything that a handle tells or does, as words. */
async function tried(task: TaskHandle): Promise<string[]> {
  const calls = [
    () => task.status(),
    () => task.wait({ timeout: { seconds: 5 } }),
    () => task.result({ timeout: { seconds: 5 } }),
    () => task.cancel(),
    () => Array.fromAsync(task.progress()),
  ];
  const told: string[] = [];
  for (const call of calls) {
    const error = await assertRejects(call as () => Promise<unknown>, ResultExpiredError);
    told.push(error.message.replaceAll(task.agentId, "ID"));
  }
  return told;
}

Deno.test("a handle with another tenant's metadata behaves as that of an unknown id, whatever the task does", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const worker = await bench.worker();
  const unknown = await tried(client.handle(ping, crypto.randomUUID()));
  const { agentId } = await client.enqueue(ping, undefined, OURS);
  const theirs = client.handle(ping, agentId, THEIRS);
  const byName = client.handle("ping", agentId, { metadata: { none: null } });
  const otherName = client.handle("pong", agentId, THEIRS);
  assertEquals(await tried(theirs), unknown);
  assertEquals(await tried(byName), unknown);
  assertEquals((await tried(otherName)).map((text) => text.replace("pong", "ping")), unknown);
  const claim = await worker.start();
  assertEquals(await tried(theirs), unknown);
  assertEquals(await bench.queue.check([claim]), ["own"]);
  await worker.end(claim, { status: "complete" });
  assertEquals(await tried(theirs), unknown);
  assertEquals(await client.activity.detail(agentId, THEIRS), null);
});

Deno.test("a handle with the tenant's own metadata does all that a handle does", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const worker = await bench.worker();
  const { agentId } = await client.enqueue(ping, undefined, {
    metadata: { org: "o-1", user: 5, more: [1] },
  });
  const task = client.handle(ping, agentId, { metadata: { org: "o-1", user: 5 } });
  assertEquals(await task.status(), "queued");
  await worker.complete();
  assertEquals(await task.wait(), "complete");
  assertEquals((await client.activity.detail(agentId, OURS))?.status, "complete");
  const second = await client.enqueue(ping, undefined, OURS);
  assertEquals(await client.handle(ping, second.agentId, OURS).cancel(), "canceled");
});

Deno.test("a handle keeps the metadata that it was made with, and refuses one that narrows nothing by mistake", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const { agentId } = await client.enqueue(ping, undefined, OURS);
  const metadata = { org: "o-2" };
  const task = client.handle(ping, agentId, { metadata });
  metadata.org = "o-1";
  await assertRejects(() => task.status(), ResultExpiredError);
  for (const bad of [{ org: undefined }, { org: {} }, null, "o-1", ["o-1"]] as never[]) {
    assertThrows(() => client.handle(ping, agentId, { metadata: bad }), TypeError);
    await assertRejects(() => client.activity.detail(agentId, { metadata: bad }), TypeError);
  }
});

Deno.test("metadata that is no plain object is refused as a filter, and lets nobody's task pass", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const { agentId } = await client.enqueue(ping, undefined, OURS);
  for (const metadata of [new Map([["org", "o-2"]]), new Date(), new URLSearchParams("org=o-2")]) {
    const options = { metadata } as never;
    for (
      const call of [
        () => client.activity.detail(agentId, options),
        () => client.activity.list(options),
        () => client.activity.count(options),
      ]
    ) {
      const error = await assertRejects(call as () => Promise<unknown>, TypeError);
      assertMatch(
        error.message,
        /filter must be a plain object.*current value is an? (Map|Date|URL)/,
      );
    }
    assertThrows(() => client.handle(ping, agentId, options), TypeError);
  }
});
