import { z } from "zod";
import { Client } from "../../src/client/client.ts";
import {
  AgentexecError,
  ResultExpiredError,
  ResultTimeoutError,
  TaskCanceledError,
  TaskFailedError,
  ValidationError,
} from "../../src/errors.ts";
import { defineTask } from "../../src/task/definition.ts";
import { describeError } from "../../src/task/describe_error.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { recordLogs } from "../support/pools.ts";
import { startRedis } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { rawRedis, type RawReply } from "../broker/raw_redis.ts";
import { makeBench } from "./support.ts";

const research = defineTask("research", {
  context: z.object({ company: z.string() }),
  result: z.object({ summary: z.string(), at: z.coerce.date() }),
});
const ping = defineTask("ping");
const ACME = { company: "Acme" };

Deno.test("result() gives the output of the result's schema, before and after the end", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(research, ACME);
  const waiting = task.result();
  await (await bench.worker()).complete({ summary: "done", at: 0 });
  const expected = { summary: "done", at: new Date(0) };
  assertEquals(await waiting, expected);
  assertEquals(await task.result(), expected);
  assertEquals(await task.wait(), "complete");
});

Deno.test("result() is undefined where the task returned nothing, and null where it returned that", async () => {
  await using bench = await makeBench();
  const worker = await bench.worker();
  const nothing = await bench.client.enqueue(ping);
  await worker.complete();
  assertEquals(await nothing.result(), undefined);
  const none = await bench.client.enqueue(ping);
  await worker.complete(null);
  assertEquals(await none.result(), null);
});

Deno.test("result() of a task that failed throws what is known of it", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(research, ACME);
  const waiting = assertRejects(() => task.result(), TaskFailedError);
  const worker = await bench.worker();
  const claim = await worker.start();
  const { text } = describeError(new TypeError("no model", { cause: new Error("refused") }));
  await worker.end(claim, { status: "error", error: text, message: "Task failed: no model" });
  const error = await waiting;
  assertEquals(error.message, "Task 'research' failed: TypeError: no model");
  assertEquals([error.taskName, error.agentId, error.attempts], ["research", task.agentId, 1]);
  assertTrue(error.cause instanceof Error);
  assertMatch(error.cause.message, /Caused by: Error: refused/);
  assertEquals(await task.wait(), "error");
});

Deno.test("result() of a canceled task throws so, wait() says so", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const waiting = assertRejects(() => task.result(), TaskCanceledError);
  assertEquals(await task.cancel(), "canceled");
  assertEquals((await waiting).agentId, task.agentId);
  assertEquals(await task.wait(), "canceled");
});

Deno.test("result() with a timeout gives up in time, and the task goes on", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  for (const wait of [task.result, task.wait]) {
    const error = await assertRejects(
      () => wait.call(task, { timeout: { milliseconds: 20 } }),
      ResultTimeoutError,
    );
    assertEquals(
      error.message,
      `Cannot wait longer for task 'ping' (${task.agentId}): it has not ended within 0.02 s, and goes on ` +
        `(still queued, no worker of '${bench.queue.name}' has taken it in 0 s: is it declared there, is a slot free?)`,
    );
  }
  await (await bench.worker()).complete("pong");
  assertEquals(await task.result({ timeout: { minutes: 1 } }), "pong");
});

Deno.test("result() that gives up says how far the task is", async () => {
  await using bench = await makeBench();
  const late = { timeout: { milliseconds: 20 } };
  const refusal = async (task: { result(options: typeof late): Promise<unknown> }) =>
    (await assertRejects(() => task.result(late), ResultTimeoutError)).message;
  const due = new Date("2099-01-01T00:00:00Z");
  const delayed = await bench.client.enqueue(ping, undefined, { runAt: due });
  assertMatch(
    await refusal(delayed),
    /\(still queued, it is not due before 2099-01-01T00:00:00\.000Z\)$/,
  );
  const task = await bench.client.enqueue(ping);
  const worker = await bench.worker();
  const claim = await worker.start();
  await worker.progress(claim, "Halfway", 50);
  assertMatch(await refusal(task), /0\.02 s, and goes on \(running, attempt 1: Halfway\)$/);
  const token = await worker.release(claim);
  await bench.store.write({
    agentId: task.agentId,
    token,
    status: "queued",
    message: "No worker here knows it",
  });
  assertMatch(
    await refusal(task),
    /\(still queued, it waits for another try: No worker here knows it\)$/,
  );
});

