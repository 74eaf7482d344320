import { sql } from "kysely";
import { DatabaseSync } from "node:sqlite";
import { filesOf, openDatabase } from "../../src/activity/connection.ts";
import { ConnectionError } from "../../src/errors.ts";
import { Bench, newRow } from "../contract/activity/bench.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { signalProcess } from "../support/process_table.ts";
import { within } from "../support/wait.ts";
import { runFixture } from "./fixtures.ts";
import { sqliteGround } from "./grounds.ts";

const contract = { name: "SQLite", ground: sqliteGround };

function pathOf({ ground: { address } }: Bench): string {
  assertTrue(address.kind === "sqlite");
  return address.path;
}

async function assertSound(bench: Bench): Promise<void> {
  const [row] = await bench.sql(sql`pragma integrity_check`) as { integrity_check: string }[];
  assertEquals(row?.integrity_check, "ok");
}

/** That a call is refused once and for good, with the file and what to do about it. */
async function assertRefused(
  bench: Bench,
  call: () => Promise<unknown>,
  advice: string,
): Promise<void> {
  const error = await assertRejects(call, ConnectionError);
  assertEquals(error.retryable, false);
  assertTrue(error.message.includes(pathOf(bench)), error.message);
  assertTrue(error.message.includes(advice), error.message);
}

const TASK = "019f0000-0000-7000-8000-000000000001";

/** A database with one task whose file was closed and then spoiled; `page` is where the table of tasks begins. */
async function spoiled(spoil: (path: string, page: number) => Promise<void>): Promise<Bench> {
  const bench = await Bench.make(contract);
  await bench.task({ agentId: TASK });
  const [table] = await bench.sql(
    sql`select rootpage from sqlite_master where name = 'agentexec_activity'`,
  ) as { rootpage: number }[];
  await bench.store.close();
  await spoil(pathOf(bench), table?.rootpage ?? 0);
  return bench;
}

async function overwrite(path: string, at: number, bytes: Uint8Array): Promise<void> {
  using file = await Deno.open(path, { read: true, write: true });
  await file.seek(at, Deno.SeekMode.Start);
  await file.write(bytes);
}

