import type { DatabaseSync } from "node:sqlite";
import { ConnectionError, IncompatibleError } from "../../src/errors.ts";
import { task } from "../contract/broker/bench.ts";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { BrokerProcess } from "../support/broker_process.ts";
import { auditSqlite, rawSqlite } from "./sqlite_audit.ts";
import { claimAll, fill, openQueue, openQueueOf, refusalOf, testFolder } from "./sqlite_bench.ts";

Deno.test("a path whose folder is not there, or that is a folder, is told as such", async () => {
  await using folder = await testFolder();
  for (const path of [`${folder.path}/no/folder/broker.db`, folder.path]) {
    const error = await refusalOf(path);
    assertEquals(
      error.message,
      `Cannot open the broker at sqlite:${path}: its folder must exist and be writable ` +
        `(unable to open database file: ${path})`,
    );
    assertEquals(error.retryable, false);
  }
});

Deno.test("a file that is no database is refused and left as it is", async () => {
  await using folder = await testFolder();
  const text = "These are the notes of somebody. ".repeat(500);
  await Deno.writeTextFile(folder.file, text);
  const error = await refusalOf(folder.file);
  assertEquals(
    error.message,
    `Cannot open the broker at sqlite:${folder.file}: it is damaged or no SQLite database: move it away, ` +
      `or restore it from a copy (file is not a database)`,
  );
  assertEquals(error.retryable, false);
  assertEquals(await Deno.readTextFile(folder.file), text);
});

Deno.test("a damaged page ends the calls that meet it, with what to do", async () => {
  await using folder = await testFolder();
  {
    await using opened = await openQueue(folder.file);
    await fill(opened.queue, 200);
  }
  const bytes = await Deno.readFile(folder.file);
  // All but the first pages, where the tables are named.
  bytes.fill(0xa5, Math.floor(bytes.length / 4));
  await Deno.writeFile(folder.file, bytes);
  await using opened = await openQueue(folder.file);
  const error = await assertRejects(() => claimAll(opened.queue), ConnectionError);
  assertMatch(
    error.message,
    /^Cannot claim from 'jobs' at sqlite:.*: it is damaged or no SQLite database: move it away, or restore it from a copy \(database disk image is malformed\)$/,
  );
  assertEquals(error.retryable, false);
});

Deno.test("a file of a newer version is refused with what to do, a later one that allows it is used", async () => {
  await using folder = await testFolder();
  const one = task();
  {
    await using opened = await openQueue(folder.file);
    await opened.queue.enqueue([one]);
  }
  const set = (version: number, oldest: number) => {
    using raw = rawSqlite(folder.file);
    raw.prepare("update agentexec_broker_schema set version = ?, oldest = ?").run(version, oldest);
  };
  set(8, 7);
  const error = await assertRejects(() => openQueue(folder.file), IncompatibleError);
  assertEquals(
    error.message,
    `Cannot use the broker at sqlite:${folder.file}: a newer version of the library wrote it, it needs schema 7 ` +
      `or later, this version has 3, update it`,
  );
  set(8, 1);
  await using opened = await openQueue(folder.file);
  assertEquals(await claimAll(opened.queue), [one.id]);
  using raw = rawSqlite(folder.file);
  assertEquals(raw.prepare("select version from agentexec_broker_schema").get()?.["version"], 8);
});

Deno.test("a queue of a newer protocol is refused with what to do", async () => {
  await using folder = await testFolder();
  {
    await using _ = await openQueue(folder.file);
  }
  using raw = rawSqlite(folder.file);
  raw.exec("update agentexec_broker_queue set protocol = 9, oldest = 9");
  const error = await assertRejects(() => openQueue(folder.file), IncompatibleError);
  assertEquals(
    error.message,
    `Cannot use the queue 'jobs': it needs protocol 9 or later, this version of the library speaks 1, update it`,
  );
});

Deno.test("a database of another program is shared, each with its own tables", async () => {
  await using folder = await testFolder();
  using raw = rawSqlite(folder.file);
  raw.exec("create table notes (text text); insert into notes values ('kept')");
  await using opened = await openQueue(folder.file);
  const ids = await fill(opened.queue, 3);
  assertEquals(await claimAll(opened.queue), ids);
  raw.exec("insert into notes values ('more')");
  assertEquals(raw.prepare("select text from notes").all().map((row) => row["text"]), [
    "kept",
    "more",
  ]);
});

Deno.test("tables of the broker's names that another program made are refused and left as they are", async () => {
  await using folder = await testFolder();
  using raw = rawSqlite(folder.file);
  raw.exec("create table agentexec_broker_task (text text)");
  const before = schemaOf(raw);
  const error = await assertRejects(() => openQueue(folder.file), IncompatibleError);
  assertMatch(error.message, /^Cannot open the broker at sqlite:.*: it has tables of the broker's/);
  assertEquals(schemaOf(raw), before);
});

function schemaOf(database: DatabaseSync): readonly unknown[] {
  return database.prepare("select name, sql from sqlite_schema").all().map((row) => ({ ...row }));
}

Deno.test("two programs with queues of their own use one file side by side", async () => {
  await using folder = await testFolder();
  await using a = new BrokerProcess();
  await using b = new BrokerProcess();
  const names = ["a", "b"] as const;
  const opened = await Promise.all(
    [a, b].map((each, n) => openQueueOf(each.broker(`sqlite:${folder.file}`), names[n])),
  );
  const queues = opened.map(({ queue }) => queue);
  const shared = task();
  const filled = await Promise.all(queues.map(async (queue) => {
    const ids = await fill(queue, 50);
    // An id is a queue's own.
    assertEquals(await queue.enqueue([shared]), ["accepted"]);
    return [...ids, shared.id];
  }));
  assertEquals(await Promise.all(queues.map((queue) => claimAll(queue))), filled);
  for (const queue of queues) assertEquals((await queue.depth()).waiting, 0);
  using raw = rawSqlite(folder.file);
  for (const name of names) auditSqlite(raw, name);
});
