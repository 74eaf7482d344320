import { IncompatibleError } from "../../src/errors.ts";
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
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { sharedRedisUrl } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { rawRedis, strings } from "./raw_redis.ts";
import { redisContract } from "./redis_ground.ts";

const contract: BrokerContract = redisContract("RedisBroker");

contractTest(
  contract,
  "another program's list is refused, with the name to set",
  async (_, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const broker = bench.ground.broker();
    try {
      for (const [type, ...command] of [["list", "LPUSH"], ["string", "SET"], ["set", "SADD"]]) {
        const name = `${bench.name}.${type}`;
        await redis.send(command[0] ?? "", name, '{"task":"python"}');
        const queue = broker.queue(name);
        for (const use of [() => queue.open(), () => queue.enqueue([task()])]) {
          const { message } = await assertRejects(use, IncompatibleError);
          assertEquals(
            message,
            `Cannot use the queue '${name}': Redis has a ${type} of this name that another program made, ` +
              `choose another name by AGENTEXEC_QUEUE_NAME or the option 'queueName'`,
          );
        }
        assertEquals(strings(await redis.send("KEYS", `{${name}}*`)), []);
        await redis.send("DEL", name);
      }
    } finally {
      await broker.close();
    }
  },
);

contractTest(contract, "a queue that needs a newer protocol is refused", async (queue, bench) => {
  await using redis = await rawRedis(sharedRedisUrl());
  await redis.send("HSET", `{${bench.name}}:broker`, "protocol", "9", "oldest", "1");
  await queue.open();
  await redis.send("HSET", `{${bench.name}}:broker`, "oldest", "2");
  for (const use of [() => queue.open(), () => queue.enqueue([task()])]) {
    assertMatch((await assertRejects(use, IncompatibleError)).message, /needs protocol 2 or later/);
  }
});

contractTest(
  contract,
  "wrong entries stop nothing and are kept untouched",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const worker = crew();
    await register(queue, worker);
    const [wrongType, hollow, ...sound] = [task(), task(), task(), task()];
    assertTrue(wrongType !== undefined && hollow !== undefined);
    const strange = [
      '{"task":"from python","args":[1]}',
      "",
      "no uuid",
      "AAAAAAAA-0000-4000-8000-000000000000",
      "\u0000 é",
    ];
    for (const entry of [...strange, wrongType.id, hollow.id]) {
      await redis.send(
        "LPUSH",
        bench.name,
        entry,
      );
    }
    await redis.send("SET", `{${bench.name}}:task:${wrongType.id}`, "something");
    await redis.send("HSET", `{${bench.name}}:task:${hollow.id}`, "color", "green");
    await queue.enqueue(sound);
    const { claims, orphans } = await claim(queue, worker.workerIds[0], { slots: 9 });
    assertEquals(claims.map(({ id }) => id), sound.map(({ id }) => id));
    assertEquals(orphans, []);
    const foreign = strings(await redis.send("ZRANGE", `{${bench.name}}:foreign`, "0", "-1"));
    assertEquals(foreign, [...strange, wrongType.id, hollow.id]);
    assertEquals((await queue.depth()).diagnostics, { foreign: 7, foreignDropped: 0 });
    const refused = await assertRejects(
      () => queue.enqueue([task(), wrongType]),
      IncompatibleError,
    );
    assertMatch(refused.message, /holds no task of ours$/);
    assertEquals((await queue.depth()).waiting, 0);
    await redis.send(
      "DEL",
      `{${bench.name}}:task:${hollow.id}`,
      `{${bench.name}}:task:${wrongType.id}`,
    );
  },
);

contractTest(
  contract,
  "a claimed task whose hash was evicted is reported as an orphan",
  async (queue, bench) => {
    const [dead, sweeper] = [crew(), crew()];
    await register(queue, dead, 1);
    const one = task();
    await queue.enqueue([one]);
    // Takes the hint of the task, so that the next one is that of the orphan.
    await queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal });
    await claimOne(queue, dead.workerIds[0], { leaseMs: 1 });
    await waitFor(async () => (await queue.whereabouts([one.id]))[0] === "abandoned", {
      what: "the lease of the claim to end",
    });
    await bench.ground.loseTask(bench.name, one.id);
    await register(queue, sweeper);
    const { supervisorId } = sweeper;
    const told = queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal });
    await queue.sweep({ supervisorId, leaseMs: 0 });
    await within(told, { what: "a hint of the orphan", timeoutMs: 4_000 });
    assertEquals((await claim(queue, sweeper.workerIds[0])).orphans, [one.id]);
    assertEquals(await queue.enqueue([one]), ["accepted"]);
    assertEquals((await claimOne(queue, sweeper.workerIds[0])).id, one.id);
  },
);

