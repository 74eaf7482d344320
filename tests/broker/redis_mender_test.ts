import type { Queue } from "../../src/broker/broker.ts";
import {
  type BrokerContract,
  claim,
  claimOne,
  contractTest,
  crew,
  LONG_LEASE,
  only,
  register,
  sweepUntilTaken,
  task,
} from "../contract/broker/bench.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { sharedRedisUrl, startRedis } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { rawRedis } from "./raw_redis.ts";
import { openQueue } from "./redis_bench.ts";
import { redisContract } from "./redis_ground.ts";

const contract: BrokerContract = redisContract("RedisBroker");

/** Mends until `done`, as a supervisor's sweeps do. */
async function mendUntil(
  queue: Queue,
  supervisorId: string,
  { done, what }: { readonly done: () => Promise<boolean>; readonly what: string },
): Promise<void> {
  await waitFor(async () => {
    await queue.mend({ supervisorId, leaseMs: LONG_LEASE });
    return await done();
  }, { what, timeoutMs: 60_000 });
}

contractTest(
  contract,
  "tasks whose places were evicted are put into them again, by the mender alone",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const [own, sweeper] = [crew(), crew()];
    const { supervisorId } = sweeper;
    await register(queue, own);
    const [claimed, first, second, delayed] = [
      task(),
      task(),
      task(),
      task({ delayMs: 3_600_000 }),
    ];
    const tasks = [claimed, first, second, delayed];
    await queue.enqueue([claimed]);
    await claimOne(queue, own.workerIds[0]);
    await queue.enqueue([first]);
    await waitFor(async () => ((await queue.depth()).oldestMs ?? 0) >= 2, {
      what: "one to have waited longer than the other",
    });
    await queue.enqueue([second, delayed]);
    const keys = ["delayed", "claims", "supervisors", "workers", `owner:${own.workerIds[0]}`];
    await redis.send("DEL", bench.name, ...keys.map((key) => `{${bench.name}}:${key}`));
    // To enqueue them again changes nothing.
    assertEquals(await queue.enqueue(tasks), ["known", "known", "known", "known"]);
    const { waiting, running, delayed: later } = await queue.depth();
    assertEquals([waiting, running, later], [0, 0, 0]);
    await register(queue, sweeper);
    const told = queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal });
    await mendUntil(queue, supervisorId, {
      done: async () => (await queue.depth()).waiting === 2,
      what: "the waiting tasks to be in the queue again",
    });
    await within(told, { what: "a hint of them", timeoutMs: 4_000 });
    assertEquals(
      await queue.whereabouts(tasks.map(({ id }) => id)),
      ["claimed", "waiting", "waiting", "delayed"],
    );
    const { claims } = await claim(queue, sweeper.workerIds[0], { slots: 9 });
    assertEquals(claims.map(({ id }) => id), [first.id, second.id]);
    // Its owner is nowhere: the claim lapses after the lease that it was given.
    await redis.send("ZADD", `{${bench.name}}:claims`, "1", claimed.id);
    assertEquals(only(await sweepUntilTaken(queue, sweeper)).id, claimed.id);
  },
);

contractTest(
  contract,
  "a living worker whose claim lost its lease keeps it",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const own = crew();
    const { supervisorId } = own;
    await register(queue, own);
    await queue.enqueue([task()]);
    const run = await claimOne(queue, own.workerIds[0]);
    await redis.send(
      "DEL",
      ...["claims", `owner:${own.workerIds[0]}`].map((key) => `{${bench.name}}:${key}`),
    );
    await mendUntil(queue, supervisorId, {
      done: async () => (await queue.whereabouts([run.id]))[0] === "claimed",
      what: "the claim to have a lease again",
    });
    assertEquals((await register(queue, own)).owned.map(({ id }) => id), [run.id]);
    assertEquals(await queue.check([run]), ["own"]);
  },
);

contractTest(
  contract,
  "one supervisor at a time mends, and another when it has left",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const [one, other] = [crew(), crew()];
    const turn = () => redis.send("GET", `{${bench.name}}:maintainer`);
    const mend = ({ supervisorId }: { readonly supervisorId: string }) =>
      queue.mend({ supervisorId, leaseMs: LONG_LEASE });
    await mend(one);
    await mend(other);
    assertEquals(await turn(), one.supervisorId);
    await queue.deregister(one.supervisorId);
    await mend(other);
    assertEquals(await turn(), other.supervisorId);
    // A clock that was set back gives nobody a turn of hours.
    await redis.send("PEXPIRE", `{${bench.name}}:maintainer`, "3600000");
    await mend(one);
    assertEquals(await turn(), one.supervisorId);
  },
);

Deno.test("among 100,000 waiting tasks a lost one is found, by scripts that are over in a moment", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const worker = crew();
  const { supervisorId } = worker;
  await register(queue, worker);
  for (let n = 0; n < 20; n++) await queue.enqueue(Array.from({ length: 5_000 }, () => task()));
  const lost = task();
  await queue.enqueue([lost]);
  assertEquals(await redis.send("LREM", "jobs", "1", lost.id), 1);
  await redis.send("CONFIG", "RESETSTAT");
  // What comes in and is claimed meanwhile is neither lost nor put in twice.
  const held: string[] = [];
  let enqueued = 100_001;
  await mendUntil(queue, supervisorId, {
    done: async () => {
      enqueued += (await queue.enqueue([task()])).length;
      held.push((await claimOne(queue, worker.workerIds[0], { holding: held })).id);
      return held.includes(lost.id);
    },
    what: "the lost task to be in the queue again, at its head",
  });
  assertEquals((await queue.depth()).waiting + held.length, enqueued);
  const usPerCall = Number(
    /cmdstat_evalsha:.*?usec_per_call=([\d.]+)/.exec(
      String(await redis.send("INFO", "commandstats")),
    )?.[1],
  );
  // The walk that finds one id took 12 ms here.
  assertTrue(usPerCall < 10_000, `${usPerCall} µs per script`);
});
