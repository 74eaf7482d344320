import type { NewTask, Queue } from "../../src/broker/broker.ts";
import { claim, crew, register, task } from "../contract/broker/bench.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { startRedis } from "../support/servers.ts";
import { type RawRedis, rawRedis, strings } from "./raw_redis.ts";
import { openQueue } from "./redis_bench.ts";

/** Far more than a busy machine makes of the same work; the list is a thousand times as long. */
const WIDE = 25;
const CHUNK = 5_000;

function tasks(count: number): NewTask[] {
  return Array.from({ length: count }, () => task());
}

async function fill(queue: Queue, count: number): Promise<void> {
  for (let left = count; left > 0; left -= CHUNK) await queue.enqueue(tasks(Math.min(left, CHUNK)));
}

/** How long Redis itself took for scripts, in microseconds: the least of some tries, and the commands of all. */
async function costOf(
  redis: RawRedis,
  body: () => Promise<unknown>,
): Promise<{ readonly us: number; readonly commands: string }> {
  let [us, commands] = [Infinity, ""];
  for (let round = 0; round < 3; round++) {
    await redis.send("CONFIG", "RESETSTAT");
    await body();
    const stats = String(await redis.send("INFO", "commandstats"));
    us = Math.min(us, Number(/cmdstat_evalsha:calls=\d+,usec=(\d+)/.exec(stats)?.[1]));
    commands += stats;
  }
  return { us, commands };
}

Deno.test("to enqueue 1,000 known tasks costs the same whether 100 or 100,000 wait", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const known = tasks(1_000);
  await queue.enqueue(known);
  await fill(queue, 100);
  const few = await costOf(redis, () => queue.enqueue(known));
  await fill(queue, 100_000);
  const many = await costOf(redis, () => queue.enqueue(known));
  assertTrue(many.us < WIDE * few.us, `${many.us} µs with many, ${few.us} with few`);
  for (const walk of ["lpos", "lrem", "lrange", "linsert"]) {
    assertTrue(!many.commands.includes(`cmdstat_${walk}:`), walk);
  }
});

Deno.test("to enqueue canceled tasks again costs the same whether 100 or 100,000 wait", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const canceled = tasks(300);
  await queue.enqueue(canceled);
  const again = () =>
    costOf(redis, async () => {
      await Promise.all(canceled.map(({ id }) => queue.cancel(id)));
      assertEquals(new Set(await queue.enqueue(canceled)), new Set(["accepted"]));
    });
  const few = await again();
  await fill(queue, 100_000);
  const many = await again();
  assertTrue(many.us < WIDE * few.us, `${many.us} µs with many, ${few.us} with few`);
  assertEquals((await queue.depth()).waiting, 100_300);
});

Deno.test("100,000 foreign entries slow down neither enqueue nor renew, and the last 10,000 are kept", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const own = crew();
  await register(queue, own);
  const work = async () => {
    await queue.enqueue(tasks(1_000));
    await register(queue, own);
  };
  // The first call is made by the script's text, and counted elsewhere.
  await work();
  const before = await costOf(redis, work);
  for (let from = 0; from < 100_000; from += CHUNK) {
    const strays = Array.from({ length: CHUNK }, (_, n) => `stray ${from + n}`);
    // At the head, so that the next claim meets them.
    await redis.send("RPUSH", "jobs", ...strays);
    for (let claims = 0; claims < CHUNK / 1_000; claims++) {
      assertEquals((await claim(queue, own.workerIds[0])).claims.length, 0);
    }
  }
  const after = await costOf(redis, work);
  assertTrue(after.us < WIDE * before.us, `${after.us} µs with strays, ${before.us} without`);
  assertEquals((await queue.depth()).diagnostics, { foreign: 10_000, foreignDropped: 90_000 });
  const oldest = strings(await redis.send("ZRANGE", "{jobs}:foreign", "0", "0"));
  assertTrue(Number(oldest[0]?.slice("stray ".length)) >= 90_000, `${oldest[0]} is kept`);
  assertEquals((await register(queue, own)).diagnostics, {
    foreign: 10_000,
    foreignDropped: 90_000,
  });
});