contractTest(
  contract,
  "a task of a newer version waits for a newer worker and holds up nobody",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const worker = crew();
    await register(queue, worker);
    const [newer, sound, canceled] = [task(), task(), task()];
    await queue.enqueue([newer, canceled, sound]);
    for (const { id } of [newer, canceled]) {
      await redis.send(
        "HSET",
        `{${bench.name}}:task:${id}`,
        "v",
        "2",
      );
    }
    const first = await claim(queue, worker.workerIds[0], { slots: 9 });
    assertEquals(only(first.claims).id, sound.id);
    assertEquals((await queue.depth()).waiting, 2);
    assertEquals(await queue.whereabouts([newer.id]), ["waiting"]);
    assertEquals(await queue.enqueue([newer]), ["known"]);
    assertEquals(await queue.cancel(canceled.id), "removed");
    await bench.ground.audit(bench.name);
    // As a worker of the version that put it in would find it.
    await redis.send("HSET", `{${bench.name}}:task:${newer.id}`, "v", "1");
    await redis.send("ZADD", `{${bench.name}}:newer`, "1", newer.id);
    await queue.enqueue([task()]);
    const next = await claimOne(queue, worker.workerIds[0], { holding: [sound.id] });
    assertEquals(next.id, newer.id);
  },
);

contractTest(contract, "an id that stands in the queue twice runs once", async (queue, bench) => {
  await using redis = await rawRedis(sharedRedisUrl());
  const worker = crew();
  await register(queue, worker);
  const twice = task();
  await queue.enqueue([twice]);
  await redis.send("LPUSH", bench.name, twice.id);
  const { claims, orphans } = await claim(queue, worker.workerIds[0], { slots: 9 });
  assertEquals([claims.map(({ id }) => id), orphans], [[twice.id], []]);
});

contractTest(
  contract,
  "thousands of cancelled tasks hold up the next one for a moment only",
  async (queue) => {
    const worker = crew();
    await register(queue, worker);
    const tasks = Array.from({ length: 2_500 }, () => task());
    await queue.enqueue(tasks);
    await Promise.all(tasks.map(({ id }) => queue.cancel(id)));
    assertEquals((await queue.depth()).waiting, 0);
    const sound = task();
    await queue.enqueue([sound]);
    const signal = new AbortController().signal;
    for (let claims = 1;; claims++) {
      await within(queue.wait({ timeoutMs: 5_000, signal }), { what: "a hint", timeoutMs: 4_000 });
      const answer = await claim(queue, worker.workerIds[0]);
      if (answer.claims.length === 0) continue;
      assertEquals([only(answer.claims).id, claims], [sound.id, 3]);
      return;
    }
  },
);

contractTest(
  contract,
  "an orphan is told of again until it is settled, and by one claim at a time",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const worker = crew(2);
    await register(queue, worker);
    const lost = [task(), task(), task()] as const;
    const [restored, ended, unknown] = [lost[0].id, lost[1].id, lost[2].id];
    await queue.enqueue(lost);
    for (const { id } of lost) await bench.ground.loseTask(bench.name, id);
    const orphans = async () =>
      (await claim(queue, worker.workerIds[1] ?? "", { slots: 9 })).orphans;
    // As the ten seconds would do that it takes.
    const letTimePass = async () => {
      for (const id of strings(await redis.send("ZRANGE", `{${bench.name}}:orphans`, "0", "-1"))) {
        await redis.send("ZADD", `{${bench.name}}:orphans`, "1", id);
      }
    };
    const all = lost.map(({ id }) => id).sort();
    assertEquals([...await orphans()].sort(), all);
    assertEquals(await orphans(), []);
    // Whoever was told died, or the database was away.
    await letTimePass();
    assertEquals([...await orphans()].sort(), all);
    await queue.enqueue([lost[0]]);
    await queue.settleOrphans([ended], "ended");
    await letTimePass();
    const { claims, orphans: left } = await claim(queue, worker.workerIds[0], { slots: 9 });
    assertEquals([claims.map(({ id }) => id), left], [[restored], [unknown]]);
    await queue.settleOrphans([unknown], "foreign");
    await letTimePass();
    assertEquals(await orphans(), []);
    assertEquals((await queue.depth()).diagnostics, { foreign: 1, foreignDropped: 0 });
    // A clock that was set back keeps none of them.
    await queue.enqueue([lost[2]]);
    await bench.ground.loseTask(bench.name, unknown);
    assertEquals(await orphans(), [unknown]);
    await redis.send("ZADD", `{${bench.name}}:orphans`, String(Date.now() + 3_600_000), unknown);
    assertEquals(await orphans(), [unknown]);
    await queue.settleOrphans([unknown], "ended");
  },
);

