import { AsyncLocalStorage } from "node:async_hooks";
import {
  AgentexecError,
  currentTask,
  ResultTimeoutError,
  TaskCanceledError,
  TaskFailedError,
  ValidationError,
} from "@agentexec/core";
import { testPool, type TestRun } from "@agentexec/core/testing";
import { z } from "zod";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { recordLogs } from "../support/pools.ts";
import {
  ask,
  chain,
  elsewhere,
  fail,
  hold,
  lie,
  makeSubject,
  NINE,
  nineAnd,
  shout,
} from "./support.ts";

function namesOf(runs: readonly { readonly taskName: string }[]): readonly string[] {
  return runs.map(({ taskName }) => taskName);
}

Deno.test("run() runs what is due and what that enqueues, in the order of the queue", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  const task = await pool.enqueue(chain, { left: 2 });
  await pool.enqueue(shout, { text: "between" });
  const runs = await kit.run();
  assertEquals(runs.map(({ taskName, status, result }) => [taskName, status, result]), [
    ["chain", "complete", 2],
    ["shout", "complete", "BETWEEN"],
    ["chain", "complete", 1],
    ["chain", "complete", 0],
  ]);
  assertEquals(runs[0]?.agentId, task.agentId);
  assertEquals(await task.result(), 2);
  assertEquals(await kit.run(), []);
});

Deno.test("step() runs the next due task alone", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  assertEquals(await kit.step(), undefined);
  const first = await pool.enqueue(shout, { text: "one" });
  const second = await pool.enqueue(shout, { text: "two" });
  assertEquals((await kit.step())?.result, "ONE");
  assertEquals([await first.status(), await second.status()], ["complete", "queued"]);
  assertEquals(await pool.depth(), {
    waiting: 1,
    delayed: 0,
    running: 0,
    oldestMs: 0,
    diagnostics: { foreign: 0, foreignDropped: 0 },
  });
});

Deno.test("calls of run() and step() at the same time take their turns", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  await pool.enqueueMany(shout, ["a", "b", "c"].map((text) => ({ text })));
  const [one, two, rest] = await Promise.all([kit.step(), kit.step(), kit.run()]);
  assertEquals([one, two, ...rest].map((run) => run?.result), ["A", "B", "C"]);
});

Deno.test("enqueued() lists what waits as it would run, with its typed context, metadata and time", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool, { clock: NINE });
  await pool.enqueue(shout, { text: "later" }, { delay: { minutes: 10 } });
  await pool.enqueue(shout, { text: "sooner" }, { runAt: nineAnd(5) });
  await pool.enqueue(hold, undefined, { metadata: { org: "o-1" } });
  const task = await pool.enqueue(shout, { text: "now" });

  const waiting = await kit.enqueued();
  assertEquals(waiting.map(({ taskName, context, runAt }) => [taskName, context, runAt]), [
    ["hold", undefined, NINE],
    ["shout", { text: "now" }, NINE],
    ["shout", { text: "sooner" }, nineAnd(5)],
    ["shout", { text: "later" }, nineAnd(10)],
  ]);
  assertEquals(waiting.map(({ metadata }) => metadata), [{ org: "o-1" }, {}, {}, {}]);
  assertEquals(waiting[1]?.agentId, task.agentId);
  const texts: string[] = (await kit.enqueued(shout)).map(({ context }) => context.text);
  assertEquals(texts, ["now", "sooner", "later"]);
  assertEquals(await kit.enqueued(fail), []);
});

Deno.test("enqueued() keeps to the order in which run() takes what became due", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool, { clock: NINE });
  await pool.enqueue(shout, { text: "at 10" }, { delay: { minutes: 10 } });
  await pool.enqueue(shout, { text: "at 5" }, { delay: { minutes: 5 } });
  kit.advance({ minutes: 10 });
  await pool.enqueue(shout, { text: "at once" });
  const expected = (await kit.enqueued(shout)).map(({ agentId }) => agentId);
  const first = await kit.step();
  await pool.enqueue(shout, { text: "last" });
  const rest = (await kit.enqueued(shout)).map(({ agentId }) => agentId);
  assertEquals(rest.slice(0, 2), expected.slice(1));
  const runs = [first, ...await kit.run()] as TestRun[];
  assertEquals(runs.map(({ result }) => result), ["AT ONCE", "AT 5", "AT 10", "LAST"]);
  assertEquals(runs.slice(0, 3).map(({ agentId }) => agentId), expected);
});

