import { sql } from "kysely";
import { whereOf } from "../../src/activity/filters.ts";
import { filesOf, openDatabase } from "../../src/activity/connection.ts";
import { ConnectionError } from "../../src/errors.ts";
import { Bench, newRow } from "../contract/activity/bench.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { signalProcess } from "../support/process_table.ts";
import { waitFor } from "../support/wait.ts";
import { sqliteGround } from "./grounds.ts";

const contract = { name: "SQLite", ground: sqliteGround };

/** Runs a fixture that may touch the files of the database and nothing else. */
function run(fixture: string, bench: Bench, ...args: string[]): Deno.ChildProcess {
  const files = filesOf(bench.ground.address).join(",");
  return new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "--cached-only"],
      ...[`--allow-read=${files}`, `--allow-write=${files}`],
      new URL(`fixtures/${fixture}`, import.meta.url).pathname,
      ...[bench.ground.address.url, ...args],
    ],
    stdout: "piped",
    stderr: "piped",
    stdin: "null",
  }).spawn();
}

Deno.test("SQLite needs the four files of filesOf() and no other right", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  const { stdout, stderr } = await run("connect.ts", bench, id).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(new TextDecoder().decode(stdout), "written\n");
  assertEquals((await bench.detail(id)).status, "running");
});

Deno.test("eight processes write to one SQLite file, and none is refused", async () => {
  await using bench = await Bench.make(contract);
  const outputs = await Promise.all(
    Array.from({ length: 8 }, () => run("many_writes.ts", bench, "40").output()),
  );
  for (const { code, stderr, stdout } of outputs) {
    assertEquals(new TextDecoder().decode(stderr), "");
    assertTrue(new TextDecoder().decode(stdout).endsWith("wrote 40\n"));
    assertEquals(code, 0);
  }
  assertEquals(await bench.store.count({ status: "complete" }), 320);
});

Deno.test("a process killed while it writes loses nothing that was answered, and harms no file", async () => {
  await using bench = await Bench.make(contract);
  for (let round = 0; round < 3; round++) {
    const child = run("many_writes.ts", bench, "100000");
    const before = await bench.store.count({ status: "complete" });
    await waitFor(async () => await bench.store.count({ status: "complete" }) >= before + 10, {
      what: "ten tasks to be written",
    });
    signalProcess(child.pid, "SIGKILL");
    const told = new TextDecoder().decode((await child.output()).stdout).split("\n").slice(0, -1);
    assertTrue(told.length > 0);
    const rows = await bench.store.readRows(told);
    assertEquals(rows.filter(({ status }) => status === "complete").length, told.length);
  }
  assertEquals(await bench.sql(sql`pragma integrity_check`), [
    Object.assign(Object.create(null), { integrity_check: "ok" }),
  ]);
});

Deno.test("a store that waits for another's transaction lets the rest of the process go on", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  const other = openDatabase(bench.ground.address);
  const reader = bench.another();
  let writing: Promise<unknown> | undefined;
  await other.transaction().execute(async () => {
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
      await connection.transaction().execute(async (transaction) => {
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

Deno.test("a folder that is missing, and a file that is no database, are named and not tried again", async () => {
  const folder = await Deno.makeTempDir();
  await Deno.writeTextFile(`${folder}/text.db`, "no database at all, ".repeat(100));
  for (const path of [`${folder}/none/a.db`, `${folder}/text.db`]) {
    await using bench = await Bench.bare({
      name: "SQLite",
      ground: () =>
        Promise.resolve({
          address: { kind: "sqlite", url: `sqlite:${path}`, path },
          [Symbol.asyncDispose]: () => Promise.resolve(),
        }),
    });
    const error = await assertRejects(() => bench.store.connect(), ConnectionError);
    assertEquals(error.retryable, false);
    assertTrue(error.message.includes(path), error.message);
  }
  await Deno.remove(folder, { recursive: true });
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