Deno.test("a wait for a task that no worker takes tells the operator once, though many wait", async () => {
  await using log = await recordLogs();
  await using bench = await makeBench();
  const tasks = await bench.client.enqueueMany(ping, [undefined, undefined]);
  const later = await bench.client.enqueue("later", 1, { delay: { days: 1 } });
  const stop = new AbortController();
  const waits = [...tasks.map((task) => task.result()), later.result({ signal: stop.signal })];
  const ended = Promise.allSettled(waits);
  const told = () => log.messages().filter((line) => line.startsWith("Task "));
  await waitFor(() => told().length > 0, { what: "the warning", timeoutMs: 60_000 });
  const worker = await bench.worker();
  for (const _ of tasks) await worker.complete();
  stop.abort();
  await within(ended, { what: "the waits to end" });
  assertEquals(told().length, 1);
  assertMatch(
    told()[0] ?? "",
    /^Task 'ping' \(\S+\) is still queued, no worker of 'q-\S+' has taken it in \d+(\.\d)? s: is it declared/,
  );
});

Deno.test("result() ends with its signal's reason", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const stop = new AbortController();
  const waiting = assertRejects(() => task.result({ signal: stop.signal }), RangeError);
  stop.abort(new RangeError("enough"));
  assertEquals((await waiting).message, "enough");
  await assertRejects(() => task.wait({ signal: stop.signal }), RangeError);
});

Deno.test("result() refuses a timeout that is a number", async () => {
  await using client = new Client();
  const task = client.handle("ping", crypto.randomUUID());
  const error = await assertRejects(() => task.result({ timeout: 5 as never }), TypeError);
  assertMatch(error.message, /Cannot use 5 as 'timeout'/);
});

Deno.test("a handle of an id without a record says so", async () => {
  await using bench = await makeBench();
  const task = bench.client.handle(ping, crypto.randomUUID());
  for (const call of [task.status, task.result, task.wait, task.cancel]) {
    const error = await assertRejects(() => call.call(task), ResultExpiredError);
    assertEquals(error.agentId, task.agentId);
  }
});

Deno.test("a handle of another task's id says so", async () => {
  await using bench = await makeBench();
  const { agentId } = await bench.client.enqueue(ping);
  const error = await assertRejects(
    () => bench.client.handle(research, agentId).result(),
    AgentexecError,
  );
  assertEquals(error.message, `Cannot use ${agentId} as a task 'research': it is a task 'ping'`);
});

Deno.test("handle() reaches a task of another process, whatever its queue", async () => {
  await using bench = await makeBench();
  const { agentId } = await bench.client.enqueue(ping);
  await using other = new Client({ ...bench.options, queueName: "another" });
  const waiting = other.handle(ping, agentId.toUpperCase()).result();
  await (await bench.worker()).complete("pong");
  assertEquals(await waiting, "pong");
});

Deno.test("result() does not hide that what is stored fails the schema", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(research, ACME);
  await (await bench.worker()).complete({ summary: 5 });
  const error = await assertRejects(() => task.result(), ValidationError);
  assertMatch(
    error.message,
    /^Cannot read the result of task 'research', what is stored does not pass its schema: result\.summary/,
  );
});

Deno.test("result() finds the end although its message was never heard", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const waiting = task.result();
  const worker = await bench.worker();
  // The row alone: as if the worker had died before it told the broker.
  await worker.write(await worker.start(), { status: "complete", result: '"pong"' });
  assertEquals(await within(waiting, { what: "the row to be read again" }), "pong");
});

Deno.test("result() waits through a restart of Redis", async () => {
  await using redis = await startRedis();
  await using bench = await makeBench({ brokerUrl: redis.url });
  const task = await bench.client.enqueue(ping);
  const waiting = task.result();
  const worker = await bench.worker();
  await redis.restart();
  await worker.register();
  await worker.complete("pong");
  assertEquals(await within(waiting, { what: "the result" }), "pong");
});