for (const [type, ...command] of [["list", "RPUSH"], ["string", "SET"], ["set", "SADD"]]) {
  contractTest(
    contract,
    `a ${type} in the place of the foreign entries stops nothing`,
    async (queue, bench) => {
      await using redis = await rawRedis(sharedRedisUrl());
      const key = `{${bench.name}}:foreign`;
      const worker = crew();
      const { supervisorId } = worker;
      await register(queue, worker);
      const [orphan, known] = [task(), task()];
      await queue.enqueue([known]);
      for (const entry of type === "string" ? ["old"] : ["old", orphan.id, known.id]) {
        await redis.send(command[0] ?? "", key, entry);
      }
      assertEquals((await queue.depth()).diagnostics.foreign, type === "list" ? 3 : 0);
      await register(queue, worker);
      assertEquals(await queue.enqueue([known, task()]), ["known", "accepted"]);
      await redis.send("RPUSH", bench.name, "new");
      const { claims } = await claim(queue, worker.workerIds[0], { slots: 9 });
      assertEquals(claims.length, 2);
      await queue.mend({ supervisorId, leaseMs: LONG_LEASE });
      const foreign = strings(await redis.send("ZRANGE", key, "0", "-1"));
      // What an older version told of once is asked again, and what has a task is none.
      assertEquals(foreign, type === "list" ? ["new", "old"] : ["new"]);
      const { orphans } = await claim(queue, worker.workerIds[0], {
        holding: claims.map(({ id }) => id),
      });
      assertEquals(orphans, type === "list" ? [orphan.id] : []);
    },
  );
}

contractTest(
  contract,
  "a supervisor of a version that counts no renewals is missed when it renews itself no more",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const [older, sweeper] = [crew(), crew()];
    await register(queue, older);
    await queue.enqueue([task()]);
    const one = await claimOne(queue, older.workerIds[0]);
    await redis.send("DEL", `{${bench.name}}:renewals`);
    const { supervisorId } = sweeper;
    // Its lease has ended by the clock, which was set forward, and it renews as often as the sweeper looks.
    const until = performance.now() + 1_000;
    await waitFor(async () => {
      await redis.send(
        "ZADD",
        `{${bench.name}}:supervisors`,
        `${performance.now()}`,
        older.supervisorId,
      );
      await register(queue, sweeper, 300);
      assertEquals(await queue.sweep({ supervisorId, leaseMs: 300 }), []);
      return performance.now() > until;
    }, { what: "a second to pass" });
    assertEquals(only(await sweepUntilTaken(queue, sweeper)).id, one.id);
  },
);

contractTest(
  contract,
  "a task that an older version gave back although it is to be canceled is the next sweep's to end",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const [worker, sweeper] = [crew(), crew()];
    await register(queue, worker);
    const [marked, other] = [task(), task()];
    await queue.enqueue([marked, other]);
    await redis.send("HSET", `{${bench.name}}:task:${marked.id}`, "cancel", "1");
    const { claims } = await claim(queue, worker.workerIds[0], { slots: 9 });
    assertEquals(claims.map(({ id }) => id), [other.id]);
    const swept = only(await sweepUntilTaken(queue, sweeper));
    assertEquals([swept.id, swept.outcome], [marked.id, "canceled"]);
    assertEquals(await queue.end(swept), "done");
  },
);

contractTest(
  contract,
  "tombstones of a list that Redis evicted keep no task from being claimed",
  async (queue, bench) => {
    await using redis = await rawRedis(sharedRedisUrl());
    const worker = crew();
    await register(queue, worker);
    const one = task();
    await queue.enqueue([one]);
    assertEquals(await queue.cancel(one.id), "removed");
    await redis.send("DEL", bench.name);
    assertEquals((await claim(queue, worker.workerIds[0])).claims, []);
    assertEquals(await queue.enqueue([one]), ["accepted"]);
    assertEquals((await queue.depth()).waiting, 1);
    assertEquals((await claimOne(queue, worker.workerIds[0])).id, one.id);
  },
);
