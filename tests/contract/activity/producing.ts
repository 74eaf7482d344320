import { ValidationError } from "../../../src/errors.ts";
import { assertEquals, assertRejects, assertTrue } from "../../support/assert.ts";
import { type ActivityContract, Bench, newRow } from "./bench.ts";

/** What producers write. */
export function producing(contract: ActivityContract): void {
  const { name } = contract;

  Deno.test(`${name}: insertTasks() makes a row that waits, with the first line of its log`, async () => {
    await using bench = await Bench.make(contract);
    const runAt = new Date("2031-05-06T07:08:09.123Z");
    const parentId = crypto.randomUUID();
    const metadata = '{"org":"o-1","n":1.5,"list":[1,"x"],"nothing":null}';
    const row = newRow({ runAt, parentId, metadata, context: '{"b":[1,2],"a":"ä 😀 \\"q\\""}' });
    assertEquals(await bench.store.insertTasks([row]), [{ kind: "inserted" }]);
    const { createdAt, queuedAt, updatedAt, log, ...rest } = await bench.detail(row.agentId);
    assertEquals(rest, {
      agentId: row.agentId,
      kind: "task",
      queue: "q",
      taskName: "research",
      status: "queued",
      attempt: 0,
      failures: 0,
      crashes: 0,
      lapses: 0,
      metadata: JSON.parse(metadata),
      message: "Waiting",
      percentage: null,
      error: null,
      failure: null,
      runAt,
      startedAt: null,
      endedAt: null,
      context: { b: [1, 2], a: 'ä 😀 "q"' },
      result: null,
    });
    assertEquals([queuedAt, updatedAt], [createdAt, createdAt]);
    assertTrue(Math.abs(createdAt.getTime() - Date.now()) < 60_000, "a time of the database");
    assertEquals(log.map(({ at: _, ...line }) => line), [
      { status: "queued", message: "Waiting", percentage: null },
    ]);
  });

  Deno.test(`${name}: insertTasks() with a known id says whether it is the same task`, async () => {
    await using bench = await Bench.make(contract);
    const row = newRow({ context: '{"a":1,"b":{"c":[1,2],"d":null}}' });
    await bench.store.insertTasks([row]);
    const reordered = { ...row, context: '{"b":{"d":null,"c":[1,2]},"a":1}' };
    const others = [
      { ...row, context: '{"a":1,"b":{"c":[2,1],"d":null}}' },
      { ...row, context: null },
      { ...row, taskName: "other" },
    ];
    assertEquals(await bench.store.insertTasks([reordered]), [
      { kind: "same", status: "queued", token: "0" },
    ]);
    for (const other of others) {
      assertEquals(await bench.store.insertTasks([other]), [
        { kind: "conflict", taskName: "research" },
      ]);
    }
    await bench.write({ agentId: row.agentId, token: "1700000000000000", status: "running" });
    assertEquals(await bench.store.insertTasks([row]), [
      { kind: "same", status: "running", token: "1700000000000000" },
    ]);
    assertEquals(await bench.log(row.agentId), ["queued: Waiting", "running: null"]);
  });

  Deno.test(`${name}: insertTasks() never takes the id of a record`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.store.createRecord({ taskName: "research" });
    assertEquals(await bench.store.insertTasks([newRow({ agentId: id, context: null })]), [
      { kind: "conflict", taskName: "research" },
    ]);
  });

  Deno.test(`${name}: insertTasks() makes a thousand rows, known and new, and answers in their order`, async () => {
    await using bench = await Bench.make(contract);
    const known = Array.from({ length: 10 }, () => newRow());
    await bench.store.insertTasks(known);
    const rows = Array.from({ length: 990 }, () => newRow());
    const all = known.flatMap((row, index) => [...rows.slice(index * 99, index * 99 + 99), row]);
    const outcomes = await bench.store.insertTasks(all);
    assertEquals(outcomes.length, 1_000);
    for (const [index, outcome] of outcomes.entries()) {
      assertEquals(outcome.kind, index % 100 === 99 ? "same" : "inserted");
    }
    assertEquals(await bench.store.count(), 1_000);
    assertEquals(await bench.store.insertTasks([]), []);
  });

  Deno.test(`${name}: insertTasks() tells apart what has the same id in one call`, async () => {
    await using bench = await Bench.make(contract);
    const row = newRow();
    assertEquals(
      (await bench.store.insertTasks([row, { ...row }, { ...row, taskName: "other" }])).map(
        ({ kind }) => kind,
      ),
      ["inserted", "same", "conflict"],
    );
  });

  Deno.test(`${name}: insertTasks() of the same tasks from five processes makes each once`, async () => {
    await using bench = await Bench.make(contract);
    const rows = Array.from({ length: 50 }, () => newRow());
    const stores = Array.from({ length: 5 }, () => bench.another());
    const outcomes = await Promise.all(
      stores.map((store, index) => store.insertTasks(index % 2 === 0 ? rows : rows.toReversed())),
    );
    const inserted = outcomes.flat().filter(({ kind }) => kind === "inserted");
    assertEquals(inserted.length, rows.length);
    assertEquals(await bench.store.count(), rows.length);
    assertEquals(await bench.log(rows[0]?.agentId ?? ""), ["queued: Waiting"]);
  });

  for (const [what, text] of [["NUL", '"\\u0000"'], ["half a surrogate pair", '"\\ud800"']]) {
    Deno.test(`${name}: insertTasks() refuses ${what} in context and metadata, and names the place`, async () => {
      await using bench = await Bench.make(contract);
      for (const given of [{ context: `{"a":[1,${text}]}` }, { metadata: `{"a":[1,${text}]}` }]) {
        const error = await assertRejects(
          () => bench.store.insertTasks([newRow(given)]),
          ValidationError,
        );
        assertTrue(error.message.includes("a[1]"), error.message);
      }
      assertEquals(await bench.store.count(), 0);
    });
  }

  Deno.test(`${name}: a context that only looks like a NUL is kept as it is`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task({ context: '{"a":"\\\\u0000 \\\\ud800"}' });
    assertEquals((await bench.detail(id)).context, { a: "\\u0000 \\ud800" });
  });

  Deno.test(`${name}: a store that keeps no contexts takes each for the same`, async () => {
    await using bench = await Bench.make(contract, { storeContext: false });
    const row = newRow();
    await bench.store.insertTasks([row]);
    assertEquals((await bench.detail(row.agentId)).context, null);
    const [outcome] = await bench.store.insertTasks([{ ...row, context: '{"other":1}' }]);
    assertEquals(outcome?.kind, "same");
  });

  Deno.test(`${name}: refuse() ends only what nobody has taken up, and says the same when asked again`, async () => {
    await using bench = await Bench.make(contract);
    const waiting = await bench.task();
    const running = await bench.running("5");
    const record = await bench.store.createRecord({ taskName: "r" });
    const ids = [waiting, running, record, crypto.randomUUID()];
    assertEquals(await bench.store.refuse(ids), [waiting]);
    assertEquals(await bench.store.refuse(ids), [waiting]);
    const { status, error, endedAt, log } = await bench.detail(waiting);
    assertEquals({ status, error, lines: log.length }, {
      status: "error",
      error: "not accepted",
      lines: 2,
    });
    assertTrue(endedAt !== null);
    assertEquals((await bench.detail(running)).status, "running");
    assertEquals(await bench.store.refuse([]), []);
  });

  Deno.test(`${name}: a task that was not accepted is opened again by its id, with its log`, async () => {
    await using bench = await Bench.make(contract);
    const row = newRow();
    await bench.store.insertTasks([row]);
    await bench.store.refuse([row.agentId]);
    assertEquals(await bench.store.insertTasks([{ ...row, taskName: "other" }]), [
      { kind: "conflict", taskName: "research" },
    ]);
    assertEquals(await bench.store.insertTasks([row]), [{ kind: "inserted" }]);
    const { status, error, endedAt } = await bench.detail(row.agentId);
    assertEquals({ status, error, endedAt }, { status: "queued", error: null, endedAt: null });
    assertEquals((await bench.log(row.agentId)).map((line) => line.split(":")[0]), [
      "queued",
      "error",
      "queued",
    ]);
    await bench.write({ agentId: row.agentId, token: "1", status: "error", error: "its own" });
    const [outcome] = await bench.store.insertTasks([row]);
    assertEquals(outcome, { kind: "same", status: "error", token: "1" });
  });
}