Deno.test("enqueued() shows what waits in another pool's queue by its definition alone", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  await pool.enqueue(elsewhere, { text: "over there" });
  assertEquals(await kit.run(), []);
  assertEquals(await kit.enqueued(), []);
  assertEquals((await kit.enqueued(elsewhere)).map(({ context }) => context.text), ["over there"]);
});

Deno.test("enqueued() shows the context also where the pool's rows keep none", async () => {
  await using subject = makeSubject({ storeContext: false });
  const { pool } = subject;
  await using kit = testPool(pool);
  const { agentId } = await pool.enqueue(shout, { text: "secret" });
  assertEquals((await kit.enqueued(shout))[0]?.context, { text: "secret" });
  assertEquals((await pool.activity.detail(agentId))?.context, null);
  assertEquals((await kit.run())[0]?.result, "SECRET");
});

Deno.test("time stands still but for advance(), and is that of the records too", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool, { clock: NINE });
  const task = await pool.enqueue(shout, { text: "tea" }, { delay: { hours: 1 } });
  assertEquals(await kit.run(), []);
  kit.advance({ minutes: 59 });
  assertEquals(await kit.step(), undefined);
  assertEquals((await pool.depth()).delayed, 1);
  kit.advance({ minutes: 1 });
  assertEquals(kit.now, nineAnd(60));
  assertEquals((await kit.run()).length, 1);
  assertEquals(kit.now, nineAnd(60));

  const detail = await pool.activity.detail(task.agentId);
  const { createdAt, runAt, startedAt, endedAt } = detail ?? {};
  assertEquals([createdAt, runAt, startedAt, endedAt], [
    NINE,
    nineAnd(60),
    nineAnd(60),
    nineAnd(60),
  ]);
  assertEquals(detail?.log.map(({ at }) => at), [NINE, nineAnd(60), nineAnd(60)]);
});

Deno.test("a failure is told with its causes, to the test and to whoever asks for the result", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  const task = await pool.enqueue(fail, { text: "no luck" });
  const [run] = await kit.run();
  assertEquals([run?.status, run?.result, run?.message], [
    "error",
    undefined,
    "Task failed: RangeError: no luck",
  ]);
  assertMatch(run?.error ?? "", /^RangeError: no luck\n[^]*the reason/);
  const error = await assertRejects(() => task.result(), TaskFailedError);
  assertEquals(error.attempts, 1);
});

Deno.test("what schemas refuse is refused where it is in production", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  await assertRejects(() => pool.enqueue(shout, { text: 1 } as never), ValidationError);
  assertEquals(await kit.enqueued(), []);
  await pool.enqueue("shout", { text: 1 });
  await pool.enqueue(lie);
  const errors = (await kit.run()).map(({ status, error }) => [status, error?.split("\n")[0]]);
  assertEquals(errors.map(([status]) => status), ["error", "error"]);
  assertMatch(errors[0]?.[1] ?? "", /Cannot run task 'shout', the context no longer passes/);
  assertMatch(errors[1]?.[1] ?? "", /Cannot store the result of task 'lie': result\.summary is/);
});

Deno.test("a result that is too large for the pool fails the task", async () => {
  await using subject = makeSubject({ maxResultBytes: 10 });
  const { pool } = subject;
  await using kit = testPool(pool);
  await pool.enqueue(shout, { text: "much too long" });
  assertMatch((await kit.run())[0]?.error ?? "", /maxResultBytes/);
});

Deno.test("a task of a name that the pool does not know goes back, and ends after an hour", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool, { clock: NINE });
  const task = await pool.enqueue("nobody", { a: 1 });
  const runs = await kit.run();
  assertEquals(runs.map(({ taskName, status }) => [taskName, status]), [["nobody", "queued"]]);
  assertMatch(runs[0]?.message ?? "", /^No worker here knows the task 'nobody'/);
  const [waiting] = await kit.enqueued();
  assertEquals(waiting?.runAt, new Date(NINE.getTime() + 5_000));
  kit.advance({ hours: 1 });
  assertEquals((await kit.run()).map(({ status }) => status), ["error"]);
  assertEquals(await task.status(), "error");
});

