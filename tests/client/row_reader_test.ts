import type { TaskRow } from "../../src/activity/activity.ts";
import { RowReader } from "../../src/client/row_reader.ts";
import { assertEquals, assertRejects } from "../support/assert.ts";

function rowOf(agentId: string): TaskRow {
  return { agentId } as TaskRow;
}

Deno.test("read() asks at once where nothing is under way, and gathers what comes meanwhile", async () => {
  const asked: (readonly string[])[] = [];
  const first = Promise.withResolvers<void>();
  const reader = new RowReader(async (ids) => {
    asked.push(ids);
    await first.promise;
    return ids.filter((id) => id !== "gone").map(rowOf);
  });
  const reads = ["a", "b", "gone", "b"].map((id) => reader.read(id));
  first.resolve();
  const rows = await Promise.all(reads);
  assertEquals(rows.map((row) => row?.agentId), ["a", "b", undefined, "b"]);
  assertEquals(asked, [["a"], ["b", "gone"]]);
});

Deno.test("read() asks for at most 50 rows at once", async () => {
  const sizes: number[] = [];
  const reader = new RowReader((ids) => {
    sizes.push(ids.length);
    return Promise.resolve(ids.map(rowOf));
  });
  await Promise.all(Array.from({ length: 121 }, (_, at) => reader.read(String(at))));
  assertEquals(sizes, [1, 50, 50, 20]);
});

Deno.test("read() rejects for those alone whose statement failed", async () => {
  let fail = true;
  const reader = new RowReader((ids) => {
    if (!fail) return Promise.resolve(ids.map(rowOf));
    fail = false;
    return Promise.reject(new RangeError("lost"));
  });
  const [first, second] = [reader.read("a"), reader.read("b")];
  await assertRejects(() => first, RangeError);
  assertEquals((await second)?.agentId, "b");
  assertEquals((await reader.read("a"))?.agentId, "a");
});
