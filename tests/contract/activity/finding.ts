import type { ActivityListOptions } from "../../../src/activity/activity.ts";
import { assertEquals, assertRejects, assertTrue } from "../../support/assert.ts";
import { type ActivityContract, Bench, newRow } from "./bench.ts";

/** Filters and orders of lists. */
export function finding(contract: ActivityContract): void {
  const { name } = contract;

  Deno.test(`${name}: lists and counts are narrowed by ids, by times of creation and by the error's name`, async () => {
    await using bench = await Bench.make(contract);
    const [a, b] = [await bench.failed("TypeError"), await bench.failed("RangeError")];
    const c = await bench.task();
    await bench.createdAt(a, "2026-01-01T00:00:00.000Z");
    await bench.createdAt(b, "2026-01-02T00:00:00.000Z");
    await bench.createdAt(c, "2026-01-03T00:00:00.000Z");
    const day = (number: number) => new Date(Date.UTC(2026, 0, number));
    const cases: [ActivityListOptions, string[]][] = [
      [{ agentIds: [a, c] }, [a, c]],
      [{ agentIds: [b.toUpperCase(), crypto.randomUUID()] }, [b]],
      [{ agentIds: [] }, []],
      [{ agentIds: [a, b, c], status: "queued" }, [c]],
      [{ createdAfter: day(2) }, [b, c]],
      [{ createdBefore: day(2) }, [a]],
      [{ createdAfter: day(1), createdBefore: day(3) }, [a, b]],
      [{ createdAfter: new Date(-8.64e15), createdBefore: new Date(8.64e15) }, [a, b, c]],
      [{ createdAfter: new Date(8.64e15) }, []],
      [{ createdBefore: new Date(-8.64e15) }, []],
      [{ errorName: "TypeError" }, [a]],
      [{ errorName: "TypeError", agentIds: [b] }, []],
      [{ errorName: "Error\0" }, []],
    ];
    for (const [filter, ids] of cases) {
      const { items } = await bench.store.list(filter);
      assertEquals(items.map(({ agentId }) => agentId).sort(), ids.toSorted());
      assertEquals(await bench.store.count(filter), ids.length);
    }
  });

  Deno.test(`${name}: a list by 40,000 ids finds those that are there`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task();
    const agentIds = [...Array.from({ length: 40_000 }, () => crypto.randomUUID()), id];
    const { items } = await bench.store.list({ agentIds });
    assertEquals(items.map(({ agentId }) => agentId), [id]);
  });

  Deno.test(`${name}: a filter that can find nothing, since it is misspelt, is refused`, async () => {
    await using bench = await Bench.make(contract);
    const bad: [unknown, string][] = [
      [{ status: "completed" }, "'status'"],
      [{ status: ["running", "done"] }, "'status'"],
      [{ kind: "tasks" }, "'kind'"],
      [{ agentIds: "x" }, "'agentIds'"],
      [{ agentIds: ["x"] }, "agentIds[0]"],
      [{ agentIds: [null] }, "agentIds[0]"],
      [{ createdAfter: "2026-01-01" }, "'createdAfter'"],
      [{ createdBefore: new Date(NaN) }, "'createdBefore'"],
      [{ errorName: 5 }, "'errorName'"],
    ];
    for (const [filter, named] of bad) {
      const error = await assertRejects(
        () => bench.store.list(filter as ActivityListOptions),
        TypeError,
      );
      assertTrue(error.message.includes(named), error.message);
    }
    const order = await assertRejects(
      () => bench.store.list({ order: "oldest" as never }),
      TypeError,
    );
    assertTrue(order.message.includes('"newest" or "active"'), order.message);
  });

  Deno.test(`${name}: the order active has what runs, what waits and the rest, each newest first`, async () => {
    await using bench = await Bench.make(contract);
    const ended = await bench.failed("Error");
    const running = await bench.running("1");
    const waiting = [await bench.task(), await bench.task({ queue: "other" })];
    const canceled = await bench.task();
    await bench.store.cancelRow(canceled, "2");
    const record = await bench.store.createRecord({ taskName: "import" });
    await bench.store.updateRecord(record, { message: "Half" });
    const expected = [record, running, ...waiting.toReversed(), canceled, ended];
    for (const limit of [1, 2, 3, 50]) {
      assertEquals(await walk(bench, { order: "active", limit }), expected);
    }
    assertEquals(
      await walk(bench, { order: "active", limit: 1, queue: "q", kind: "task" }),
      [running, waiting[0], canceled, ended].filter((id) => id !== undefined),
    );
  });

  Deno.test(`${name}: pages of the order active have each activity once, while tasks start, end and are made`, async () => {
    await using bench = await Bench.make(contract);
    const made = await Promise.all(Array.from({ length: 30 }, () => bench.task()));
    const [running, waiting] = [made.slice(0, 10), made.slice(10, 20)];
    for (const agentId of running) await bench.write({ agentId, token: "1", status: "running" });
    for (const agentId of made.slice(20)) await bench.store.cancelRow(agentId, "1");
    let step = 0;
    const seen = await walk(bench, { order: "active", limit: 4 }, async () => {
      await bench.task();
      for (const agentId of running.slice(step, step + 3)) {
        await bench.write({ agentId, token: "1", status: "complete" });
      }
      for (const agentId of waiting.slice(step, step + 3)) {
        await bench.write({ agentId, token: "1", status: "running" });
      }
      // One goes back to the queue.
      const agentId = running[9 - step] ?? "";
      if (step < 3) await bench.write({ agentId, token: "2", status: "queued" });
      step += 3;
    });
    assertEquals(seen.toSorted(), made.toSorted());
  });

  Deno.test(`${name}: a cursor of one order is refused in the other`, async () => {
    await using bench = await Bench.make(contract);
    await bench.store.insertTasks([newRow(), newRow(), newRow()]);
    const orders = ["newest", "active"] as const;
    for (const order of orders) {
      const { next } = await bench.store.list({ order, limit: 1 });
      const other = orders.find((each) => each !== order) ?? "newest";
      await assertRejects(() => bench.store.list({ order: other, after: next }), RangeError);
      for (const after of ["x", btoa("3 x y z"), btoa("0 2026-99-01T00:00:00.000Z x y")]) {
        await assertRejects(() => bench.store.list({ order, after }), RangeError);
      }
    }
  });

  Deno.test(`${name}: an id of any UUID version may end a page`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    await bench.store.insertTasks([newRow({ agentId }), newRow()]);
    const { next } = await bench.store.list({ limit: 1 });
    assertEquals((await bench.store.list({ limit: 1, after: next })).items.length, 1);
  });

  Deno.test(`${name}: each change of an activity moves its updatedAt`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task();
    const steps = [
      () => bench.write({ agentId: id, token: "1", status: "running" }),
      () => bench.write({ agentId: id, token: "1", message: "Half", percentage: 50 }),
      () => bench.write({ agentId: id, token: "2", status: "queued" }),
      () => bench.store.cancelRow(id, "3"),
    ];
    const made = await bench.detail(id);
    assertEquals(made.updatedAt, made.createdAt);
    for (const step of steps) {
      await bench.backdate(id);
      const before = (await bench.detail(id)).updatedAt;
      await step();
      assertTrue((await bench.detail(id)).updatedAt > before);
    }
    const record = await bench.store.createRecord({ taskName: "import" });
    await bench.backdate(record);
    const before = (await bench.detail(record)).updatedAt;
    await bench.store.updateRecord(record, { message: "Half" });
    await bench.store.updateRecord(record, { message: "More" });
    assertTrue((await bench.detail(record)).updatedAt > before);
  });

  Deno.test(`${name}: detail() with metadata knows nothing of an activity of others`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.task({ metadata: '{"org":"o-1","n":1}' });
    assertEquals((await bench.store.detail(id, { metadata: { org: "o-1", n: 1 } }))?.agentId, id);
    assertEquals((await bench.store.detail(id, { metadata: {} }))?.agentId, id);
    for (const metadata of [{ org: "o-2" }, { org: "o-1", n: "1" }, { none: null }]) {
      assertEquals(await bench.store.detail(id, { metadata }), undefined);
    }
    const bad = { metadata: { org: undefined } } as never;
    await assertRejects(() => bench.store.detail(id, bad), TypeError);
  });
}

/** The ids of all pages; between two of them something else happens. */
async function walk(
  bench: Bench,
  options: ActivityListOptions,
  between: () => Promise<void> = () => Promise.resolve(),
): Promise<readonly string[]> {
  const seen: string[] = [];
  let after: string | null = null;
  do {
    const page = await bench.store.list({ ...options, after });
    seen.push(...page.items.map(({ agentId }) => agentId));
    after = page.next;
    if (after !== null) await between();
  } while (after !== null);
  return seen;
}
