import { type Kysely, sql } from "kysely";
import { whereOf } from "../../src/activity/filters.ts";
import { openDatabase } from "../../src/activity/connection.ts";
import { inTransaction } from "../../src/activity/dialect.ts";
import { Bench, newRow } from "../contract/activity/bench.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { waitFor } from "../support/wait.ts";
import { runFixture } from "./fixtures.ts";
import { sqliteGround } from "./grounds.ts";

const contract = { name: "SQLite", ground: sqliteGround };

Deno.test("SQLite needs the files of filesOf() and no other right", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  const { stdout, stderr } = await runFixture("connect.ts", bench.ground.address, id).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(new TextDecoder().decode(stdout), "written\n");
  assertEquals((await bench.detail(id)).status, "running");
});

Deno.test("eight processes write to one SQLite file, and none is refused", async () => {
  await using bench = await Bench.make(contract);
  const outputs = await Promise.all(
    Array.from(
      { length: 8 },
      () => runFixture("many_writes.ts", bench.ground.address, "40").output(),
    ),
  );
  for (const { code, stderr, stdout } of outputs) {
    assertEquals(new TextDecoder().decode(stderr), "");
    assertTrue(new TextDecoder().decode(stdout).endsWith("wrote 40\n"));
    assertEquals(code, 0);
  }
  assertEquals(await bench.store.count({ status: "complete" }), 320);
});

Deno.test("two that make one file together, and one of them closes: the other goes on", async () => {
  await using bench = await Bench.bare(contract);
  const [a, b] = [bench.another(), bench.another()];
  await a.connect();
  await b.migrate();
  await a.connect();
  await b.close();
  await a.checkMigrated();
  assertEquals(await a.count(), 0);
});

type Transaction = (db: Kysely<unknown>, body: () => Promise<unknown>) => Promise<unknown>;

const transactions: readonly [string, Transaction][] = [
  ["the store's", (db, body) => inTransaction(db, "sqlite", body)],
  ["a program's", (db, body) => db.transaction().setAccessMode("read write").execute(body)],
];

for (const [whose, transaction] of transactions) {
  Deno.test(`one long transaction after another (${whose}) leaves the file to others between any two`, async () => {
    await using bench = await Bench.make(contract);
    const db = openDatabase(bench.ground.address);
    let [rounds, over] = [0, false];
    const writing = (async () => {
      for (; !over; rounds++) {
        const since = performance.now();
        await transaction(
          db,
          () => waitFor(() => performance.now() - since > 40, { what: "a slow disk's commit" }),
        );
      }
    })();
    try {
      await waitFor(() => rounds > 0, { what: "the first one" });
      const before = rounds;
      for (let nth = 0; nth < 10; nth++) await bench.store.insertTasks([newRow()]);
      assertTrue(rounds - before < 40, `10 inserts took ${rounds - before} long transactions`);
    } finally {
      over = true;
      await writing;
      await db.destroy();
    }
  });
}

Deno.test("a store that waits for another's transaction lets the rest of the process go on", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  const other = openDatabase(bench.ground.address);
  const reader = bench.another();
  let writing: Promise<unknown> | undefined;
  await other.transaction().setAccessMode("read write").execute(async () => {
    writing = bench.write({ agentId: id, token: "1", status: "running" });
    for (let turn = 0; turn < 20; turn++) await fetch("data:,turn").then((r) => r.text());
    assertEquals((await reader.readRow(id))?.status, "queued");
  });
  assertEquals(await writing, { kind: "written" });
  await other.destroy();
});

Deno.test("the program's own transactions read and write beside the store's", async () => {
  await using bench = await Bench.make(contract);
  const db = bench.another().database();
  await sql`create table counter (n integer)`.execute(db);
  await sql`insert into counter (n) values (0)`.execute(db);
  const connections = Array.from({ length: 5 }, () => openDatabase(bench.ground.address));
  await Promise.all(connections.map(async (connection) => {
    for (let nth = 0; nth < 20; nth++) {
      await connection.transaction().setAccessMode("read write").execute(async (transaction) => {
        const { rows: [row] } = await sql<{ n: number }>`select n from counter`.execute(
          transaction,
        );
        await sql`update counter set n = ${(row?.n ?? 0) + 1}`.execute(transaction);
      });
      await bench.store.insertTasks([newRow()]);
    }
    await connection.destroy();
  }));
  const { rows } = await sql<{ n: number }>`select n from counter`.execute(db);
  assertEquals(rows[0]?.n, 100);
});

