/**
 * Enqueueing that breaks off in the middle: the real broker and the real database, with an answer that gets
 * lost on the way back.
 */
import type { Queue } from "../../src/broker/broker.ts";
import { type PreparedTask, putTasks } from "../../src/lifecycle/put_tasks.ts";
import { ConnectionError } from "../../src/errors.ts";
import { assertEquals } from "../support/assert.ts";
import { type Bench, type HandWorker, makeBench } from "../client/support.ts";

const LOST = new ConnectionError("the answer was lost", { retryable: true });

/** The queue with another way to enqueue. */
function enqueueingBy(queue: Queue, enqueue: Queue["enqueue"]): Queue {
  return new Proxy(queue, {
    get(target, key) {
      if (key === "enqueue") return enqueue;
      const member: unknown = Reflect.get(target, key);
      return typeof member === "function" ? member.bind(target) : member;
    },
  });
}

function task(given: boolean, agentId: string = crypto.randomUUID()): PreparedTask {
  return {
    agentId,
    given,
    taskName: "ping",
    payload: "",
    metadata: "{}",
    due: {},
    parentId: undefined,
  };
}

async function put(bench: Bench, queue: Queue, each: PreparedTask) {
  const [outcome] = await putTasks({
    queue,
    store: bench.store,
    brokerId: await queue.open(),
    now: Date.now,
  }, [
    each,
  ]);
  return outcome;
}

async function drop(worker: HandWorker): Promise<string | undefined> {
  const claim = await worker.tryClaim();
  if (claim === undefined) return undefined;
  const written = await worker.write(claim, { status: "running" });
  if (written === "refused") await worker.end(claim, { status: "running" });
  return written;
}

Deno.test("putTasks() says refused where the push did not arrive, and the task never runs", async () => {
  await using bench = await makeBench();
  const queue = enqueueingBy(bench.queue, () => Promise.reject(LOST));
  const each = task(false);
  assertEquals(await put(bench, queue, each), { kind: "refused", cause: LOST });
  assertEquals((await bench.store.readRow(each.agentId))?.status, "error");
  assertEquals(await drop(await bench.worker()), undefined);
});

Deno.test("putTasks() says refused where the push arrived and its answer did not, and the task never runs", async () => {
  await using bench = await makeBench();
  const queue = enqueueingBy(bench.queue, async (tasks) => {
    await bench.queue.enqueue(tasks);
    throw LOST;
  });
  const each = task(false);
  assertEquals(await put(bench, queue, each), { kind: "refused", cause: LOST });
  assertEquals(await drop(await bench.worker()), "refused");
  assertEquals((await bench.store.readRow(each.agentId))?.status, "error");
});

Deno.test("putTasks() says accepted where the task runs already while the answer gets lost", async () => {
  await using bench = await makeBench();
  const worker = await bench.worker();
  const queue = enqueueingBy(bench.queue, async (tasks) => {
    await bench.queue.enqueue(tasks);
    await worker.start();
    throw LOST;
  });
  const each = task(false);
  assertEquals(await put(bench, queue, each), { kind: "accepted" });
  assertEquals((await bench.store.readRow(each.agentId))?.status, "running");
});

Deno.test("putTasks() opens a task again that was not accepted, and it runs once", async () => {
  await using bench = await makeBench();
  const worker = await bench.worker();
  const each = task(true);
  const broken = enqueueingBy(bench.queue, () => Promise.reject(LOST));
  assertEquals((await put(bench, broken, each))?.kind, "refused");
  assertEquals(await put(bench, bench.queue, each), { kind: "accepted" });
  assertEquals((await worker.complete()).id, each.agentId);
  assertEquals((await bench.store.readRow(each.agentId))?.status, "complete");
  assertEquals(await worker.tryClaim(), undefined);
});

Deno.test("putTasks() puts a task in again whose first copy is dropped while its row is opened", async () => {
  await using bench = await makeBench();
  const worker = await bench.worker();
  const each = task(true);
  const halfBroken = enqueueingBy(bench.queue, async (tasks) => {
    await bench.queue.enqueue(tasks);
    throw LOST;
  });
  assertEquals((await put(bench, halfBroken, each))?.kind, "refused");
  const claim = await worker.claim();
  assertEquals(await worker.write(claim, { status: "running" }), "refused");
  // The worker is about to end its claim while the second call finds the task known.
  const late = enqueueingBy(bench.queue, async (tasks) => {
    const answers = await bench.queue.enqueue(tasks);
    if (answers[0] === "known") await bench.queue.end(claim);
    return answers;
  });
  assertEquals(await put(bench, late, each), { kind: "accepted" });
  assertEquals((await bench.queue.whereabouts([each.agentId]))[0], "waiting");
  assertEquals((await worker.complete()).id, each.agentId);
});

Deno.test("putTasks() never refuses a task that an earlier call may have got accepted", async () => {
  await using bench = await makeBench();
  const each = task(true);
  assertEquals(await put(bench, bench.queue, each), { kind: "accepted" });
  const broken = enqueueingBy(bench.queue, () => Promise.reject(LOST));
  assertEquals(await put(bench, broken, each), { kind: "uncertain", cause: LOST });
  assertEquals((await bench.store.readRow(each.agentId))?.status, "queued");
  assertEquals((await (await bench.worker()).start()).id, each.agentId);
});
