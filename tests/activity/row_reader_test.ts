import type { TaskRow } from "../../src/activity/rows.ts";
import { RowReader } from "../../src/activity/row_reader.ts";
import { assertEquals, assertRejects } from "../support/assert.ts";

function rowOf(agentId: string): TaskRow {
  return { agentId } as TaskRow;
}

Deno.test("read() gathers what is asked in one turn, and what comes while a statement is under way", async () => {
  const asked: (readonly string[])[] = [];
  const [begun, first] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const reader = new RowReader(async (ids) => {
    asked.push(ids);
    begun.resolve();
    await first.promise;
    return ids.filter((id) => id !== "gone").map(rowOf);
  });
  const reads = ["a", "b"].map((id) => reader.read(id));
  await begun.promise;
  reads.push(...["b", "gone", "b", "a"].map((id) => reader.read(id)));
  first.resolve();
  const rows = await Promise.all(reads);
  assertEquals(rows.map((row) => row?.agentId), ["a", "b", "b", undefined, "b", "a"]);
  assertEquals(asked, [["a", "b"], ["b", "gone", "a"]]);
});

Deno.test("read() asks for at most 50 rows at once", async () => {
  const sizes: number[] = [];
  const reader = new RowReader((ids) => {
    sizes.push(ids.length);
    return Promise.resolve(ids.map(rowOf));
  });
  await Promise.all(Array.from({ length: 121 }, (_, at) => reader.read(String(at))));
  assertEquals(sizes, [50, 50, 21]);
});

Deno.test("read() rejects for those alone whose statement failed", async () => {
  let fail = true;
  const reader = new RowReader((ids) => {
    if (!fail) return Promise.resolve(ids.map(rowOf));
    fail = false;
    return Promise.reject(new RangeError("lost"));
  });
  const first = Promise.all(Array.from({ length: 50 }, (_, at) => reader.read(String(at))));
  const second = reader.read("b");
  await assertRejects(() => first, RangeError);
  assertEquals((await second)?.agentId, "b");
  assertEquals((await reader.read("a"))?.agentId, "a");
});
