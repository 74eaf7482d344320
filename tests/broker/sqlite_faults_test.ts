import { DatabaseSync } from "node:sqlite";
import { SqliteBroker } from "../../src/broker/sqlite/sqlite_broker.ts";
import { ConnectionError, IncompatibleError } from "../../src/errors.ts";
import { only, task } from "../contract/broker/bench.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { BrokerProcess } from "../support/broker_process.ts";
import { type Program, PROGRAM_FLAGS, runProgram } from "../support/processes.ts";
import { waitFor, within } from "../support/wait.ts";
import { auditSqlite, rawSqlite } from "./sqlite_audit.ts";
import { claimAll, fill, openQueue, openQueueOf, refusalOf, testFolder } from "./sqlite_bench.ts";

const CALLS_TAKE_MS = 5_000;

/** Another process that holds the file's write lock until it is let go. */
async function lock(file: string): Promise<Program> {
  const flags = [...PROGRAM_FLAGS, "--no-check", "--allow-write"];
  const program = await runProgram("sqlite_lock.ts", { args: [file], flags });
  await program.waitForLine(/locked/);
  return program;
}

async function unlock(program: Program): Promise<void> {
  await program.closeStdin();
  assertEquals((await program.exit).code, 0, program.output);
}

Deno.test("a file that another process keeps locked is one passing error, and the program goes on", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  await using other = await lock(folder.file);
  const since = performance.now();
  let turns = 0;
  const failing = Promise.all([
    assertRejects(() => queue.enqueue([task()]), ConnectionError),
    assertRejects(() => openQueue(folder.file), ConnectionError),
  ]);
  let ended = false;
  const noted = failing.finally(() => ended = true);
  noted.catch(() => {}); // It is awaited below.
  // Asks again every 10 ms: were the thread to wait for the lock, it would not.
  await waitFor(() => ++turns && ended, { what: "both to give up", timeoutMs: 30_000 });
  const errors = await noted;
  assertTrue(performance.now() - since >= CALLS_TAKE_MS);
  assertTrue(turns > 100, `the event loop turned ${turns} times in 5 s`);
  assertEquals(errors.map(({ retryable }) => retryable), [true, true]);
  assertEquals(errors.map(({ message }) => message), [
    `Cannot enqueue into 'jobs' at sqlite:${folder.file}: another process has it locked (database is locked)`,
    `Cannot open the broker at sqlite:${folder.file}: another process has it locked (database is locked)`,
  ]);
  // Reading needs no lock, and what failed is not tried on behind the caller's back.
  assertEquals((await queue.depth()).waiting, 0);
  await unlock(other);
  const one = task();
  assertEquals(await queue.enqueue([one]), ["accepted"]);
  assertEquals(await claimAll(queue), [one.id]);
});

Deno.test("who waits for a lock gets it when it is free, in the order of the calls", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  await using other = await lock(folder.file);
  const tasks = Array.from({ length: 5 }, () => task());
  const calls = tasks.map((each) => queue.enqueue([each]));
  await unlock(other);
  assertEquals((await Promise.all(calls)).flat(), tasks.map(() => "accepted" as const));
  assertEquals(await claimAll(queue), tasks.map(({ id }) => id));
});

Deno.test("a connection that is closed while it waits for a lock ends its calls within a second or two", async () => {
  await using folder = await testFolder();
  const opened = await openQueue(folder.file);
  await using other = await lock(folder.file);
  const failing = assertRejects(() => opened.queue.enqueue([task()]), ConnectionError);
  await within(Promise.resolve(opened[Symbol.asyncDispose]()), {
    what: "the connection to close",
    timeoutMs: CALLS_TAKE_MS - 1_000,
  });
  await failing;
  await unlock(other);
});

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
      `or later, this version has 1, update it`,
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

/** A process to which the rights of files apply, also where the tests run as root. */
function bound(): BrokerProcess {
  const launcher = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"];
  return new BrokerProcess(Deno.uid() === 0 ? { launcher } : {});
}

Deno.test("a file or folder that is read-only is refused at once, and serves again when it is not", async () => {
  await using folder = await testFolder();
  const { file, path } = folder;
  let ids: readonly string[];
  {
    await using opened = await openQueue(file);
    ids = await fill(opened.queue, 3);
  }
  const url = `sqlite:${file}`;
  const why =
    /^Cannot open the broker at sqlite:.*: it, a file beside it \(-wal, -shm\) or its folder is read-only/;
  await using reading = bound();
  await Deno.chmod(file, 0o400);
  const file_ = await assertRejects(() => openQueueOf(reading.broker(url)), ConnectionError);
  for (const end of ["-wal", "-shm"]) await Deno.remove(`${file}${end}`);
  await Deno.chmod(file, 0o600);
  await using listing = bound();
  await Deno.chmod(path, 0o500);
  const folder_ = await assertRejects(() => openQueueOf(listing.broker(url)), ConnectionError);
  await Deno.chmod(path, 0o700);
  for (const { message, retryable } of [file_, folder_]) {
    assertMatch(message, why);
    assertEquals(retryable, false);
  }
  await using writing = bound();
  const { queue } = await openQueueOf(writing.broker(url));
  assertEquals(await claimAll(queue), ids);
});

