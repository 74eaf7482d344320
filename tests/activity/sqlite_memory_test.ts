import { sql } from "kysely";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { Bench, newRow } from "../contract/activity/bench.ts";

/** A database in the memory of this process, one for each store. */
const contract = {
  name: "memory",
  ground: () =>
    Promise.resolve({
      address: { kind: "sqlite", url: "sqlite::memory:", path: ":memory:" } as const,
      [Symbol.asyncDispose]: () => Promise.resolve(),
    }),
};

Deno.test("a store in memory is migrated, written and read over one connection", async () => {
  await using bench = await Bench.make(contract, { metadataIndexes: ["org"] });
  await bench.store.connect();
  await bench.store.checkMigrated();
  await bench.store.migrate();
  const id = await bench.running("1", { metadata: '{"org":"o"}' });
  await bench.write({ agentId: id, token: "1", status: "complete", result: "[1]" });
  const { status, result, log } = await bench.detail(id);
  assertEquals([status, result, log.length], ["complete", [1], 3]);
  const { items } = await bench.store.list({ metadata: { org: "o" } });
  assertEquals(items.map(({ agentId }) => agentId), [id]);
});

Deno.test("two stores in memory know nothing of each other", async () => {
  await using one = await Bench.make(contract);
  await using other = await Bench.make(contract);
  const id = await one.task();
  assertTrue(await one.store.readRow(id) !== undefined);
  assertEquals(await other.store.readRow(id), undefined);
});

Deno.test("a program's transactions and a store's writes share the connection in memory", async () => {
  await using bench = await Bench.make(contract);
  const db = bench.store.database();
  await sql`create table counter (n integer)`.execute(db);
  await sql`insert into counter (n) values (0)`.execute(db);
  const increments = Array.from(
    { length: 50 },
    (_, nth) =>
      db.transaction().execute(async (transaction) => {
        const { rows } = await sql<{ n: number }>`select n from counter`.execute(transaction);
        await sql`update counter set n = ${(rows[0]?.n ?? 0) + 1}`.execute(transaction);
        // What the program takes back must take nothing of the store's along.
        if (nth % 5 === 0) throw new RangeError("taken back");
      }).catch((error: unknown) => assertTrue(error instanceof RangeError)),
  );
  const tasks = Array.from({ length: 50 }, async () => {
    const row = newRow();
    await bench.store.insertTasks([row]);
    const write = { agentId: row.agentId, token: "1" };
    await bench.write({ ...write, status: "running" });
    assertEquals((await bench.store.readRow(row.agentId))?.status, "running");
    await bench.write({ ...write, status: "complete" });
  });
  await Promise.all([...increments, ...tasks]);
  const { rows } = await sql<{ n: number }>`select n from counter`.execute(db);
  assertEquals(rows[0]?.n, 40);
  assertEquals(await bench.store.count({ status: "complete" }), 50);
});
