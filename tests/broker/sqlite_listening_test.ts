import type { Queue } from "../../src/broker/broker.ts";
import { SqliteBroker } from "../../src/broker/sqlite/sqlite_broker.ts";
import { task } from "../contract/broker/bench.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { BrokerProcess } from "../support/broker_process.ts";
import { waitFor, within } from "../support/wait.ts";
import { openQueue, openQueueOf, testFolder } from "./sqlite_bench.ts";

Deno.test("who is told of a message may read and write at once", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  const topic = { kind: "progress", id: crypto.randomUUID() } as const;
  const answers: Promise<unknown>[] = [];
  const heard: string[] = [];
  await queue.subscribe(topic, {
    onMessage: () => answers.push(queue.depth(), queue.enqueue([task()])),
  });
  await queue.subscribe(topic, { onMessage: (message) => heard.push(message) });
  for (const message of ["1", "2"]) await queue.publish(topic, message);
  await waitFor(() => heard.length === 2, { what: "both messages" });
  assertEquals((await Promise.allSettled(answers)).map(({ status }) => status), [
    "fulfilled",
    "fulfilled",
    "fulfilled",
    "fulfilled",
  ]);
  assertEquals([heard, (await queue.depth()).waiting], [["1", "2"], 2]);
});

Deno.test("who ends a subscription while a message is told hears none of those that follow", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  const topic = { kind: "progress", id: crypto.randomUUID() } as const;
  const heard: string[] = [];
  const unsubscribe = await queue.subscribe(topic, {
    onMessage: (message) => {
      heard.push(message);
      unsubscribe();
    },
  });
  // In one transaction, so that they are read together.
  await Promise.all(["1", "2"].map((message) => queue.publish(topic, message)));
  const last = Promise.withResolvers<string>();
  await queue.subscribe(topic, { onMessage: last.resolve });
  await queue.publish(topic, "3");
  assertEquals([await last.promise, heard], ["3", ["1"]]);
});

// What would go on is found by the leak sanitizers.
Deno.test("a broker that is closed while a subscription begins leaves nothing that goes on", async () => {
  await using folder = await testFolder();
  const broker = new SqliteBroker(folder.file);
  await broker.connect();
  const queue = broker.queue("jobs");
  await queue.open();
  const topic = { kind: "progress", id: crypto.randomUUID() } as const;
  const beginning = queue.subscribe(topic, { onMessage: () => {} });
  // Which of the two is first depends on how busy the process is.
  const over = beginning.then(
    (unsubscribe) => unsubscribe(),
    (error) => assertMatch(String(error), /^ConnectionError: .*the connection was closed/),
  );
  await broker.close();
  await over;
});

Deno.test("who may not watch the file is woken by looking, as often as two processes take turns", async () => {
  await using folder = await testFolder();
  await using here = await openQueue(folder.file);
  // What it may not read it may not watch; SQLite reads it all the same.
  await using process = new BrokerProcess({ flags: [`--deny-read=${folder.file}-wal`] });
  const there = await openQueueOf(process.broker(`sqlite:${folder.file}`));
  const topic = { kind: "progress", id: crypto.randomUUID() } as const;
  const heard: string[] = [];
  await there.queue.subscribe(topic, { onMessage: (message) => heard.push(message) });
  // Each turn begins when the one before was just looked for: by the net alone, 500 ms apart, they take 30 s.
  const turns = async () => {
    for (let n = 1; n <= 60; n++) {
      await here.queue.publish(topic, String(n));
      await waitFor(() => heard.length === n, { what: `message ${n}` });
    }
  };
  await within(turns(), { what: "60 turns", timeoutMs: 20_000 });
});

/** The shortest of some times that it took to write messages, in milliseconds. */
async function publishMs(queue: Queue): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < 30; round++) {
    const since = performance.now();
    for (let n = 0; n < 20; n++) await queue.publish({ kind: "ended", id: "nobody's" }, "ended");
    times.push(performance.now() - since);
  }
  return Math.min(...times);
}

Deno.test("a change costs no more where thousands listen, each to its own task", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  const listen = () =>
    queue.subscribe({ kind: "ended", id: crypto.randomUUID() }, { onMessage: () => {} });
  await listen();
  const withOne = await publishMs(queue);
  for (let n = 1; n < 5_000; n++) await listen();
  const withAll = await publishMs(queue);
  assertTrue(withAll < 8 * withOne, `${withOne} ms with one listener, ${withAll} ms with 5,000`);
});