Deno.test("a file that may not grow refuses what does not fit, keeps what it took, and can be read", async () => {
  await using folder = await testFolder();
  // The signal that the limit sends would end the process: a program of the system's own has a limit of its own.
  const launcher = ["sh", "-c", `trap '' XFSZ; ulimit -f 600; exec "$@"`, "sh"];
  const ids: string[] = [];
  {
    await using limited = new BrokerProcess({ launcher });
    const { queue } = await openQueueOf(limited.broker(`sqlite:${folder.file}`));
    const error = await assertRejects(async () => {
      for (;;) ids.push(...await fill(queue, 5));
    }, ConnectionError);
    assertMatch(
      error.message,
      /^Cannot enqueue into 'jobs' at sqlite:.*: the system cannot read or write it/,
    );
    assertEquals(error.retryable, true);
    assertEquals((await queue.depth()).waiting, ids.length);
  }
  await using opened = await openQueue(folder.file);
  assertTrue(ids.length > 0);
  assertEquals(await claimAll(opened.queue), ids);
  using raw = rawSqlite(folder.file);
  auditSqlite(raw, "jobs");
});

Deno.test("a file that is deleted in use is made anew, by all who had it open, and nothing goes nowhere", async () => {
  await using folder = await testFolder();
  await using a = await openQueue(folder.file);
  await using b = await openQueue(folder.file);
  const id = await a.queue.open();
  await fill(a.queue, 3);
  const heard: string[] = [];
  let reconnects = 0;
  const topic = { kind: "progress", id: crypto.randomUUID() } as const;
  await b.queue.subscribe(topic, {
    onMessage: (message) => heard.push(message),
    onReconnect: () => reconnects++,
  });
  for (const end of ["", "-wal", "-shm"]) await Deno.remove(`${folder.file}${end}`);
  const one = task();
  assertEquals(await a.queue.enqueue([one]), ["accepted"]);
  await using later = await openQueue(folder.file);
  for (const { queue } of [a, b, later]) {
    assertEquals((await queue.depth()).waiting, 1);
    assertEquals(await queue.open(), id);
  }
  await waitFor(() => reconnects === 1, { what: "the listener to be told" });
  await a.queue.publish(topic, "1");
  await waitFor(() => heard.length === 1, { what: "a message" });
  const waiting = new AbortController();
  assertEquals(await claimAll(later.queue), [one.id]);
  const told = b.queue.wait({ timeoutMs: CALLS_TAKE_MS, signal: waiting.signal });
  await a.queue.enqueue([task()]);
  await within(told, { what: "a hint", timeoutMs: CALLS_TAKE_MS - 1_000 });
  assertEquals([heard, reconnects], [["1"], 1]);
});

Deno.test("a folder that is deleted in use is told by each call, until it is there again", async () => {
  await using folder = await testFolder();
  const inner = `${folder.path}/inner`;
  await Deno.mkdir(inner);
  await using opened = await openQueue(`${inner}/broker.db`);
  const { queue } = opened;
  await Deno.remove(inner, { recursive: true });
  for (const call of [() => queue.enqueue([task()]), () => queue.depth()]) {
    const error = await assertRejects(call, ConnectionError);
    assertMatch(error.message, /^Cannot .* at sqlite:.*: its folder must exist and be writable/);
  }
  // Who waits just waits.
  await queue.wait({ timeoutMs: 20, signal: new AbortController().signal });
  await Deno.mkdir(inner);
  assertEquals(await queue.enqueue([task()]), ["accepted"]);
});

Deno.test("a file that breaks under one who only listens ends nothing", async () => {
  await using folder = await testFolder();
  await using opened = await openQueue(folder.file);
  const { queue } = opened;
  const topic = { kind: "progress", id: crypto.randomUUID() } as const;
  await queue.subscribe(topic, { onMessage: () => {} });
  for (const end of ["", "-wal"]) await Deno.truncate(`${folder.file}${end}`, 0);
  await queue.wait({ timeoutMs: 1_000, signal: new AbortController().signal });
  await queue.depth().catch((error: unknown) => assertTrue(error instanceof ConnectionError));
});
