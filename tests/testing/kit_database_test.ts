import { sql } from "kysely";
import { AgentexecError, type Database } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import { z } from "zod";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { within } from "../support/wait.ts";
import { fail, makeSubject, shout } from "./support.ts";

async function statuses(db: Database): Promise<readonly string[]> {
  const rows = await db.selectFrom("agentexec_activity").select(["task_name", "status"])
    .orderBy("created_at").orderBy("agent_id").execute();
  return rows.map(({ task_name, status }) => `${task_name} ${status}`);
}

async function textsOf(db: Database): Promise<readonly string[]> {
  const rows = await db.selectFrom("note").select("text").orderBy("text").execute();
  return rows.map(({ text }) => text);
}

Deno.test("a handler's database, and the kit's, is that of the kit's rows", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const look = pool.task("look", async ({ agentId, db }) => {
    const rows = await db.selectFrom("agentexec_activity").selectAll()
      .where("agent_id", "=", agentId).execute();
    return rows.map(({ status, task_name }) => [task_name, status]);
  });
  await using kit = testPool(pool);
  // The tables are there from the beginning.
  assertEquals(await statuses(kit.db), []);
  await pool.enqueue(look);
  assertEquals(await statuses(kit.db), ["look queued"]);
  assertEquals((await kit.run())[0]?.result, [["look", "running"]]);
  assertEquals(await statuses(kit.db), ["look complete"]);
  // What the test writes is what the pool reads.
  await kit.db.updateTable("agentexec_activity").set({ message: "by the test" }).execute();
  assertEquals((await pool.activity.list()).items[0]?.message, "by the test");
});

Deno.test("a pool's own table prefix names the rows in the kit's database", async () => {
  await using subject = makeSubject({ tablePrefix: "mine_" });
  await using kit = testPool(subject.pool);
  await subject.pool.enqueue(shout, { text: "a" });
  assertEquals((await kit.db.selectFrom("mine_activity").selectAll().execute()).length, 1);
});

Deno.test("a transaction that a handler takes back takes nothing back that was not its own", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const undo = pool.task("undo", async ({ db, activity }) => {
    await db.transaction().execute(async (transaction) => {
      await transaction.insertInto("note").values({ text: "mine" }).execute();
      await activity.update("half way", { percentage: 50 });
      await db.insertInto("note").values({ text: "beside it" }).execute();
      await (await pool.enqueue(shout, { text: "child" })).result();
      await pool.enqueue(fail, { text: "later" });
      throw new RangeError("no, after all");
    });
  });
  await using kit = testPool(pool);
  await kit.db.schema.createTable("note").addColumn("text", "text").execute();
  const { agentId } = await pool.enqueue(undo);
  await kit.step();
  assertEquals(await textsOf(kit.db), ["beside it"]);
  assertEquals(await statuses(kit.db), ["undo error", "shout complete", "fail queued"]);
  const detail = await pool.activity.detail(agentId);
  assertEquals(detail?.log.map(({ message }) => message), [
    ...["Waiting to start", "Task started", "half way", "Task failed: RangeError: no, after all"],
  ]);
  assertEquals((await kit.run()).map(({ taskName }) => taskName), ["fail"]);
});

Deno.test("handlers that wait for each other in transactions keep and take back what is theirs", async () => {
  await using subject = makeSubject();
  const { pool } = subject;
  const nest = pool.task("nest", { context: z.array(z.string()) }, async ({ context, db }) => {
    const [own = "", ...rest] = context;
    await db.transaction().execute(async (transaction) => {
      await transaction.insertInto("note").values({ text: `${own} before` }).execute();
      if (rest.length > 0) await (await pool.enqueue(nest, rest)).wait();
      await transaction.insertInto("note").values({ text: `${own} after` }).execute();
      if (own.startsWith("-")) throw new RangeError(own);
    });
  });
  await using kit = testPool(pool);
  await kit.db.schema.createTable("note").addColumn("text", "text").execute();
  await pool.enqueue(nest, ["-a", "b", "-c", "d"]);
  await within(kit.run(), { what: "transactions in transactions" });
  assertEquals(await textsOf(kit.db), ["b after", "b before", "d after", "d before"]);
  assertEquals((await kit.run()).length, 0);
});

Deno.test("transactions that overlap, in the kit's database, end each for itself", async () => {
  await using subject = makeSubject();
  await using kit = testPool(subject.pool);
  const { db } = kit;
  await db.schema.createTable("note").addColumn("text", "text").execute();
  const first = await db.startTransaction().execute();
  await first.insertInto("note").values({ text: "first" }).execute();
  const second = await db.startTransaction().execute();
  await second.insertInto("note").values({ text: "second" }).execute();
  const third = await db.startTransaction().execute();
  await third.insertInto("note").values({ text: "third" }).execute();
  await first.commit().execute();
  await third.insertInto("note").values({ text: "third too" }).execute();
  await second.rollback().execute();
  const saved = await third.savepoint("there").execute();
  await saved.insertInto("note").values({ text: "beyond" }).execute();
  await db.insertInto("note").values({ text: "outside" }).execute();
  const back = await saved.rollbackToSavepoint("there").execute();
  await back.commit().execute();
  assertEquals(await textsOf(db), ["first", "outside", "third", "third too"]);
});

Deno.test("a transaction of the kit's database that only reads refuses to write", async () => {
  await using subject = makeSubject();
  await using kit = testPool(subject.pool);
  await kit.db.schema.createTable("note").addColumn("text", "text").execute();
  const error = await assertRejects(
    () =>
      kit.db.transaction().setAccessMode("read only").execute(async (transaction) => {
        assertEquals(await textsOf(transaction), []);
        await sql`insert into note (text) values ('a')`.execute(transaction);
      }),
    AgentexecError,
  );
  assertMatch(error.message, /^Cannot write in this transaction: it began as 'read only'/);
  await kit.db.insertInto("note").values({ text: "b" }).execute();
  assertEquals(await textsOf(kit.db), ["b"]);
});
