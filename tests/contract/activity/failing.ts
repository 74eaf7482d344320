import { sql } from "kysely";
import { assertEquals, assertTrue } from "../../support/assert.ts";
import { type ActivityContract, Bench, newRow } from "./bench.ts";

const FAILURE = {
  name: "TypeError",
  message: "x is not a function",
  stack: "TypeError: x\n    at y",
};

/** What went wrong, in parts. */
export function failing(contract: ActivityContract): void {
  const { name } = contract;

  Deno.test(`${name}: a failure is kept in parts beside its text, in lists and in details`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = await bench.running("1");
    await bench.write({ agentId, token: "1", status: "error", error: "text", failure: FAILURE });
    const [item] = (await bench.store.list()).items;
    assertEquals([item?.error, item?.failure], ["text", FAILURE]);
    assertEquals((await bench.detail(agentId)).failure, FAILURE);
    const other = await bench.task();
    assertEquals((await bench.detail(other)).failure, null);
  });

  Deno.test(`${name}: of a failure is stored what a database can hold, up to 16 KiB of each part`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = await bench.running("1");
    await bench.write({
      agentId,
      token: "1",
      status: "error",
      error: "text",
      failure: { name: "N\0ame", message: "a\ud800b", stack: "é".repeat(20_000) },
    });
    const { failure } = await bench.detail(agentId);
    assertEquals([failure?.name, failure?.message], ["N\ufffdame", "a\ufffdb"]);
    const bytes = new TextEncoder().encode(failure?.stack ?? "").length;
    assertTrue(bytes > 16_000 && bytes <= 16_384, `${bytes} bytes`);
  });

  Deno.test(`${name}: what is completed, or opened again, has no failure`, async () => {
    await using bench = await Bench.make(contract);
    const row = newRow();
    await bench.store.insertTasks([row]);
    await bench.store.refuse([row.agentId]);
    const refused = await bench.detail(row.agentId);
    assertEquals([refused.error, refused.failure?.name], ["not accepted", "EnqueueError"]);
    assertEquals(await bench.store.count({ errorName: "EnqueueError" }), 1);
    await bench.store.insertTasks([row]);
    assertEquals((await bench.detail(row.agentId)).failure, null);
    assertEquals(await bench.store.count({ errorName: "EnqueueError" }), 0);
  });

  Deno.test(`${name}: a failed record has its failure in parts too`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.store.createRecord({ taskName: "import" });
    await bench.store.failRecord(id, "no disk\0");
    const failure = { name: "Error", message: "no disk\ufffd", stack: null };
    assertEquals((await bench.detail(id)).failure, failure);
  });

  Deno.test(`${name}: a row that an older version of the library wrote has no parts, and a time`, async () => {
    await using bench = await Bench.make(contract);
    const agentId = await bench.running("1");
    await bench.write({ agentId, token: "1", status: "error", error: "text", failure: FAILURE });
    await bench.sql(sql`
      update agentexec_activity set error_name = null, error_detail = null, updated_at = null`);
    const { error, failure, updatedAt, endedAt } = await bench.detail(agentId);
    assertEquals([error, failure, updatedAt], ["text", null, endedAt]);
  });
}
