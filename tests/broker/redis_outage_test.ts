import { ConnectionError } from "../../src/errors.ts";
import {
  claim,
  claimOne,
  crew,
  LONG_LEASE,
  only,
  register,
  task,
} from "../contract/broker/bench.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { startProxy } from "../support/proxy.ts";
import { startRedis } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { auditQueue } from "./audit.ts";
import { rawRedis } from "./raw_redis.ts";
import { atPort, brokerOf, openQueue } from "./redis_bench.ts";

/** No test waits this long; each of these ends a wait that would never end. */
const PATIENCE = { timeoutMs: 20_000 };

Deno.test("FLUSHALL while idle: all are registered again and work goes on", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using supervisor = await openQueue(server.url);
  await using worker = await openQueue(server.url);
  const own = crew(2);
  await register(supervisor.queue, own);
  const id = await supervisor.queue.open();
  await redis.send("FLUSHALL");
  assertEquals((await claim(worker.queue, own.workerIds[0])).registered, false);
  assertEquals((await register(supervisor.queue, own)).swept, false);
  assertEquals(await worker.queue.open(), id);
  const told = worker.queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal });
  await supervisor.queue.enqueue([task()]);
  await within(told, { what: "a hint after the loss", timeoutMs: 4_000 });
  assertEquals((await claim(worker.queue, own.workerIds[0])).claims.length, 1);
});

Deno.test("FLUSHALL while a task runs: its worker takes the claim again and ends it", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const own = crew();
  await register(queue, own);
  await queue.enqueue([task()]);
  const run = await claimOne(queue, own.workerIds[0]);
  await redis.send("FLUSHALL");
  assertEquals(await queue.check([run]), ["gone"]);
  // In whichever order worker and supervisor find out.
  assertTrue(await queue.reassert(run, { workerId: own.workerIds[0], leaseMs: LONG_LEASE }));
  const { swept, owned } = await register(queue, own);
  assertEquals([swept, only(owned).id], [false, run.id]);
  assertEquals(await queue.check([run]), ["own"]);
  assertTrue(BigInt(await queue.nextToken()) > BigInt(run.token));
  assertEquals(await queue.end(run), "done");
  await auditQueue(redis, "jobs");
});

Deno.test("SCRIPT FLUSH under load surfaces nowhere", async () => {
  await using server = await startRedis();
  await using redis = await rawRedis(server.url);
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const own = crew();
  await register(queue, own);
  for (let round = 0; round < 20; round++) {
    const [, words] = await Promise.all([
      redis.send("SCRIPT", "FLUSH"),
      queue.enqueue([task(), task()]),
    ]);
    assertEquals(words, ["accepted", "accepted"]);
    const [, { claims }] = await Promise.all([
      redis.send("SCRIPT", "FLUSH"),
      claim(queue, own.workerIds[0], { slots: 2 }),
    ]);
    const ends = await Promise.all([
      ...claims.map((each) => queue.end(each)),
      redis.send("SCRIPT", "FLUSH"),
    ]);
    assertEquals(ends, ["done", "done", "OK"]);
  }
});

Deno.test("kill -9 of Redis: nothing accepted is lost and every connection comes back", async () => {
  await using server = await startRedis({ args: ["--appendfsync", "always"] });
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  const own = crew();
  await register(queue, own);
  const tasks = [task(), task(), task({ delayMs: 3_600_000 })];
  await queue.enqueue(tasks);
  const run = await claimOne(queue, own.workerIds[0]);
  const heard: string[] = [];
  let reconnects = 0;
  const topic = { kind: "stop", supervisorId: own.supervisorId } as const;
  await queue.subscribe(topic, {
    onMessage: (message) => heard.push(message),
    onReconnect: () => reconnects++,
  });
  // Short, so that the connection is tried again soon after.
  const waiting = queue.wait({ timeoutMs: 200, signal: new AbortController().signal });
  await server.kill();
  await within(waiting, { what: "the wait to end although Redis is away", ...PATIENCE });
  const whileDown = queue.depth();
  whileDown.catch(() => {}); // It is awaited below.
  await server.restart();
  // A call made while it was away is answered when it is back within its deadline.
  const { waiting: left, delayed, running } = await whileDown;
  assertEquals([left, delayed, running], [1, 1, 1]);
  assertEquals(await queue.check([run]), ["own"]);
  assertEquals((await register(queue, own)).swept, false);
  assertEquals(await queue.end(run), "done");
  await waitFor(() => reconnects === 1, { what: "the subscription to be told of the break" });
  await queue.publish(topic, "again");
  await waitFor(() => heard.length === 1, { what: "a message after the break" });
  const told = queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal });
  await queue.enqueue([task()]);
  await within(told, { what: "a hint after the break", timeoutMs: 4_000 });
});