Deno.test("a folder that is missing, a folder in place of the file, and a file that is no database are refused", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/text.db`, "no database at all, ".repeat(100));
  for (
    const [path, advice] of [
      [`${folder}/none/a.db`, "its folder must exist"],
      [folder, "it must be a file"],
      [`${folder}/text.db`, "no SQLite database"],
    ] as const
  ) {
    await using bench = await Bench.bare({
      name: "SQLite",
      ground: () =>
        Promise.resolve({
          address: { kind: "sqlite", url: `sqlite:${path}`, path },
          [Symbol.asyncDispose]: () => Promise.resolve(),
        }),
    });
    await assertRefused(bench, () => bench.store.connect(), advice);
    await assertRefused(bench, () => bench.store.insertTasks([newRow()]), advice);
  }
  await Deno.remove(folder, { recursive: true });
});

Deno.test("a file that ends too soon is refused", async () => {
  await using bench = await spoiled((path) => Deno.truncate(path, 5_000));
  const store = bench.another();
  await assertRefused(bench, () => store.connect(), "restore it from a copy");
});

Deno.test("a damaged page is told by whatever comes upon it", async () => {
  await using bench = await spoiled((path, page) =>
    overwrite(path, (page - 1) * 4_096, new Uint8Array(4_096).fill(255))
  );
  const store = bench.another();
  await store.connect();
  const calls = [
    () => store.list(),
    () => store.readRow(TASK),
    () => store.insertTasks([newRow()]),
    () => store.write({ agentId: TASK, token: "1", status: "running" }),
  ];
  for (const call of calls) await assertRefused(bench, call, "restore it from a copy");
});

Deno.test("a file that is read-only can be read, and a write is refused", async () => {
  // By its header, which binds root too: the 19th byte says which versions may write.
  await using bench = await spoiled((path) => overwrite(path, 18, new Uint8Array([3])));
  const store = bench.another();
  await store.checkMigrated();
  // There is nothing to do for it; an index would be.
  await store.migrate();
  const calls = [
    () => store.write({ agentId: TASK, token: "1", status: "running" }),
    () => store.insertTasks([newRow()]),
    () => bench.another({ metadataIndexes: ["org"] }).migrate(),
  ];
  for (const call of calls) await assertRefused(bench, call, "must be writable");
  assertEquals((await store.readRow(TASK))?.status, "queued");
});

Deno.test("a file that is full refuses new tasks, and keeps what waits until there is room", async () => {
  await using bench = await Bench.make(contract);
  const agentId = await bench.running("1");
  const [pages] = await bench.sql(sql`pragma page_count`) as { page_count: number }[];
  await bench.sql(sql`pragma max_page_count = ${sql.lit(pages?.page_count ?? 0)}`);
  const rows = Array.from({ length: 3 }, () => newRow({ context: `"${"x".repeat(50_000)}"` }));
  const result = `"${"y".repeat(100_000)}"`;
  const write = bench.write({ agentId, token: "1", status: "complete", result });
  const error = await assertRejects(() => bench.store.insertTasks(rows), ConnectionError);
  assertEquals(error.retryable, true);
  assertTrue(error.message.includes("make room"), error.message);
  assertTrue(error.message.includes(pathOf(bench)), error.message);
  assertEquals((await bench.store.list()).items.map((item) => item.status), ["running"]);
  await bench.sql(sql`pragma max_page_count = 1000000`);
  assertEquals(await within(write, { what: "the write to be made" }), { kind: "written" });
  const outcomes = await bench.store.insertTasks(rows);
  assertEquals(outcomes.map(({ kind }) => kind), ["inserted", "inserted", "inserted"]);
  assertEquals((await bench.detail(agentId)).result, JSON.parse(result));
  await assertSound(bench);
});

Deno.test("a file whose log was deleted takes no writes that nobody would read", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  await Deno.remove(`${pathOf(bench)}-wal`);
  await assertRefused(bench, () => bench.store.insertTasks([newRow()]), "start again");
  await assertRefused(bench, () => bench.store.readRow(id), "start again");
  await bench.store.close();
  const later = bench.another();
  assertEquals((await later.readRow(id))?.status, "queued");
  assertEquals(await later.count(), 1);
});

Deno.test("a file that was deleted takes no writes that nobody would read, and whoever starts again uses the one in its place", async () => {
  await using bench = await Bench.make(contract);
  await bench.task({ agentId: TASK });
  for (const name of filesOf(bench.ground.address).read) {
    await Deno.remove(name).catch((error) => assertTrue(error instanceof Deno.errors.NotFound));
  }
  await assertRefused(bench, () => bench.store.insertTasks([newRow()]), "the file was deleted");
  const other = bench.another();
  await other.migrate();
  await assertRefused(bench, () => bench.store.readRow(TASK), "another file was put in its place");
  assertEquals(await other.readRow(TASK), undefined);
});

Deno.test("a file that stays locked is told to whoever inserts; what runs is written once it is free", async () => {
  await using bench = await Bench.make(contract);
  const [agentId, row] = [await bench.task(), newRow()];
  const other = openDatabase(bench.ground.address);
  const producer = bench.another();
  const write = { agentId, token: "1", status: "running" } as const;
  let writing: Promise<unknown> | undefined;
  await other.transaction().setAccessMode("read write").execute(async () => {
    writing = bench.write(write);
    const error = await assertRejects(() => producer.insertTasks([row]), ConnectionError);
    assertEquals(error.retryable, true);
    assertTrue(error.message.includes(pathOf(bench)), error.message);
    assertMatch(
      error.message,
      /: the library itself in process \d+ has held its write lock for [\d.]+ s$/,
    );
    assertEquals((await producer.readRow(agentId))?.status, "queued");
  });
  assertEquals(await within(writing ?? Promise.reject(), { what: "the write to be made" }), {
    kind: "written",
  });
  assertEquals(await producer.insertTasks([row]), [{ kind: "inserted" }]);
  await other.destroy();
});

Deno.test("a file that is locked while it is opened is opened once it is free", async () => {
  await using bench = await Bench.bare(contract);
  const other = new DatabaseSync(pathOf(bench));
  other.exec("begin exclusive");
  const connecting = bench.store.connect();
  for (let turn = 0; turn < 20; turn++) await fetch("data:,turn").then((r) => r.text());
  other.exec("commit");
  await within(connecting, { what: "the file to be opened" });
  other.close();
});

Deno.test("twenty processes killed while they write lose nothing that was answered, and harm no file", async () => {
  await using bench = await Bench.make(contract);
  for (let round = 0; round < 20; round++) {
    const child = runFixture("many_writes.ts", bench.ground.address, "100000", "20");
    const told: string[] = [];
    let rest = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      told.push(...lines);
      // At another moment of the writing each time.
      if (told.length > round * 3) signalProcess(child.pid, "SIGKILL");
    }
    assertEquals(await new Response(child.stderr).text(), "");
    assertEquals((await child.status).signal, "SIGKILL");
    const rows = await bench.store.readRows(told);
    assertEquals(rows.filter(({ status }) => status === "complete").length, told.length);
    assertEquals((await bench.log(told[0] ?? "")).length, 3);
  }
  await assertSound(bench);
});
