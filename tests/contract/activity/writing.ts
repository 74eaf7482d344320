import { ConnectionError } from "../../../src/errors.ts";
import { assertEquals, assertRejects, assertTrue } from "../../support/assert.ts";
import { type ActivityContract, Bench, newRow } from "./bench.ts";

/** What workers and supervisors write. */
export function writing(contract: ActivityContract): void {
  const { name } = contract;

  Deno.test(`${name}: write() takes a task through its life`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task();
    const token = "1790000000000001";
    const counters = { attempt: 1 };
    const write = { agentId: id, token };
    await bench.write({ ...write, status: "running", message: "Started", counters });
    const running = await bench.detail(id);
    assertEquals(running.attempt, 1);
    assertTrue(running.startedAt !== null && running.endedAt === null);
    await bench.write({ ...write, message: "Reading", percentage: 40 });
    assertEquals((await bench.detail(id)).percentage, 40);
    await bench.write({ ...write, message: "Writing" });
    assertEquals((await bench.detail(id)).percentage, 40);
    const result = '{"summary":"ä","n":[1,2.5,null]}';
    assertEquals(
      await bench.write({ ...write, status: "complete", message: "Completed", result }),
      { kind: "written" },
    );
    const ended = await bench.detail(id);
    assertEquals(
      [ended.status, ended.message, ended.percentage, ended.error, ended.result],
      ["complete", "Completed", 100, null, JSON.parse(result)],
    );
    assertTrue(ended.endedAt !== null && ended.startedAt !== null);
    assertTrue(ended.endedAt >= ended.startedAt && ended.startedAt >= ended.createdAt);
    assertEquals(await bench.log(id), [
      "queued: Waiting",
      "running: Started",
      "running: Reading",
      "running: Writing",
      "complete: Completed",
    ]);
    assertEquals(ended.log.map(({ percentage }) => percentage), [null, null, 40, null, null]);
    const row = await bench.store.readRow(id);
    assertEquals([row?.token, row?.status, JSON.parse(row?.result ?? "")], [
      token,
      "complete",
      JSON.parse(result),
    ]);
  });

  Deno.test(`${name}: write() refuses what is older, and all that comes after an end`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.running("20");
    const older = { agentId: id, token: "19" };
    const refused = { kind: "refused", row: { status: "running", token: "20" } } as const;
    assertEquals(await bench.write({ ...older, status: "running" }), refused);
    assertEquals(await bench.write({ ...older, status: "complete", result: "1" }), refused);
    assertEquals(await bench.write({ ...older, message: "late" }), refused);
    assertEquals(await bench.write({ agentId: id, token: "21", message: "early" }), refused);
    await bench.write({ agentId: id, token: "20", status: "error", error: "first" });
    const over = { kind: "refused", row: { status: "error", token: "20" } } as const;
    for (const status of ["queued", "running", "complete", "canceled"] as const) {
      assertEquals(await bench.write({ agentId: id, token: "99", status }), over);
    }
    assertEquals(await bench.write({ agentId: id, token: "20", message: "more" }), over);
    assertEquals((await bench.detail(id)).error, "first");
  });

  Deno.test(`${name}: the same write twice is written once`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task();
    const other = bench.another();
    for (const status of ["running", "complete"] as const) {
      const write = { agentId: id, token: "3", status, message: status };
      assertEquals(await bench.write(write), { kind: "written" });
      assertEquals(await other.write(write), { kind: "written" });
    }
    assertEquals(await bench.log(id), [
      "queued: Waiting",
      "running: running",
      "complete: complete",
    ]);
  });

  Deno.test(`${name}: progress needs a running row of this very token`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task();
    assertEquals(await bench.write({ agentId: id, token: "0", message: "m" }), {
      kind: "refused",
      row: { status: "queued", token: "0" },
    });
  });

  Deno.test(`${name}: where there is no row, write() says so`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = crypto.randomUUID();
    assertEquals(await bench.write({ agentId, token: "1", status: "running" }), {
      kind: "missing",
    });
    assertEquals(await bench.store.readRow(agentId), undefined);
    assertEquals(await bench.store.detail(agentId), undefined);
  });

  Deno.test(`${name}: worker and supervisor write under one token, and no line is lost`, async () => {
    await using bench = await Bench.make(contract);
    const supervisor = bench.another();
    const id = await bench.running("4");
    await bench.write({ agentId: id, token: "4", message: "half", percentage: 50 });
    const counters = { crashes: 3 };
    const end = { status: "error", message: "died", error: "Its worker died", counters } as const;
    await supervisor.write({ agentId: id, token: "4", ...end });
    assertEquals(await bench.log(id), [
      "queued: Waiting",
      "running: null",
      "running: half",
      "error: died",
    ]);
    const { crashes, percentage } = await bench.detail(id);
    assertEquals([crashes, percentage], [3, 50]);
  });

  Deno.test(`${name}: a task that goes back keeps the line of the run that failed`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.running("4");
    await bench.write({ agentId: id, token: "4", message: "half", percentage: 50 });
    // However often, and by whomever: a supervisor that is not answered says it again, or another one does.
    for (const store of [bench.store, bench.store, bench.another()]) {
      await store.write({ agentId: id, token: "4", message: "Error: no", closesAttempt: true });
    }
    await bench.write({
      agentId: id,
      token: "5",
      status: "queued",
      message: "Waiting again",
      error: "Error: no",
      counters: { failures: 1 },
    });
    const { status, percentage, failures, error, queuedAt, createdAt } = await bench.detail(id);
    assertEquals([status, percentage, failures, error], ["queued", null, 1, "Error: no"]);
    assertTrue(queuedAt !== null && queuedAt >= createdAt);
    assertEquals((await bench.log(id)).slice(-3), [
      ...["running: half", "running: Error: no", "queued: Waiting again"],
    ]);
    await bench.write({ agentId: id, token: "6", status: "running" });
    await bench.write({ agentId: id, token: "6", status: "complete" });
    assertEquals((await bench.detail(id)).error, null);
  });

  Deno.test(`${name}: writes of one task that are made at once are made in their order`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task();
    const write = { agentId: id, token: "4" };
    const outcomes = await Promise.all([
      bench.write({ ...write, status: "running", message: "a" }),
      ...["b", "c", "d"].map((message) => bench.write({ ...write, message })),
      bench.write({ ...write, status: "complete", message: "e" }),
      bench.write({ ...write, message: "too late" }),
    ]);
    assertEquals(outcomes.map(({ kind }) => kind), [
      ...new Array(5).fill("written"),
      "refused",
    ]);
    assertEquals(
      (await bench.log(id)).join(" "),
      [
        ...[
          "queued: Waiting",
          "running: a",
          "running: b",
          "running: c",
          "running: d",
          "complete: e",
        ],
      ].join(" "),
    );
  });

  Deno.test(`${name}: a thousand tasks are written at once`, async () => {
    await using bench = await Bench.make(contract);
    const rows = Array.from({ length: 1_000 }, () => newRow());
    await bench.store.insertTasks(rows);
    const outcomes = await Promise.all(rows.flatMap(({ agentId }, index) => [
      bench.write({ agentId, token: "2", status: "running" }),
      bench.write({ agentId, token: "2", status: "complete", result: String(index) }),
    ]));
    assertTrue(outcomes.every(({ kind }) => kind === "written"));
    const read = await bench.store.readRows(rows.map(({ agentId }) => agentId));
    assertEquals(
      new Map(read.map(({ agentId, result }) => [agentId, result])),
      new Map(rows.map(({ agentId }, index) => [agentId, String(index)])),
    );
  });

  Deno.test(`${name}: a result of null is one, and not none`, async () => {
    await using bench = await Bench.make(contract);
    const [with_, without] = [await bench.running("1"), await bench.running("1")];
    await bench.write({ agentId: with_, token: "1", status: "complete", result: "null" });
    await bench.write({ agentId: without, token: "1", status: "complete" });
    assertEquals((await bench.store.readRow(with_))?.result, "null");
    assertEquals((await bench.store.readRow(without))?.result, null);
  });

  const unstorable = {
    "a NUL": '{"a":["x","\\u0000"]}',
    "half a surrogate pair": '{"a":["x","\\ud83d"]}',
    "a NUL in a name": '{"a":{"\\u0000":1}}',
    "what is no JSON": "{oops",
  };
  for (const [what, result] of Object.entries(unstorable)) {
    Deno.test(`${name}: a result with ${what} is invalid, and its neighbours are written`, async () => {
      await using bench = await Bench.make(contract);
      const ids = await Promise.all([0, 1, 2, 3, 4].map(() => bench.running("1")));
      const outcomes = await Promise.all(ids.map((agentId, index) =>
        bench.write({
          agentId,
          token: "1",
          status: "complete",
          result: index === 2 ? result : "1",
        })
      ));
      assertEquals(outcomes.map(({ kind }) => kind), [
        ...["written", "written", "invalid", "written", "written"],
      ]);
      assertEquals((await bench.detail(ids[2] ?? "")).status, "running");
      assertEquals(
        await bench.write({ agentId: ids[2] ?? "", token: "1", status: "error", error: "bad" }),
        { kind: "written" },
      );
    });
  }

  Deno.test(`${name}: a percentage that is none is invalid`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = await bench.running("1");
    for (const percentage of [NaN, -1, 101, Infinity]) {
      const { kind } = await bench.write({ agentId, token: "1", percentage });
      assertEquals(kind, "invalid");
    }
  });

  Deno.test(`${name}: messages and errors are made storable, and cut`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = await bench.running("1");
    const dirty = "a\0b\ud800c😀";
    const clean = "a\ufffdb\ufffdc😀";
    await bench.write({ agentId, token: "1", message: dirty + "x".repeat(5_000) });
    await bench.write({
      agentId,
      token: "1",
      status: "error",
      message: dirty,
      error: dirty + "é".repeat(20_000),
    });
    const { message, error, log } = await bench.detail(agentId);
    assertEquals(message, clean);
    assertTrue(error?.startsWith(clean) && error.endsWith("…"));
    const bytes = (text: string | null | undefined) => new TextEncoder().encode(text ?? "").length;
    assertTrue(bytes(error) <= 16_384 && bytes(error) > 16_300);
    const first = log.at(-2)?.message;
    assertTrue(first?.startsWith(clean) && bytes(first) <= 1_024);
  });

  Deno.test(`${name}: three processes write the same tasks, and each task ends once`, async () => {
    await using bench = await Bench.make(contract);
    const rows = Array.from({ length: 60 }, () => newRow());
    await bench.store.insertTasks(rows);
    const stores = [0, 1, 2].map(() => bench.another());
    const outcomes = await Promise.all(
      stores.map((store, index) =>
        Promise.all(
          rows.toSorted(() => index - 1).map(async ({ agentId }) => {
            const token = String(10 + index);
            await store.write({ agentId, token, status: "running" });
            const write = { agentId, token, status: "complete", result: String(index) } as const;
            return { agentId, index, outcome: await store.write(write) };
          }),
        )
      ),
    );
    const winners = outcomes.flat().filter(({ outcome }) => outcome.kind === "written");
    assertEquals(new Set(winners.map(({ agentId }) => agentId)).size, rows.length);
    assertEquals(winners.length, rows.length);
    for (const { agentId, index } of winners) {
      assertEquals((await bench.store.readRow(agentId))?.result, String(index));
    }
  });

  Deno.test(`${name}: a closed store ends what is left and takes no more; close() may be called twice`, async () => {
    await using bench = await Bench.make(contract);
    const ids = await Promise.all([0, 1, 2].map(() => bench.running("1")));
    const store = bench.another();
    await store.connect();
    const writes = ids.map((agentId) => store.write({ agentId, token: "1", status: "complete" }));
    await Promise.all([store.close(), store.close()]);
    await store.close();
    await Promise.all(writes);
    const error = await assertRejects(
      () => store.write({ agentId: ids[0] ?? "", token: "1", status: "complete" }),
      ConnectionError,
    );
    assertEquals(error.retryable, false);
    await assertRejects(() => store.list(), ConnectionError);
  });

  Deno.test(`${name}: a store that was never used closes`, async () => {
    await using bench = await Bench.bare(contract);
    await bench.another().close();
  });
}
