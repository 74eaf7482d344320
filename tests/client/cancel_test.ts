import { AgentexecError, ResultExpiredError } from "../../src/errors.ts";
import { defineTask } from "../../src/task/definition.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { waitFor } from "../support/wait.ts";
import { type Bench, makeBench } from "./support.ts";

const ping = defineTask("ping");

Deno.test("cancel() of a waiting task ends it, and no worker gets it", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  assertEquals(await bench.client.cancel(task.agentId.toUpperCase()), "canceled");
  assertEquals(await task.status(), "canceled");
  assertEquals(await (await bench.worker()).tryClaim(), undefined);
  assertEquals(await task.cancel(), "ended");
});

Deno.test("cancel() of a delayed task ends it", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping, undefined, { delay: { hours: 1 } });
  assertEquals(await task.cancel(), "canceled");
  assertEquals((await bench.client.depth()).delayed, 0);
});

Deno.test("cancel() of a running task asks its worker to stop", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const worker = await bench.worker();
  const claim = await worker.start();
  assertEquals(await task.cancel(), "requested");
  assertEquals(await bench.queue.check([claim]), ["cancel"]);
  assertEquals(await task.status(), "running");
  await worker.end(claim, { status: "canceled" });
  assertEquals(await task.wait(), "canceled");
});

Deno.test("cancel() of a task that has ended changes nothing", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  await (await bench.worker()).complete("pong");
  assertEquals(await task.cancel(), "ended");
  assertEquals(await task.result(), "pong");
});

Deno.test("cancel() of what is claimed and has not started keeps the handler from starting", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const worker = await bench.worker();
  const claim = await worker.claim();
  assertEquals(await task.cancel(), "canceled");
  assertEquals(await worker.write(claim, { status: "running" }), "refused");
});

Deno.test("cancel() of a run that was given back, while its row still says that it runs, ends it", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const worker = await bench.worker();
  const claim = await worker.start();
  const token = await worker.release(claim);
  assertEquals(await task.cancel(), "canceled");
  const late = await bench.store.write({ agentId: task.agentId, token, status: "queued" });
  assertEquals(late.kind, "refused");
  assertEquals(await task.status(), "canceled");
  assertEquals(await worker.tryClaim(), undefined);
});

Deno.test("a run that is given back after its cancel was requested does not run again", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const worker = await bench.worker();
  const claim = await worker.start();
  assertEquals(await task.cancel(), "requested");
  await worker.release(claim);
  assertEquals(await worker.tryClaim(), undefined);
});

Deno.test("cancel() of a task that the broker lost ends it where no worker claims it again", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const worker = await bench.worker();
  const claim = await worker.start();
  await bench.queue.end(claim);
  assertEquals(await task.cancel(), "canceled");
  assertEquals(await task.status(), "canceled");
});

Deno.test("cancel() and the end of a run come to one end, the same for all", async () => {
  await using bench = await makeBench();
  const worker = await bench.worker();
  for (let at = 0; at < 30; at++) {
    const task = await bench.client.enqueue(ping);
    const claim = await worker.start();
    const [canceled, written] = await Promise.all([
      task.cancel(),
      worker.end(claim, { status: "complete" }),
    ]);
    const status = await task.wait();
    assertEquals(status === "complete", written === "written", `${canceled} and ${written}`);
    if (canceled === "canceled") assertEquals(status, "canceled");
    if (canceled === "ended") assertEquals(status, "complete");
  }
});

Deno.test("cancel() and a claim at the same moment come to one end, and a canceled task never starts", async () => {
  await using bench = await makeBench();
  const worker = await bench.worker();
  for (let at = 0; at < 30; at++) {
    const task = await bench.client.enqueue(ping);
    const canceling = task.cancel();
    const claim = await worker.tryClaim();
    const started = claim !== undefined &&
      await worker.write(claim, { status: "running" }) === "written";
    const outcome = await canceling;
    assertEquals(outcome, started ? "requested" : "canceled");
    if (claim === undefined) continue;
    await worker.end(claim, { status: "canceled" });
    assertEquals(await task.wait(), "canceled");
  }
});

Deno.test("cancel() says so where there is no record, and where it is no task", async () => {
  await using bench = await makeBench();
  await assertRejects(() => bench.client.cancel(crypto.randomUUID()), ResultExpiredError);
  await assertRejects(() => bench.client.cancel("17"), TypeError);
  const id = await bench.client.activity.create({ taskName: "import" });
  const error = await assertRejects(() => bench.client.cancel(id), AgentexecError);
  assertEquals(error.message, `Cannot cancel ${id}: it is a record 'import', not a task`);
});