Deno.test("a canceled task does not run, and a running one is told to stop", async () => {
  await using subject = makeSubject();
  const { pool, holding } = subject;
  await using kit = testPool(pool);
  const waiting = await pool.enqueue(shout, { text: "never" });
  assertEquals(await waiting.cancel(), "canceled");
  assertEquals(await kit.run(), []);

  const task = await pool.enqueue(hold);
  const running = kit.step();
  await holding;
  assertEquals(await pool.cancel(task.agentId), "requested");
  assertEquals((await running)?.status, "canceled");
  await assertRejects(() => task.result(), TaskCanceledError);
});

Deno.test("timers that a test has faked, and never moves on, stop neither a cancel nor the end of a kit", async () => {
  await using subject = makeSubject();
  const { pool, holding } = subject;
  const deaf = Promise.withResolvers<void>();
  pool.task("deaf", () => new Promise<void>(() => deaf.resolve()));
  const kit = testPool(pool);
  using _ = fakeTimers();
  const task = await pool.enqueue(hold);
  const runs = kit.run();
  await holding;
  await task.cancel();
  assertEquals((await runs).map(({ status }) => status), ["canceled"]);
  await pool.enqueue("deaf");
  void kit.run();
  await deaf.promise;
  await kit[Symbol.asyncDispose]();
});

/** Timers that never ring, as those of a library for fake time do while nobody moves it. */
function fakeTimers(): Disposable {
  const real = globalThis.setTimeout;
  Reflect.set(globalThis, "setTimeout", () => 0);
  return { [Symbol.dispose]: () => void Reflect.set(globalThis, "setTimeout", real) };
}

Deno.test("cancelPending() ends all that waits and runs", async () => {
  await using subject = makeSubject();
  const { pool, holding } = subject;
  await using kit = testPool(pool);
  await pool.enqueue(hold);
  await pool.enqueue(shout, { text: "never" });
  const running = kit.run();
  await holding;
  assertEquals(await pool.cancelPending({ scope: "queue" }), { canceled: 2, otherBrokers: 0 });
  assertEquals((await running).map(({ status }) => status), ["canceled"]);
  assertEquals(await kit.enqueued(), []);
});

Deno.test("a handler gets all that it gets in a worker", async () => {
  await using logs = await recordLogs();
  await using subject = makeSubject();
  const { pool } = subject;
  const look = pool.task("look", { context: z.object({ n: z.coerce.number() }) }, async (run) => {
    assertTrue(currentTask() === run);
    await run.activity.update("half way", { percentage: 50 });
    run.log.info("seen {what}", { what: "it" });
    await run.db.insertInto("note").values({ id: run.agentId }).execute();
    await pool.enqueue(shout, { text: "child" });
    const { agentId, taskName, attempt, context, metadata, signal } = run;
    return { agentId, taskName, attempt, context, metadata, aborted: signal.aborted };
  });
  await using kit = testPool(pool);
  await kit.db.schema.createTable("note").addColumn("id", "text").execute();
  const { agentId } = await pool.enqueue(look, { n: "7" }, { metadata: { org: "o-1" } });
  const [run] = await kit.run();
  assertEquals(run?.result, {
    agentId,
    taskName: "look",
    attempt: 1,
    context: { n: 7 },
    metadata: { org: "o-1" },
    aborted: false,
  });
  const notes = await kit.db.selectFrom("note").select("id").execute();
  assertEquals(notes.map(({ id }) => id), [agentId]);
  const detail = await pool.activity.detail(agentId);
  assertEquals(detail?.log.map(({ status, message }) => [status, message]), [
    ["queued", "Waiting to start"],
    ["running", "Task started"],
    ["running", "half way"],
    ["complete", "Task completed"],
  ]);
  assertEquals(
    (await pool.activity.list({ metadata: { org: "o-1" } })).items.map((item) => item.agentId),
    [agentId],
  );
  const own = logs.records.filter((record) => record.properties.agentId === agentId);
  assertEquals(own.map(({ category, message }) => [category.join("."), message.join("")]), [
    ["agentexec.worker", "Processing task: look"],
    ["agentexec.task", "seen it"],
    ["agentexec.worker", "Task completed: look"],
  ]);
});

