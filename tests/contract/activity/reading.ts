import fc from "fast-check";
import { sql } from "kysely";
import type { ActivityListOptions } from "../../../src/activity/activity.ts";
import { metricsQuery } from "../../../src/activity/metrics.ts";
import { ActivityDatabase } from "../../../src/activity/database.ts";
import { assertEquals, assertRejects, assertTrue } from "../../support/assert.ts";
import { type ActivityContract, Bench, newRow } from "./bench.ts";

/** What programs ask. */
export function reading(contract: ActivityContract): void {
  const { name } = contract;

  Deno.test(`${name}: list() pages newest first, each activity once, while others are made`, async () => {
    await using bench = await Bench.make(contract);
    // One statement: all of them have the same time.
    await bench.store.insertTasks(Array.from({ length: 95 }, () => newRow()));
    const newest = await bench.task();
    const seen: string[] = [];
    let after: string | null = null;
    do {
      const page = await bench.store.list({ limit: 10, after });
      assertTrue(page.items.length <= 10);
      seen.push(...page.items.map(({ agentId }) => agentId));
      after = page.next;
      if (seen.length === 10) await bench.task();
    } while (after !== null);
    assertEquals(seen.length, 96);
    assertEquals(new Set(seen).size, 96);
    assertEquals(seen[0], newest);
    assertEquals((await bench.store.list({ limit: 97 })).next, null);
    assertEquals((await bench.store.list()).items.length, 50);
  });

  Deno.test(`${name}: list() shows neither context nor result nor log`, async () => {
    await using bench = await Bench.make(contract);
    await bench.task();
    const [item] = (await bench.store.list()).items;
    assertEquals(
      ["context", "result", "log", "created_text"].filter((key) => key in (item ?? {})),
      [],
    );
  });

  Deno.test(`${name}: list() refuses cursors and limits that are none`, async () => {
    await using bench = await Bench.make(contract);
    const cursors = [
      ...["x", "", "'", "🙂", "MjAyNg==", btoa(`2026-99-99T99:99:99.000Z ${crypto.randomUUID()}`)],
      btoa("2026-01-01T00:00:00.000Z not-a-uuid"),
    ];
    for (const after of cursors) {
      await assertRejects(() => bench.store.list({ after }), RangeError);
    }
    for (const limit of [0, -1, 1.5, NaN, 1_001]) {
      await assertRejects(() => bench.store.list({ limit }), RangeError);
    }
  });

  Deno.test(`${name}: filters narrow lists and counts`, async () => {
    await using bench = await Bench.make(contract);
    const running = await bench.running("1", { taskName: "a" });
    const waiting = await bench.task({ taskName: "b", queue: "other" });
    const record = await bench.store.createRecord({ taskName: "a" });
    const ended = await bench.running("1", { taskName: "a" });
    await bench.write({ agentId: ended, token: "1", status: "complete" });
    const cases: [ActivityListOptions, string[]][] = [
      [{ status: "running" }, [running]],
      [{ status: ["running", "complete"] }, [running, ended]],
      [{ status: [] }, []],
      [{ taskName: "a" }, [running, record, ended]],
      [{ taskName: "a", kind: "task" }, [running, ended]],
      [{ kind: "record" }, [record]],
      [{ queue: "other" }, [waiting]],
      [{ taskName: "\0" }, []],
      [{ queue: "\ud800" }, []],
      [{ taskName: "' or 1=1 --" }, []],
    ];
    for (const [filter, ids] of cases) {
      const { items } = await bench.store.list(filter);
      assertEquals(items.map(({ agentId }) => agentId).sort(), ids.toSorted());
      assertEquals(await bench.store.count(filter), ids.length);
    }
    assertEquals(await bench.store.countActive(), 3);
    assertEquals(await bench.store.countActive({ kind: "task" }), 2);
  });

  Deno.test(`${name}: a metadata filter that cannot be meant is refused`, async () => {
    await using bench = await Bench.make(contract);
    for (const key of ["", "a b", "a'b", 'a"b', "$", "[0]", "*", "k".repeat(65), "ä", "a\0"]) {
      await assertRejects(() => bench.store.count({ metadata: { [key]: 1 } }), RangeError);
    }
    for (const value of [NaN, Infinity, {}, [], undefined, 1n]) {
      const filter = { metadata: { a: value } } as unknown as ActivityListOptions;
      await assertRejects(() => bench.store.count(filter), TypeError);
    }
  });

  Deno.test(`${name}: metadata filters find what an equality of JSON values finds`, async () => {
    await using bench = await Bench.make(contract, { metadataIndexes: ["a", "a.b"] });
    const keys = ["a", "b", "a.b", "a-b", "0", "__proto__", "A"];
    const scalar = fc.oneof(
      fc.constantFrom(
        1,
        "1",
        true,
        "true",
        null,
        "null",
        0,
        "",
        false,
        1.5,
        "a'b",
        '"',
        "\\",
        "ä😀",
      ),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.string({ unit: "binary", maxLength: 6 }),
    );
    const stored = fc.dictionary(fc.constantFrom(...keys), fc.oneof(scalar, fc.array(scalar)), {
      maxKeys: 3,
      noNullPrototype: true,
    }).map((metadata) => JSON.stringify(metadata))
      .filter((json) => !/\\u0000|\\ud[89a-f]/i.test(json));
    const [metadata] = fc.sample(fc.array(stored, { minLength: 150, maxLength: 150 }), {
      numRuns: 1,
      seed: 7,
    });
    const rows = (metadata ?? []).map((json) => newRow({ metadata: json }));
    await bench.store.insertTasks(rows);
    const values = rows.flatMap((row) => Object.values(JSON.parse(row.metadata)));
    const known = values.filter((value) => typeof value !== "object" || value === null);
    const filters = fc.dictionary(
      fc.constantFrom(...keys),
      fc.oneof(fc.constantFrom(...known), scalar),
      { minKeys: 1, maxKeys: 2, noNullPrototype: true },
    );
    await fc.assert(
      fc.asyncProperty(filters, async (filter) => {
        const expected = rows.filter((row) => meets(JSON.parse(row.metadata), filter));
        const { items } = await bench.store.list({
          metadata: filter as Record<string, string | number | boolean | null>,
          limit: 1_000,
        });
        assertEquals(
          items.map(({ agentId }) => agentId).sort(),
          expected.map(({ agentId }) => agentId).sort(),
        );
      }),
      { numRuns: 150 },
    );
  });

  Deno.test(`${name}: count() stops at 10,000`, async () => {
    await using bench = await Bench.make(contract);
    for (let chunk = 0; chunk < 11; chunk++) {
      await bench.store.insertTasks(
        Array.from({ length: 1_000 }, () => newRow({ context: null })),
      );
    }
    assertEquals(await bench.store.count(), 10_000);
    assertEquals(await bench.store.count({ taskName: "none" }), 0);
  });

  Deno.test(`${name}: metrics() counts tasks and measures their times`, async () => {
    await using bench = await Bench.make(contract);
    assertEquals(await bench.store.metrics(), { counts: {}, tasks: [] });
    await bench.store.createRecord({ taskName: "a" });
    await bench.task({ taskName: "b" });
    const running = await bench.running("1", { taskName: "a" });
    const ended = await bench.running("1", { taskName: "a" });
    await bench.write({ agentId: ended, token: "1", status: "complete" });
    const { counts, tasks } = await bench.store.metrics();
    assertEquals(counts, { queued: 1, running: 1, complete: 1 });
    assertEquals(tasks.map(({ taskName }) => taskName), ["a", "b"]);
    assertEquals(tasks[0]?.counts, { running: 1, complete: 1 });
    const { wait, run } = tasks[0] ?? {};
    for (const times of [wait, run]) {
      assertTrue(times && times.mean >= 0 && times.max >= times.mean && times.max < 60_000);
    }
    assertEquals([tasks[1]?.wait, tasks[1]?.run], [null, null]);
    const { createdAt } = await bench.detail(running);
    const since = new Date(createdAt.getTime() + 3_600_000);
    assertEquals((await bench.store.metrics({ since })).counts, {});
    assertEquals((await bench.store.metrics({ since: new Date(0) })).counts, counts);
  });

  Deno.test(`${name}: metrics() is of the last hour unless it is told otherwise`, async () => {
    await using bench = await Bench.make(contract);
    const [old, ended, fresh] = [await bench.task(), await bench.running("1"), await bench.task()];
    await bench.write({ agentId: ended, token: "1", status: "complete" });
    const past = new Date(Date.now() - 3_700_000).toISOString();
    await bench.sql(
      sql`update agentexec_activity set created_at = ${past} where agent_id in (${old}, ${ended})`,
    );
    assertEquals((await bench.store.metrics()).counts, { complete: 1, queued: 1 });
    assertEquals((await bench.store.metrics({ since: new Date(0) })).counts, {
      complete: 1,
      queued: 2,
    });
    assertEquals((await bench.detail(old)).createdAt.toISOString(), past);
    assertTrue((await bench.detail(fresh)).createdAt.toISOString() > past);
  });

  Deno.test(`${name}: metrics() reads two ranges of indexes, not the table`, async () => {
    await using bench = await Bench.make(contract);
    for (let chunk = 0; chunk < 5; chunk++) {
      await bench.store.insertTasks(
        Array.from({ length: 1_000 }, () => newRow({ context: null })),
      );
    }
    const past = new Date(Date.now() - 86_400_000).toISOString();
    await bench.sql(
      sql`update agentexec_activity set created_at = ${past}, ended_at = ${past}, status = 'complete'`,
    );
    await bench.sql(sql`analyze agentexec_activity`);
    const database = new ActivityDatabase({ ...bench.ground, tablePrefix: "agentexec_" });
    const explain = database.dialect === "sqlite" ? sql`explain query plan` : sql`explain`;
    for (const options of [{}, { since: new Date(Date.now() - 60_000) }]) {
      const plan = await bench.sql(sql`${explain} ${metricsQuery(database, options)}`);
      const text = JSON.stringify(plan);
      for (const index of ["agentexec_activity_newest", "agentexec_activity_ended"]) {
        assertTrue(text.includes(index), text);
      }
      assertTrue(!/Seq Scan|SCAN agentexec_activity/.test(text), text);
    }
    await database.close();
  });

  Deno.test(`${name}: times and percentages come back as they went in`, async () => {
    await using bench = await Bench.make(contract);
    const runAt = new Date("2031-12-01T02:03:04.567Z");
    const before = Date.now() - 60_000;
    const id = await bench.running("1", { runAt });
    const percentage = 100 / 3;
    await bench.write({ agentId: id, token: "1", percentage });
    await bench.write({ agentId: id, token: "1", status: "complete", percentage, result: "1" });
    const detail = await bench.detail(id);
    assertEquals(detail.runAt?.toISOString(), runAt.toISOString());
    const times = [detail.createdAt, detail.queuedAt, detail.startedAt, detail.endedAt];
    for (const time of [...times, ...detail.log.map(({ at }) => at)]) {
      assertTrue(time !== null && time.getTime() > before, String(time));
      assertTrue(time.getTime() < Date.now() + 60_000, String(time));
    }
    assertEquals(detail.percentage, percentage);
    assertEquals(detail.log.at(-1)?.percentage, percentage);
    const [row] = await bench.store.readRows([id]);
    assertEquals([row?.runAt?.toISOString(), row?.percentage], [runAt.toISOString(), percentage]);
    const [item] = (await bench.store.list()).items;
    assertEquals(item?.createdAt.getTime(), detail.createdAt.getTime());
    const waiting = await bench.task();
    const [live] = await bench.store.liveTasks({ queue: "q", limit: 10 });
    assertEquals(live?.agentId, waiting);
    assertTrue(Math.abs(live?.queuedAgeMs ?? NaN) < 60_000, String(live?.queuedAgeMs));
    const run = (await bench.store.metrics()).tasks[0]?.run;
    assertTrue(run && run.mean >= 0 && run.mean < 60_000, JSON.stringify(run));
  });

  Deno.test(`${name}: readRows() gives what is there`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task({ metadata: '{"org":1}' });
    const [row, ...rest] = await bench.store.readRows([crypto.randomUUID(), id]);
    assertEquals(rest, []);
    assertEquals(JSON.parse(row?.metadata ?? ""), { org: 1 });
    assertEquals(JSON.parse(row?.context ?? ""), { company: "Acme" });
    assertEquals([row?.token, row?.status, row?.kind, row?.queue, row?.result], [
      ...["0", "queued", "task", "q", null],
    ]);
    assertEquals(await bench.store.readRows([]), []);
  });
}

/** The oracle: a member with this very JSON value. */
function meets(metadata: Record<string, unknown>, filter: Record<string, unknown>): boolean {
  return Object.entries(filter).every(([key, value]) =>
    Object.hasOwn(metadata, key) && JSON.stringify(metadata[key]) === JSON.stringify(value)
  );
}