Deno.test("while Redis is away calls fail at their deadline, and the connection comes back", async () => {
  await using server = await startRedis();
  await using opened = await openQueue(server.url);
  const { queue } = opened;
  await server.stop();
  await waitFor(() => opened.broker.contactMs === 0, { what: "the loss to be noticed" });
  const calls = [() => queue.depth(), () => queue.enqueue([task()]), () => queue.nextToken()];
  await Promise.all(calls.map(async (call) => {
    const error = await assertRejects(call, ConnectionError);
    assertTrue(error.retryable);
    assertMatch(
      error.message,
      /^Cannot .* at redis:\/\/127\.0\.0\.1:\d+\/0: not connected for 5000 ms \(Cannot connect to Redis at /,
    );
  }));
  await server.restart();
  const { waiting } = await waitFor(() => queue.depth(), { what: "Redis to be reached again" });
  assertEquals(waiting, 0);
});

Deno.test("a claim whose answer was lost runs again at once", async () => {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  await using opened = await openQueue(atPort(server.url, proxy.port));
  const { queue } = opened;
  const own = crew();
  await register(queue, own);
  // The server shall know the script: otherwise the lost answer is that it does not.
  await claim(queue, own.workerIds[0]);
  const [first, second] = [task(), task()];
  await queue.enqueue([first, second]);
  const lost = proxy.loseAnswerTo(own.workerIds[0]);
  const error = await assertRejects(() => claim(queue, own.workerIds[0]), ConnectionError);
  assertTrue(error.retryable);
  assertMatch(
    error.message,
    /the connection was lost while waiting for the answer \(Socket closed/,
  );
  await lost;
  assertEquals(await queue.whereabouts([first.id]), ["claimed"]);
  const again = await claimOne(queue, own.workerIds[0]);
  assertEquals([again.id, again.attempt, again.lapses, again.crashes], [first.id, 2, 0, 0]);
});

Deno.test("an enqueue, an end and a removal whose answers were lost may be asked again", async () => {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  await using opened = await openQueue(atPort(server.url, proxy.port));
  const { queue } = opened;
  const own = crew(2);
  await register(queue, own);
  // The server shall know the scripts: otherwise the lost answer is that it does not.
  await queue.enqueue([task({ delayMs: 3_600_000 })]);
  await queue.removeWorker("nobody/0/0");
  await queue.end({ id: crypto.randomUUID(), token: "1" });
  const one = task();
  let lost = proxy.loseAnswerTo(one.id);
  await assertRejects(() => queue.enqueue([one]), ConnectionError);
  await lost;
  assertEquals(await queue.enqueue([one]), ["known"]);
  const run = await claimOne(queue, own.workerIds[0]);
  lost = proxy.loseAnswerTo(own.workerIds[0]);
  await assertRejects(() => queue.removeWorker(own.workerIds[0]), ConnectionError);
  await lost;
  assertEquals(only(await queue.removeWorker(own.workerIds[0])).id, run.id);
  lost = proxy.loseAnswerTo(run.token);
  await assertRejects(() => queue.end(run), ConnectionError);
  await lost;
  assertEquals(await queue.end(run), "gone");
});

Deno.test("a connection that is cut again and again keeps coming back", async () => {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  await using opened = await openQueue(atPort(server.url, proxy.port));
  const { queue } = opened;
  let reconnects = 0;
  const topic = { kind: "log", supervisorId: "s" } as const;
  await queue.subscribe(topic, { onMessage: () => {}, onReconnect: () => reconnects++ });
  for (let round = 1; round <= 10; round++) {
    const before = proxy.connections;
    proxy.cut();
    await waitFor(() => reconnects === round && proxy.connections >= before + 2, {
      what: `reconnect ${round}`,
    });
    await waitFor(() => queue.nextToken(), { what: `a token in round ${round}` });
  }
});

Deno.test("SIGSTOP of Redis: calls settle, closing takes a moment, and all recovers", async () => {
  await using server = await startRedis();
  await using opened = await openQueue(server.url);
  await using closing = await openQueue(server.url);
  const { queue } = opened;
  const topic = { kind: "log", supervisorId: "s" } as const;
  const heard: string[] = [];
  await queue.subscribe(topic, { onMessage: (message) => heard.push(message) });
  server.pause();
  try {
    const waiting = queue.wait({ timeoutMs: 1_000, signal: new AbortController().signal });
    const error = await assertRejects(
      () => within(queue.depth(), { what: "a call to a stopped Redis", ...PATIENCE }),
      ConnectionError,
    );
    assertTrue(error.retryable);
    await within(waiting, { what: "a wait on a stopped Redis", ...PATIENCE });
    // With a call under way, with a wait, and with an attempt to connect.
    const call = closing.queue.depth().catch((error) => error);
    const wait = closing.queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal })
      .catch((error) => error);
    await within(closing.broker.close(), { what: "closing on a stopped Redis", timeoutMs: 4_000 });
    assertTrue(await call instanceof ConnectionError);
    await wait;
    const connecting = brokerOf(server.url);
    const attempt = connecting.connect().catch((error) => error);
    await within(connecting.close(), { what: "closing while connecting", timeoutMs: 4_000 });
    assertTrue(await attempt instanceof ConnectionError);
  } finally {
    server.resume();
  }
  await waitFor(() => queue.depth(), { what: "Redis to answer again" });
  const told = queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal });
  await queue.enqueue([task()]);
  await within(told, { what: "a hint after the pause", timeoutMs: 4_000 });
  await waitFor(async () => {
    await queue.publish(topic, "x");
    return heard.length > 0;
  }, { what: "a message after the pause", ...PATIENCE });
});