Deno.test("a handler may enqueue in a transaction of its database, and take it back", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const save = pool.task("save", { context: z.string() }, async ({ db, context, activity }) => {
    await db.transaction().execute(async (transaction) => {
      await transaction.insertInto("note").values({ text: context }).execute();
      await activity.update("saved");
      await pool.enqueue(shout, { text: context });
      if (context === "b") throw new RangeError("not that one");
    });
  });
  await using kit = testPool(pool);
  await kit.db.schema.createTable("note").addColumn("text", "text").execute();
  await pool.enqueueMany(save, ["a", "b"]);
  const runs = await kit.run();
  assertEquals(runs.map(({ taskName, status }) => [taskName, status]), [
    ["save", "complete"],
    ["save", "error"],
    ["shout", "complete"],
    ["shout", "complete"],
  ]);
  const notes = await kit.db.selectFrom("note").select("text").execute();
  assertEquals(notes.map(({ text }) => text), ["a"]);
});

Deno.test("what surrounds whoever enqueues, or waits, does not reach the handler", async () => {
  const requests = new AsyncLocalStorage<string>();
  await using subject = makeSubject();
  const { pool } = subject;
  const whose = pool.task("whose", () => requests.getStore() ?? "nobody's");
  await using _kit = testPool(pool);
  const result = await requests.run("mine", async () => (await pool.enqueue(whose)).result());
  assertEquals(result, "nobody's");
});

Deno.test("whoever waits for a task has what is due run, up to that task", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  await pool.enqueue(shout, { text: "before" });
  const task = await pool.enqueue(shout, { text: "awaited" });
  await pool.enqueue(chain, { left: 1 });
  assertEquals(await task.result(), "AWAITED");
  assertEquals(namesOf(await kit.enqueued()), ["chain"]);
});

Deno.test("whoever waits for a delayed task has it run when the clock gets there", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  const task = await pool.enqueue(shout, { text: "at last" }, { delay: { days: 1 } });
  await assertRejects(() => task.result({ timeout: { milliseconds: 50 } }), ResultTimeoutError);
  const result = task.result();
  kit.advance({ days: 1 });
  assertEquals(await result, "AT LAST");
});

Deno.test("a handler may wait for tasks that it enqueues", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const fan = pool.task("fan", { context: z.array(z.string()) }, async ({ context }) => {
    const tasks = await pool.enqueueMany(ask, context.map((text) => ({ text })));
    return await Promise.all(tasks.map((task) => task.result()));
  });
  await using kit = testPool(pool);
  await pool.enqueue(fan, ["a", "b"]);
  const runs = await kit.run();
  assertEquals(runs.map(({ taskName, result }) => [taskName, result]), [
    ["fan", ["A!", "B!"]],
    ["ask", "A!"],
    ["ask", "B!"],
    ["shout", "A"],
    ["shout", "B"],
  ]);
});

Deno.test("a handler may wait for a delayed task, which runs when the clock gets there", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const enqueued = Promise.withResolvers<void>();
  const patient = pool.task("patient", async () => {
    const task = await pool.enqueue(shout, { text: "tea" }, { delay: { minutes: 4 } });
    enqueued.resolve();
    return await task.result();
  });
  await using kit = testPool(pool, { clock: NINE });
  await pool.enqueue(patient);
  const running = kit.run();
  await enqueued.promise;
  assertEquals((await kit.enqueued(shout))[0]?.runAt, nineAnd(4));
  kit.advance({ minutes: 4 });
  assertEquals((await running).map(({ result }) => result), ["TEA", "TEA"]);
});

Deno.test("progress() gives each step of a task that runs for whoever follows it", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const walk = pool.task("walk", async ({ activity }) => {
    for (const percentage of [25, 50, 75]) await activity.update("walking", { percentage });
  });
  await using _kit = testPool(pool);
  const seen: number[] = [];
  for await (const { percentage } of (await pool.enqueue(walk)).progress()) {
    if (percentage !== null) seen.push(percentage);
  }
  assertEquals(seen, [25, 50, 75, 100]);
});

Deno.test("run() refuses to go on for ever with tasks that enqueue each other", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  await using kit = testPool(pool);
  await pool.enqueue(chain, { left: 1_000 });
  const error = await assertRejects(() => kit.run({ limit: 10 }), AgentexecError);
  assertEquals(
    error.message,
    `Cannot run all that is due on pool '${pool.name}': 1 more are due after 10 runs; tasks that enqueue each other ` +
      `without a delay never come to an end, where these do there is run({ limit })`,
  );
  assertEquals((await kit.enqueued(chain))[0]?.context, { left: 990 });
  assertEquals((await kit.run({ limit: 991 })).length, 991);
});
