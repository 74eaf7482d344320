import type { Queue } from "../../src/broker/broker.ts";
import { task } from "../contract/broker/bench.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { waitFor } from "../support/wait.ts";
import { claimAll, openQueue, testFolder } from "./sqlite_bench.ts";

/** How often a timer of 10 ms could run while `work` did. */
async function turnsDuring(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let ended = false;
  const noted = work.finally(() => ended = true);
  await waitFor(() => ++turns && ended, { what: "the work to end", timeoutMs: 60_000 });
  await noted;
  return turns;
}

async function enqueueEach(queue: Queue, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let n = 0; n < count; n++) {
    const one = task();
    await queue.enqueue([one]);
    ids.push(one.id);
  }
  return ids;
}

Deno.test("a program that enqueues task after task still has its timers and signals served", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const work = enqueueEach(opened.queue, 300);
  const turns = await turnsDuring(work);
  assertTrue(turns > 3, `the event loop turned ${turns} times`);
  assertEquals(await claimAll(opened.queue), await work);
});

Deno.test("a program that asks again and again still has its timers and signals served", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  async function ask(): Promise<void> {
    for (let n = 0; n < 10_000; n++) await opened.queue.depth();
  }
  const turns = await turnsDuring(ask());
  assertTrue(turns > 3, `the event loop turned ${turns} times`);
});

Deno.test("many large tasks at once are written in several goes, in their order", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  const payload = "x".repeat(1024 * 1024);
  const tasks = Array.from({ length: 60 }, () => task({ payload }));
  let settled = 0;
  const calls = tasks.map((each) => queue.enqueue([each]).finally(() => settled++));
  await calls[0];
  // The calls of one transaction are answered together.
  for (let n = 0; n < 5; n++) await Promise.resolve();
  assertTrue(settled < tasks.length, "all were written in one go");
  await Promise.all(calls);
  assertEquals(await claimAll(queue), tasks.map(({ id }) => id));
});