Deno.test("a metadata filter uses the index of its key", async () => {
  await using bench = await Bench.make(contract, { metadataIndexes: ["org.unit"] });
  const plan = await bench.sql(
    sql`explain query plan select 1 from agentexec_activity where ${
      whereOf("sqlite", { metadata: { "org.unit": "x" } })
    }`,
  );
  assertTrue(JSON.stringify(plan).includes("agentexec_metadata_org_unit"), JSON.stringify(plan));
});

Deno.test("a result is kept as it was given, whatever its numbers", async () => {
  await using bench = await Bench.make(contract);
  const json = '{"n":9007199254740993,"x":1e400,"s":"a\\"\\u00e4\\n😀"}';
  const agentId = await bench.running("1", { context: json });
  await bench.write({ agentId, token: "1", status: "complete", result: json });
  const row = await bench.store.readRow(agentId);
  assertEquals([row?.result, row?.context], [json, json]);
});

Deno.test("a result that SQLite alone refuses is invalid, and its neighbours are written", async () => {
  await using bench = await Bench.make(contract);
  const ids = await Promise.all([0, 1, 2, 3, 4].map(() => bench.running("1")));
  const deep = "[".repeat(2_000) + "]".repeat(2_000);
  const outcomes = await Promise.all(
    ids.map((agentId, at) =>
      bench.write({ agentId, token: "1", status: "complete", result: at === 3 ? deep : "1" })
    ),
  );
  assertEquals(outcomes.map(({ kind }) => kind), [
    ...["written", "written", "written", "invalid", "written"],
  ]);
  assertEquals((await bench.detail(ids[3] ?? "")).status, "running");
});

Deno.test("a query of the program's own sees a column that came after it was first asked", async () => {
  await using bench = await Bench.make(contract);
  const db = bench.store.database();
  await sql`create table company (name text)`.execute(db);
  await sql`insert into company (name) values ('Acme')`.execute(db);
  const all = sql<Record<string, unknown>>`select * from company`;
  for (let nth = 0; nth < 2; nth++) await all.execute(db);
  await sql`alter table company add column size integer default 7`.execute(db);
  assertEquals({ ...(await all.execute(db)).rows[0] }, { name: "Acme", size: 7 });
});

Deno.test("more kinds of statements than are kept prepared are answered alike, over and over", async () => {
  await using bench = await Bench.make(contract);
  for (let round = 0; round < 2; round++) {
    for (let kind = 0; kind < 100; kind++) {
      const query = sql`select ${sql.lit(kind)} + ${sql.val(round)} as n`;
      assertEquals((await bench.sql(query)).map((row) => ({ ...(row as object) })), [
        { n: kind + round },
      ]);
    }
  }
});

Deno.test("the times that a store writes are those of its clock, where it has one", async () => {
  let now = Date.UTC(2030, 0, 1);
  await using bench = await Bench.make(contract, { now: () => now });
  const at = () => new Date(now).toISOString();
  const made = at();
  const ids = [await bench.task(), await bench.task(), await bench.task(), await bench.task()];
  const [ended = "", canceled = "", refused = "", waiting = ""] = ids;
  now += 60_000;
  const started = at();
  await bench.write({ agentId: ended, token: "1", status: "running" });
  const live = await bench.store.liveTasks({ queue: "q", limit: 10 });
  const age = live.find(({ agentId }) => agentId === waiting)?.queuedAgeMs;
  assertEquals(Math.round(age ?? 0), 60_000);
  now += 1_500;
  await bench.write({ agentId: ended, token: "1", message: "half" });
  await bench.write({ agentId: ended, token: "1", status: "complete" });
  await bench.store.cancelRow(canceled, "2");
  await bench.store.refuse([refused]);
  const record = await bench.store.createRecord({ taskName: "r" });
  await bench.store.completeRecord(record);
  const detail = await bench.detail(ended);
  const times = [detail.createdAt, detail.queuedAt, detail.startedAt, detail.endedAt];
  assertEquals(times.map((time) => time?.toISOString()), [made, made, started, at()]);
  assertEquals(detail.log.map((line) => line.at.toISOString()), [made, started, at(), at()]);
  for (const id of [canceled, refused, record]) {
    const { endedAt, log } = await bench.detail(id);
    assertEquals([endedAt?.toISOString(), log.at(-1)?.at.toISOString()], [at(), at()]);
  }
  const { tasks } = await bench.store.metrics();
  assertEquals(Math.round(tasks[0]?.run?.max ?? 0), 1_500);
});