Deno.test("result() and status() need no broker once the task has ended", async () => {
  const redis = await startRedis();
  await using _ = redis;
  await using bench = await makeBench({ brokerUrl: redis.url });
  const task = await bench.client.enqueue(ping);
  await (await bench.worker()).complete("pong");
  await redis.stop();
  assertEquals(await task.status(), "complete");
  assertEquals(await task.result(), "pong");
});

Deno.test("close() ends what waits for a result", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const waiting = assertRejects(() => task.result(), AgentexecError);
  const watching = assertRejects(async () => {
    for await (const _ of task.progress());
  }, AgentexecError);
  await bench.client.activity.count();
  await bench.client.close();
  for (const error of [await waiting, await watching]) {
    assertMatch(error.message, /closed$/);
  }
});

Deno.test("progress() tells where the task stands, each step, and the end", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  const steps = task.progress()[Symbol.asyncIterator]();
  const next = () => within(steps.next(), { what: "the next step" });
  const first = await next();
  assertEquals(first.value?.status, "queued");
  const worker = await bench.worker();
  const claim = await worker.start();
  const second = next();
  await worker.progress(claim, "Halfway", 50);
  let step = await second;
  // The row may be read between the start and the update: then the start is a step of its own.
  if (step.value?.message !== "Halfway") {
    assertEquals(step.value?.status, "running");
    step = await next();
  }
  assertEquals(step, {
    done: false,
    value: { status: "running", percentage: 50, message: "Halfway" },
  });
  await worker.end(claim, { status: "complete", message: "Task completed", percentage: 100 });
  assertEquals(await next(), {
    done: false,
    value: { status: "complete", percentage: 100, message: "Task completed" },
  });
  assertEquals(await next(), { done: true, value: undefined });
});

Deno.test("progress() of a task that has ended tells its end alone", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  await (await bench.worker()).complete();
  const statuses: string[] = [];
  for await (const { status } of task.progress()) statuses.push(status);
  assertEquals(statuses, ["complete"]);
});

Deno.test("progress() ends its subscription when the loop is left, and by its signal", async () => {
  await using bench = await makeBench();
  const task = await bench.client.enqueue(ping);
  await using redis = await rawRedis(bench.options.brokerUrl);
  const channels = ["progress", "ended"]
    .map((kind) => `{${bench.queue.name}}:${kind}:${task.agentId}`);
  const isHeard = async (listeners: number) => {
    const counts = await redis.send("PUBSUB", "NUMSUB", ...channels) as RawReply[];
    return channels.every((channel) => counts[counts.indexOf(channel) + 1] === listeners);
  };
  /** Asks for one step more than the row has to tell, and waits until it listens for it. */
  const listen = async (options?: { readonly signal: AbortSignal }) => {
    const steps = task.progress(options)[Symbol.asyncIterator]();
    await steps.next();
    const step = steps.next();
    await waitFor(() => isHeard(1), { what: "the watch to listen" });
    return { steps, step };
  };
  const stop = new AbortController();
  const stopped = await listen({ signal: stop.signal });
  stop.abort();
  assertEquals(await stopped.step, { done: true, value: undefined });
  assertTrue(await isHeard(0));
  const left = await listen();
  await (await bench.worker()).complete();
  await within(left.step, { what: "the next step" });
  await left.steps.return?.();
  assertTrue(await isHeard(0));
});

Deno.test("a hundred handles wait at once for tasks of their own", async () => {
  await using bench = await makeBench();
  const tasks = await bench.client.enqueueMany(ping, new Array(100).fill(undefined));
  const results = Promise.all(tasks.map((task) => task.result()));
  const worker = await bench.worker();
  for (let at = 0; at < 100; at++) {
    const claim = await worker.start();
    await worker.end(claim, { status: "complete", result: JSON.stringify(claim.id) });
  }
  assertEquals(await results, tasks.map((task) => task.agentId));
});
