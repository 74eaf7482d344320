import { ActivityOwnedError, ValidationError } from "../../src/errors.ts";
import { defineTask } from "../../src/task/definition.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { makeBench } from "./support.ts";

const ping = defineTask("ping");

Deno.test("activity keeps records of the program's own, from their start to their end", async () => {
  await using bench = await makeBench();
  const { activity } = bench.client;
  const id = await activity.create({
    taskName: "nightly_import",
    message: "Reading",
    metadata: { org: "o-1" },
  });
  await activity.update(id, "Halfway", { percentage: 50 });
  const halfway = await activity.detail(id);
  assertEquals(
    [halfway?.kind, halfway?.taskName, halfway?.message, halfway?.percentage, halfway?.metadata],
    ["record", "nightly_import", "Halfway", 50, { org: "o-1" }],
  );
  await activity.complete(id.toUpperCase(), "Imported 1,204 rows");
  const done = await activity.detail(id);
  assertEquals([done?.status, done?.message], ["complete", "Imported 1,204 rows"]);
  assertEquals(done?.log.map((entry) => entry.message), [
    "Reading",
    "Halfway",
    "Imported 1,204 rows",
  ]);
});

Deno.test("activity ends a record badly where the program says so", async () => {
  await using bench = await makeBench();
  const { activity } = bench.client;
  const id = await activity.create({ taskName: "nightly_import" });
  await activity.error(id, "The file was not there");
  const detail = await activity.detail(id);
  assertEquals([detail?.status, detail?.error], ["error", "The file was not there"]);
  assertEquals(detail?.message, "Task failed: The file was not there");
});

Deno.test("activity of a task is its worker's alone", async () => {
  await using bench = await makeBench();
  const { activity } = bench.client;
  const { agentId } = await bench.client.enqueue(ping);
  for (
    const call of [
      () => activity.update(agentId, "mine"),
      () => activity.complete(agentId),
      () => activity.error(agentId, "mine"),
    ]
  ) await assertRejects(call, ActivityOwnedError);
  assertEquals((await activity.detail(agentId))?.status, "queued");
});

Deno.test("activity lists, counts and measures what was enqueued", async () => {
  await using bench = await makeBench();
  const { client } = bench;
  await client.enqueueMany(ping, [undefined, undefined, undefined], { metadata: { org: "o-1" } });
  await (await bench.worker()).complete();
  const first = await client.activity.list({ metadata: { org: "o-1" }, limit: 2 });
  const second = await client.activity.list({
    metadata: { org: "o-1" },
    limit: 2,
    after: first.next,
  });
  assertEquals([first.items.length, second.items.length, second.next], [2, 1, null]);
  assertEquals(await client.activity.count({ taskName: "ping" }), 3);
  assertEquals(await client.activity.count({ metadata: { org: "o-2" } }), 0);
  assertEquals(await client.activity.countActive(), 2);
  const { counts } = await client.activity.metrics();
  assertEquals([counts.queued, counts.complete], [2, 1]);
});

Deno.test("activity.detail() of an id without a record is null", async () => {
  await using bench = await makeBench();
  assertEquals(await bench.client.activity.detail(crypto.randomUUID()), null);
});

Deno.test("activity refuses bad input before it reaches the database", async () => {
  await using bench = await makeBench();
  const { activity } = bench.client;
  const id = await activity.create({ taskName: "nightly_import" });
  const calls: [() => Promise<unknown>, new (message: string) => Error][] = [
    [() => activity.create({ taskName: "no spaces" }), RangeError],
    [() => activity.create({ taskName: "x", metadata: { a: 1n } }), ValidationError],
    [() => activity.create({ taskName: "x", metadata: { a: "\0" } }), ValidationError],
    [() => activity.update("17", "x"), TypeError],
    [() => activity.update(id, 5 as never), TypeError],
    [() => activity.update(id, "x", { percentage: 101 }), RangeError],
    [() => activity.update(id, "x", { percentage: NaN }), RangeError],
    [() => activity.error(id, undefined as never), TypeError],
    [() => activity.detail("17"), TypeError],
    [() => activity.list({ limit: 0 }), RangeError],
  ];
  for (const [call, type] of calls) await assertRejects(call, type);
  assertEquals((await activity.detail(id))?.log.length, 1);
});

Deno.test("activity refuses a time for its metrics that is none", async () => {
  await using bench = await makeBench();
  for (const since of ["2026-01-01", 0, null, new Date(NaN)] as unknown as Date[]) {
    const error = await assertRejects(() => bench.client.activity.metrics({ since }), TypeError);
    assertTrue(error.message.includes("'since'"), error.message);
  }
  assertEquals(await bench.client.activity.metrics({ since: new Date(0) }), {
    counts: {},
    tasks: [],
  });
});

Deno.test("activity names a filter that is no text by its option, and shows a percentage as it was given", async () => {
  await using bench = await makeBench();
  const { activity } = bench.client;
  for (const option of ["taskName", "queue", "errorName"]) {
    const error = await assertRejects(() => activity.list({ [option]: 5 }), TypeError);
    assertEquals(
      error.message,
      `Cannot filter by '${option}': it must be a string, current value is a number`,
    );
  }
  const id = await activity.create({ taskName: "nightly_import" });
  const error = await assertRejects(
    () => activity.complete(id, "Done", { percentage: "5" as never }),
    RangeError,
  );
  assertTrue(error.message.endsWith('current value is "5"'), error.message);
});