Deno.test("a subscription whose connection went silent is made anew, and told", async () => {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  await using opened = await openQueue(atPort(server.url, proxy.port));
  const { queue } = opened;
  const topic = { kind: "log", supervisorId: "s" } as const;
  const heard: string[] = [];
  const told = Promise.withResolvers<void>();
  await queue.subscribe(topic, {
    onMessage: (message) => heard.push(message),
    onReconnect: () => told.resolve(),
  });
  proxy.block();
  const before = proxy.connections;
  await waitFor(() => proxy.connections > before, {
    what: "the silent connection to be given up",
    ...PATIENCE,
  });
  proxy.unblock();
  await within(told.promise, { what: "the subscription to be told", ...PATIENCE });
  await waitFor(async () => {
    await queue.publish(topic, "x");
    return heard.length > 0;
  }, { what: "a message on the new connection" });
});

Deno.test("a pause of Redis that outlasts leases sweeps nobody", async () => {
  await using server = await startRedis();
  await using a = await openQueue(server.url);
  await using b = await openQueue(server.url);
  const [sweeper, other] = [crew(), crew()];
  const leaseMs = 1_500;
  // The sweeper's own lease is longer, so that it is not what stops it.
  await register(a.queue, sweeper, LONG_LEASE);
  await register(b.queue, other, LONG_LEASE);
  await b.queue.enqueue([task()]);
  const run = await claimOne(b.queue, other.workerIds[0], { leaseMs: LONG_LEASE });
  const { supervisorId } = sweeper;
  await waitFor(async () => {
    // A sweep that is not held back by a young connection takes nothing from the living.
    return a.broker.contactMs >= leaseMs &&
      (await a.queue.sweep({ supervisorId, leaseMs })).length === 0;
  }, { what: "the sweeper to have been in contact for a lease" });
  // From now on all leases are short.
  await register(b.queue, other, leaseMs);
  server.pause();
  const stopped = performance.now();
  const sweep = a.queue.sweep({ supervisorId, leaseMs });
  await waitFor(() => performance.now() - stopped > 2 * leaseMs, { what: "all leases to end" });
  server.resume();
  assertEquals(await sweep, []);
  assertEquals(await a.queue.sweep({ supervisorId, leaseMs }), []);
  assertEquals((await register(b.queue, other)).swept, false);
  assertEquals(await b.queue.check([run]), ["own"]);
});

Deno.test("after an outage the living have time to renew themselves, and the dead are taken then", async () => {
  await using server = await startRedis();
  await using a = await openQueue(server.url);
  await using b = await openQueue(server.url);
  const [sweeper, other] = [crew(), crew()];
  const leaseMs = 1_000;
  const { supervisorId } = sweeper;
  await register(b.queue, other, leaseMs);
  await b.queue.enqueue([task()]);
  const run = await claimOne(b.queue, other.workerIds[0], { leaseMs: LONG_LEASE });
  await register(a.queue, sweeper, LONG_LEASE);
  await server.kill();
  await waitFor(() => a.broker.contactMs === 0, { what: "the loss to be noticed" });
  await server.restart();
  // The sweeper is back before the other one, whose lease has ended meanwhile.
  const back = performance.now();
  await waitFor(async () => {
    await register(a.queue, sweeper, LONG_LEASE);
    assertEquals(await a.queue.sweep({ supervisorId, leaseMs }), []);
    return performance.now() - back > 3 * leaseMs;
  }, { what: "three leases to pass", timeoutMs: 20_000 });
  assertEquals((await register(b.queue, other, leaseMs)).swept, false);
  assertEquals(await b.queue.check([run]), ["own"]);
  // From now on it is silent.
  const swept = await waitFor(async () => {
    await register(a.queue, sweeper, LONG_LEASE);
    const taken = await a.queue.sweep({ supervisorId, leaseMs });
    return taken.length > 0 && taken;
  }, { what: "the dead one to be taken" });
  assertEquals(only(swept).id, run.id);
});
