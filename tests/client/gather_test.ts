import { gather, type TaskHandle } from "@agentexec/core";
import { z } from "zod";
import {
  ResultExpiredError,
  ResultTimeoutError,
  TaskCanceledError,
  TaskFailedError,
} from "../../src/errors.ts";
import { defineTask } from "../../src/task/definition.ts";
import { assertEquals, assertRejects } from "../support/assert.ts";
import { recordLogs } from "../support/pools.ts";
import { rawRedis, type RawReply } from "../broker/raw_redis.ts";
import { waitFor, within } from "../support/wait.ts";
import { makeBench } from "./support.ts";

const day = defineTask("day", { result: z.coerce.date() });
const word = defineTask("word", { result: z.string() });

Deno.test("gather() gives the results in the order of the handles, each as its schema makes it", async () => {
  await using _ = await recordLogs();
  await using bench = await makeBench();
  const first = await bench.client.enqueue(day);
  const second = await bench.client.enqueue(word);
  // The other way round: the order is that of the handles, not of the ends.
  const waiting = gather([second, first]);
  const worker = await bench.worker();
  await worker.complete(0);
  await worker.complete("x");
  const [text, date] = await within(waiting, { what: "the results" });
  const checked: [string, Date] = [text, date];
  assertEquals(checked, ["x", new Date(0)]);
  const many: Date[] = await gather([first, first, first]);
  assertEquals(many.length, 3);
  assertEquals(await gather([]), []);
});

Deno.test("gather() throws the first failure at once, and the others go on without anybody listening", async () => {
  await using _ = await recordLogs();
  await using bench = await makeBench();
  await using redis = await rawRedis(bench.options.brokerUrl);
  const tasks = await bench.client.enqueueMany(word, [undefined, undefined, undefined]);
  const channels = tasks.map(({ agentId }) => `{${bench.queue.name}}:ended:${agentId}`);
  const listeners = async () => {
    const counts = await redis.send("PUBSUB", "NUMSUB", ...channels) as RawReply[];
    return channels.map((channel) => Number(counts[counts.indexOf(channel) + 1]));
  };
  const waiting = assertRejects(() => gather(tasks), TaskFailedError);
  await waitFor(async () => (await listeners()).every((n) => n === 1), {
    what: "all to be waited for",
  });
  const worker = await bench.worker();
  const good = await worker.start();
  const bad = await worker.start();
  await worker.end(bad, { status: "error", error: "Error: no model" });
  const error = await within(waiting, { what: "the failure" });
  assertEquals([error.agentId, error.taskName], [bad.id, "word"]);
  await waitFor(async () => (await listeners()).every((n) => n === 0), {
    what: "nobody to listen any more",
  });
  await worker.end(good, { status: "complete", result: '"done"' });
  await worker.complete("done");
  const others = tasks.filter(({ agentId }) => agentId !== bad.id);
  assertEquals(await gather(others), ["done", "done"]);
});

Deno.test("gather() ends by its timeout, by its signal, at a canceled task and at an unknown one", async () => {
  await using _ = await recordLogs();
  await using bench = await makeBench();
  const tasks = await bench.client.enqueueMany(word, [undefined, undefined]);
  await assertRejects(
    () => gather(tasks, { timeout: { milliseconds: 20 } }),
    ResultTimeoutError,
  );
  const stop = new AbortController();
  const waiting = assertRejects(() => gather(tasks, { signal: stop.signal }), RangeError);
  stop.abort(new RangeError("enough"));
  await waiting;
  await assertRejects(() => gather(tasks, { signal: stop.signal }), RangeError);
  await tasks[1]?.cancel();
  await assertRejects(() => gather(tasks), TaskCanceledError);
  const unknown = bench.client.handle(word, crypto.randomUUID());
  await assertRejects(() => gather([...tasks.slice(0, 1), unknown]), ResultExpiredError);
});

Deno.test("gather() names what is no handle", async () => {
  const wrong: readonly [unknown, string][] = [
    [5, "the handles must be an array, current value is a number"],
    [["x"], "handles[0] must be what enqueue or handle gave, current value is a string"],
    [
      [Promise.resolve()],
      "handles[0] must be what enqueue or handle gave, current value is a Promise",
    ],
  ];
  for (const [handles, message] of wrong) {
    const error = await assertRejects(() => gather(handles as TaskHandle[]), TypeError);
    assertEquals(error.message, `Cannot gather: ${message}`);
  }
});
