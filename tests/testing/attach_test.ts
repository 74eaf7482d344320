import { AgentexecError, type Pool } from "@agentexec/core";
import { testPool, type TestPoolOptions } from "@agentexec/core/testing";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { makePool, startPool } from "../support/pools.ts";
import { hold, makeSubject, NINE, nineAnd, shout } from "./support.ts";

Deno.test("a pool has its own connections, and what waits there, back when the kit is disposed of", async () => {
  await using real = await makePool();
  const { pool } = real;
  const before = await pool.enqueue("echo", { text: "real" });
  {
    await using kit = testPool(pool);
    assertEquals((await pool.depth()).waiting, 0);
    assertEquals((await pool.activity.list()).items, []);
    await pool.enqueue("echo", { text: "kit" });
    assertEquals((await kit.enqueued()).length, 1);
  }
  assertEquals((await pool.depth()).waiting, 1);
  assertEquals(await before.status(), "queued");
  assertEquals((await pool.activity.list()).items.length, 1);
  await pool.start();
  assertEquals(await before.wait({ timeout: { seconds: 30 } }), "complete");
});

Deno.test("each kit of a pool begins with nothing", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  for (const text of ["one", "two"]) {
    await using kit = testPool(pool);
    await pool.enqueue(shout, { text });
    assertEquals((await kit.enqueued(shout)).map(({ context }) => context.text), [text]);
    assertEquals((await pool.activity.list()).items.length, 1);
  }
});

Deno.test("a pool takes one kit at a time", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  const error = assertThrows(() => testPool(pool), AgentexecError);
  assertEquals(
    error.message,
    "Cannot attach a test kit to this pool: another one is attached",
  );
  await pool.enqueue(shout, { text: "unharmed" });
  assertEquals((await kit.run())[0]?.result, "UNHARMED");
});

Deno.test("two pools have a kit each", async () => {
  await using one = makeSubject();
  await using two = makeSubject();
  await using kitOfOne = testPool(one.pool, { clock: NINE });
  await using kitOfTwo = testPool(two.pool, { clock: NINE });
  const relay = one.pool.task("relay", async () => {
    return await (await two.pool.enqueue(shout, { text: "over" })).result();
  });
  await one.pool.enqueue(relay);
  kitOfTwo.advance({ minutes: 1 });
  assertEquals((await kitOfOne.run()).map(({ result }) => result), ["OVER"]);
  assertEquals([kitOfOne.now, kitOfTwo.now], [NINE, nineAnd(1)]);
});

Deno.test("a pool that has started takes no kit", async () => {
  await using real = await startPool();
  const error = assertThrows(() => testPool(real.pool), AgentexecError);
  assertEquals(error.message, "Cannot attach a test kit to this pool: it has started workers");
  await real.pool.shutdown();
  await using _kit = testPool(real.pool);
});

Deno.test("a pool does not start while a kit is attached, and the kit goes on", async () => {
  await using real = await makePool();
  const { pool } = real;
  {
    await using kit = testPool(pool);
    const before = await pool.enqueue("nobody");
    for (const start of [() => pool.start(), () => pool.run()]) {
      const error = await assertRejects(start, AgentexecError);
      assertMatch(error.message, /^Cannot start workers: a test kit is attached/);
    }
    assertEquals((await kit.enqueued()).map(({ agentId }) => agentId), [before.agentId]);
    assertEquals((await kit.run()).length, 1);
  }
  await pool.start();
});

Deno.test("a pool that was closed takes no kit, and what an attached one holds still runs", async () => {
  const { pool } = makeSubject();
  {
    await using kit = testPool(pool);
    await pool.enqueue(shout, { text: "before" });
    await pool.close();
    await assertRejects(() => pool.enqueue(shout, { text: "after" }), AgentexecError);
    assertEquals((await kit.run()).length, 1);
  }
  assertThrows(() => testPool(pool), AgentexecError);
});

Deno.test("a kit that was disposed of does nothing more, however often it is", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const kit = testPool(pool);
  await pool.enqueue(shout, { text: "left" });
  await Promise.all([kit[Symbol.asyncDispose](), kit[Symbol.asyncDispose]()]);
  await kit[Symbol.asyncDispose]();
  const message = `Cannot use the test kit of pool '${pool.name}': it was disposed of`;
  for (const call of [() => kit.run(), () => kit.step(), () => kit.enqueued()]) {
    assertEquals((await assertRejects(call, AgentexecError)).message, message);
  }
  assertEquals(assertThrows(() => kit.advance({ hours: 1 }), AgentexecError).message, message);
  assertEquals(assertThrows(() => kit.db, AgentexecError).message, message);
});

Deno.test("a kit that nobody used opens nothing", async () => {
  await using subject = makeSubject();
  await testPool(subject.pool)[Symbol.asyncDispose]();
});

Deno.test("disposing of a kit ends what runs and who waits", async () => {
  await using subject = makeSubject();
  const { pool, holding } = subject;
  const kit = testPool(pool);
  const task = await pool.enqueue(hold);
  const running = assertRejects(() => kit.run(), Error);
  await holding;
  const waiting = assertRejects(() => task.result(), AgentexecError);
  const elsewhere = await pool.enqueue("elsewhere", {}, { delay: { days: 1 } });
  const late = assertRejects(() => elsewhere.wait(), AgentexecError);
  await kit[Symbol.asyncDispose]();
  await Promise.all([running, waiting, late]);
});

Deno.test("disposing of a kit leaves no timer behind, not even of a handler that never ends", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const begun = Promise.withResolvers<void>();
  pool.task("deaf", () => new Promise<void>(() => begun.resolve()));
  const kit = testPool(pool);
  await pool.enqueue("deaf");
  void kit.run();
  await begun.promise;
  await kit[Symbol.asyncDispose]();
});

Deno.test("testPool() says what is wrong with what it is given", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const cases: readonly [unknown, unknown, string][] = [
    [{}, {}, "Cannot make a test kit: it takes a Pool, current value is an object"],
    [pool, null, "Cannot make a test kit: the options must be an object, current value is null"],
    [pool, { time: NINE }, "Cannot make a test kit: unknown option 'time', expected clock"],
    [
      pool,
      { clock: 5 },
      "Cannot make a test kit: 'clock' must be a Date, current value is a number",
    ],
    [
      pool,
      { clock: new Date(NaN) },
      "Cannot use 'clock': the kit's clock goes from 1970 to 2199, current value is NaN ms",
    ],
    [
      pool,
      { clock: new Date("2200-01-01T00:00:00Z") },
      "Cannot use 'clock': the kit's clock goes from 1970 to 2199, current value is 2200-01-01T00:00:00.000Z",
    ],
  ];
  for (const [given, options, message] of cases) {
    const error = assertThrows(() => testPool(given as Pool, options as TestPoolOptions), Error);
    assertEquals(error.message, message);
  }
  // Nothing of it is left attached.
  await using kit = testPool(pool, { clock: NINE });
  assertEquals(
    assertThrows(() => kit.advance(5 as never), TypeError).message,
    "Cannot use 5 as 'duration': a duration is an object, for example { seconds: 5 }",
  );
  assertThrows(() => kit.advance({ days: 100_000 }), RangeError);
  assertEquals(kit.now, NINE);
  await assertRejects(() => kit.run({ limit: 0 }), RangeError);
  await assertRejects(() => kit.run({ most: 5 } as never), TypeError);
  const error = await assertRejects(() => kit.enqueued("shout" as never), TypeError);
  assertEquals(
    error.message,
    "Cannot list what waits of a task: it takes a definition (defineTask), current value is a string",
  );
});