Deno.test('cancelPending({ scope: "queue" }) cancels all of its queue and nothing of another', async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const elsewhere = defineTask("ping", { queue: `q-${crypto.randomUUID()}` });
  const worker = await bench.worker();
  const tasks = await client.enqueueMany(ping, new Array(1_200).fill(undefined));
  const delayed = await client.enqueue(ping, undefined, { delay: { hours: 1 } });
  const other = await client.enqueue(elsewhere);
  await worker.complete();
  const claim = await worker.start();
  assertEquals(await client.cancelPending({ scope: "queue" }), {
    canceled: 1_200,
    otherBrokers: 0,
  });
  assertEquals(await tasks[0]?.status(), "complete");
  assertEquals(await delayed.status(), "canceled");
  assertEquals(await other.status(), "queued");
  // The running one is over in its row, and its worker is told to stop.
  assertEquals(await bench.queue.check([claim]), ["cancel"]);
  assertEquals(await worker.end(claim, { status: "complete" }), "refused");
  assertEquals(
    await client.activity.count({ status: ["queued", "running"], queue: bench.queue.name }),
    0,
  );
  assertEquals(await worker.tryClaim(), undefined);
  assertEquals((await client.cancelPending({ scope: "queue" })).canceled, 0);
});

/** Makes rows look as if they had been queued that long ago. */
async function age(bench: Bench, minutes: number): Promise<void> {
  const then = new Date(new Date().getTime() - minutes * 60_000);
  await bench.store.database().updateTable("agentexec_activity")
    .set({ queued_at: then, created_at: then }).execute();
}

Deno.test("cancelPending() cancels what no living supervisor renews, and leaves what is alive", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  const [alive, dead] = [await bench.worker(), await bench.worker({ leaseMs: 50 })];
  const kept = await client.enqueue(ping);
  await alive.start();
  const orphan = await client.enqueue(ping);
  await dead.start();
  const waiting = await client.enqueue(ping);
  await age(bench, 10);
  await waitFor(
    async () => (await bench.queue.whereabouts([orphan.agentId]))[0] === "abandoned",
    { what: "the lease to run out" },
  );
  assertEquals((await client.cancelPending()).canceled, 1);
  assertEquals(await orphan.status(), "canceled");
  assertEquals(await kept.status(), "running");
  assertEquals(await waiting.status(), "queued");
  assertEquals((await client.cancelPending()).canceled, 0);
});

Deno.test("cancelPending() leaves a task alone whose supervisor gives a sign of life", async () => {
  await using bench = await makeBench();
  const worker = await bench.worker({ leaseMs: 50 });
  const task = await bench.client.enqueue(ping);
  await worker.start();
  await waitFor(
    async () => (await bench.queue.whereabouts([task.agentId]))[0] === "abandoned",
    { what: "the lease to run out, as after an outage of the broker" },
  );
  const canceling = bench.client.cancelPending();
  const since = performance.now();
  await waitFor(() => performance.now() - since > 500, { what: "the first look to be over" });
  await worker.register(30_000);
  assertEquals((await canceling).canceled, 0);
  assertEquals(await task.status(), "running");
});

Deno.test("cancelPending() cancels queued rows that the broker knows nowhere once they are old", async () => {
  await using bench = await makeBench();
  const { client, store, queue } = bench;
  const [old, delayed, claimed] = [
    await client.enqueue(ping),
    await client.enqueue(ping, undefined, { delay: { hours: 1 } }),
    await client.enqueue(ping),
  ];
  const agentId = crypto.randomUUID();
  await (await bench.worker()).claim();
  const lost = { agentId, taskName: "ping", queue: queue.name, brokerId: await queue.open() };
  await store.insertTasks([{ ...lost, context: null, metadata: "{}" }]);
  assertEquals((await client.cancelPending()).canceled, 0);
  await age(bench, 1);
  assertEquals((await client.cancelPending()).canceled, 1);
  assertEquals(await client.handle(ping, agentId).status(), "canceled");
  for (const task of [old, delayed, claimed]) assertEquals(await task.status(), "queued");
});

Deno.test("cancelPending() cancels none of 500 tasks that are being enqueued meanwhile", async () => {
  await using bench = await makeBench();
  const enqueueing = Promise.all(
    Array.from({ length: 500 }, () => bench.client.enqueue(ping)),
  );
  let canceled = 0;
  let done = false;
  const canceling = (async () => {
    while (!done) canceled += (await bench.client.cancelPending()).canceled;
  })();
  await enqueueing;
  done = true;
  await canceling;
  assertEquals(canceled, 0);
  assertEquals((await bench.client.depth()).waiting, 500);
  assertEquals(await bench.client.activity.count({ status: "queued" }), 500);
});

Deno.test("cancelPending() refuses a scope that is none", async () => {
  await using bench = await makeBench();
  const error = await assertRejects(
    () => bench.client.cancelPending({ scope: "all" as never }),
    TypeError,
  );
  assertEquals(
    error.message,
    `Cannot cancel pending tasks: 'scope' must be "abandoned" or "queue", current value is "all"`,
  );
  assertTrue(error instanceof TypeError);
});
