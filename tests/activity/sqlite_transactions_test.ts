import { sql } from "kysely";
import type { Database } from "@agentexec/core";
import { DatabaseSync } from "node:sqlite";
import { HANDLERS } from "../../src/activity/acquire.ts";
import { openDatabase } from "../../src/activity/connection.ts";
import { AgentexecError, ConnectionError, TransactionConflictError } from "../../src/errors.ts";
import { Bench, newRow } from "../contract/activity/bench.ts";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { within } from "../support/wait.ts";
import { sqliteGround } from "./grounds.ts";

const contract = { name: "SQLite", ground: sqliteGround };

/** A database as a worker gives it to its handlers, with a counter in it. */
async function handlersDatabase({ ground: { address } }: Bench, connections = 3) {
  const long: string[] = [];
  const db = openDatabase(address, {
    connections,
    acquire: HANDLERS,
    onLongLock: (text) => long.push(text),
  });
  await sql`create table if not exists counter (n integer)`.execute(db);
  await sql`insert into counter (n) select 0 where not exists (select 1 from counter)`.execute(db);
  return { db, long, [Symbol.asyncDispose]: () => db.destroy() };
}

async function read(db: Database): Promise<number> {
  const { rows: [row] } = await sql<{ n: number }>`select n from counter`.execute(db);
  return row?.n ?? NaN;
}

async function write(db: Database, n: number): Promise<void> {
  await sql`update counter set n = ${n}`.execute(db);
}

Deno.test("a transaction that only has read keeps nobody from writing, and sees what it saw", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench);
  await handlers.db.transaction().execute(async (transaction) => {
    assertEquals(await read(transaction), 0);
    // The store, the same handler beside its transaction, and another program.
    const row = newRow();
    assertEquals(await bench.store.insertTasks([row]), [{ kind: "inserted" }]);
    await write(handlers.db, 1);
    const foreign = new DatabaseSync((bench.ground.address as { path: string }).path);
    foreign.exec("update counter set n = n + 1");
    foreign.close();
    assertEquals(await read(transaction), 0);
  });
  assertEquals(await read(handlers.db), 2);
});

Deno.test("a transaction that reads first, and is overtaken before it writes, fails by name and can run again", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench);
  let runs = 0;
  const increase = () =>
    handlers.db.transaction().execute(async (transaction) => {
      const n = await read(transaction);
      if (++runs === 1) await write(handlers.db, 10);
      await write(transaction, n + 1);
    });
  const error = await assertRejects(increase, TransactionConflictError);
  assertMatch(error.message, /^Cannot write in this transaction of sqlite:.*another has written/);
  assertMatch(error.message, /run it again.*setAccessMode\("read write"\)/);
  await increase();
  assertEquals(await read(handlers.db), 11);
});

Deno.test("transactions that begin as read write, or serializable, read and write with nobody in between", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench, 4);
  const increase = (nth: number) => {
    const transaction = handlers.db.transaction();
    return (nth % 2 === 0
      ? transaction.setAccessMode("read write")
      : transaction.setIsolationLevel("serializable")).execute(async (transaction) => {
        await write(transaction, await read(transaction) + 1);
      });
  };
  await Promise.all(Array.from({ length: 40 }, (_, nth) => increase(nth)));
  assertEquals(await read(handlers.db), 40);
});

Deno.test("a transaction that writes first waits for another's, and neither is lost", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench);
  await Promise.all(
    Array.from({ length: 40 }, () =>
      handlers.db.transaction().execute(async (transaction) => {
        await sql`update counter set n = n + 1`.execute(transaction);
        await read(transaction);
      })),
  );
  assertEquals(await read(handlers.db), 40);
});

Deno.test("a read only transaction refuses to write, and leaves the connection able to", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench, 1);
  for (const statement of [sql`update counter set n = 5`, sql`create table other (n integer)`]) {
    const error = await assertRejects(
      () =>
        handlers.db.transaction().setAccessMode("read only").execute(async (transaction) => {
          assertEquals(await read(transaction), 0);
          await statement.execute(transaction);
        }),
      AgentexecError,
    );
    assertMatch(error.message, /^Cannot write in this transaction: it began as 'read only'/);
  }
  await write(handlers.db, 5);
  assertEquals(await read(handlers.db), 5);
});

Deno.test("savepoints of a handler's transaction are kept and taken back", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench);
  const transaction = await handlers.db.startTransaction().execute();
  await write(transaction, 1);
  const saved = await transaction.savepoint('a "name"').execute();
  await write(saved, 2);
  const back = await saved.rollbackToSavepoint('a "name"').execute();
  assertEquals(await read(back), 1);
  await (await back.releaseSavepoint('a "name"').execute()).commit().execute();
  assertEquals(await read(handlers.db), 1);
});

Deno.test("a handler whose transaction holds all connections is told after ten seconds which option", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench, 2);
  await handlers.db.transaction().execute(() =>
    handlers.db.transaction().execute(async () => {
      const error = await within(assertRejects(() => read(handlers.db), ConnectionError), {
        what: "the end of patience",
        timeoutMs: 60_000,
      });
      assertMatch(error.message, /all 2 connections .* in use for 10 s.*'databasePoolSize'/);
    })
  );
  assertEquals(await read(handlers.db), 0);
});

Deno.test("a transaction that was begun in words and left open ends with its connection's use", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench);
  await handlers.db.connection().execute(async (connection) => {
    await sql`begin immediate`.execute(connection);
    await write(connection, 7);
  });
  await bench.store.insertTasks([newRow()]);
  assertEquals(await read(handlers.db), 0);
});

Deno.test("whoever uses the database beside its own write transaction is told so", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench);
  await handlers.db.transaction().execute(async (transaction) => {
    await write(transaction, 1);
    const error = await assertRejects(() => write(handlers.db, 2), ConnectionError);
    assertEquals(error.retryable, true);
    assertMatch(
      error.message,
      /^Cannot use the database at sqlite:.*: the program itself in process \d+ has held its write lock/,
    );
    assertMatch(handlers.long.join(), /^This program, outside any task, has held the write lock/);
  });
  assertEquals(await read(handlers.db), 1);
});

Deno.test("who was killed with the lock is not blamed for what another program holds", async () => {
  await using bench = await Bench.make(contract);
  await using handlers = await handlersDatabase(bench);
  const { path } = bench.ground.address as { path: string };
  const task = { name: "dead", agentId: crypto.randomUUID() };
  const note = { pid: 1, task, of: "program", since: Date.now() - 60_000, at: Date.now() - 50_000 };
  await Deno.writeTextFile(`${path}-holder`, JSON.stringify(note));
  const foreign = new DatabaseSync(path);
  foreign.exec("begin immediate");
  const error = await assertRejects(() => write(handlers.db, 1), ConnectionError);
  assertMatch(error.message, /database is locked; another process keeps it locked/);
  const late = handlers.db.transaction().execute((transaction) => write(transaction, 2));
  for (let turn = 0; turn < 20; turn++) await fetch("data:,turn").then((r) => r.text());
  foreign.exec("rollback");
  foreign.close();
  await late;
  const left = [...Deno.readDirSync(path.slice(0, path.lastIndexOf("/")))].map(({ name }) => name);
  assertEquals(left.filter((name) => name.endsWith("-holder")), []);
});
