import { ConnectionError, Pool, type PoolOptions, type TaskHandle } from "@agentexec/core";
import { sql } from "kysely";
import { openDatabase } from "../../src/activity/connection.ts";
import { parseDatabaseUrl } from "../../src/addresses.ts";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { fixture, recordLogs } from "../support/pools.ts";
import { openStores } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";

const PATIENCE = { timeout: { seconds: 60 } };

/** A started pool of `tests/fixtures/transactions.ts` on two files, and the table that its handlers use. */
async function startTransactions(options: PoolOptions) {
  const stores = await openStores("files");
  const { brokerUrl, databaseUrl } = stores;
  const db = openDatabase(parseDatabaseUrl({ value: databaseUrl, source: "the test" }));
  const pool = new Pool({
    name: "transactions",
    queueName: "transactions",
    brokerUrl,
    databaseUrl,
    entrypoint: fixture("transactions.ts"),
    ...options,
  });
  await pool.migrate();
  await sql`create table note (text text)`.execute(db);
  await sql`create table counter (n integer)`.execute(db);
  await sql`insert into counter (n) values (0)`.execute(db);
  await pool.start();
  return {
    pool,
    db,
    file: databaseUrl.slice("sqlite:".length),
    /** Waits until a task says so. */
    says: (task: TaskHandle, message: string) =>
      waitFor(
        async () => (await pool.activity.detail(task.agentId))?.message === message,
        { what: `task '${task.taskName}' to say '${message}'` },
      ),
    async [Symbol.asyncDispose]() {
      await pool.shutdown({ timeout: { seconds: 0 } });
      await pool.close();
      await db.destroy();
      await stores[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a handler that reads and waits in a transaction keeps nobody from writing", async () => {
  await using _ = await recordLogs();
  // All in one worker, which has few connections.
  await using setUp = await startTransactions({ numWorkers: 1, concurrency: 5 });
  const { pool, says } = setUp;
  const reader = await pool.enqueue("reader");
  await says(reader, "reading");
  for (let nth = 0; nth < 5; nth++) {
    assertEquals(await (await pool.enqueue("writer")).wait(PATIENCE), "complete");
  }
  assertEquals(await pool.cancel(reader.agentId), "requested");
  assertEquals(await reader.result(PATIENCE), { before: 0, after: 0 });
});

Deno.test("who holds the write lock for long is told to the operator, and to all who wait for it in vain", async () => {
  await using logs = await recordLogs();
  await using setUp = await startTransactions({ numWorkers: 2, concurrency: 1 });
  const { pool, says, file } = setUp;
  const contender = await pool.enqueue("contender");
  await says(contender, "contending");
  const holder = await pool.enqueue("holder");
  const told = await waitFor(
    () => logs.records.find((record) => /has held the write lock/.test(String(record.message[0]))),
    { what: "the operator to be told" },
  );
  assertMatch(
    String(told.message[0]),
    new RegExp(
      `^Task 'holder' \\(${holder.agentId}\\) has held the write lock of sqlite:${file} for \\d`,
    ),
  );
  assertEquals(told.level, "warning");

  // A producer in another process than the holder's.
  const error = await assertRejects(() => pool.enqueue("writer"), Error);
  const cause = error instanceof ConnectionError ? error : error.cause as Error;
  assertMatch(
    `${error.message} ${cause?.message}`,
    new RegExp(
      `task 'holder' \\(${holder.agentId}\\) in process \\d+ has held its write lock for \\d`,
    ),
  );
  await pool.cancel(holder.agentId);
  assertEquals(await holder.result(PATIENCE), "let go");
  // A handler in another process than the holder's.
  assertMatch(
    String(await contender.result(PATIENCE)),
    new RegExp(
      `^ConnectionError: Cannot use the database at .*task 'holder' \\(${holder.agentId}\\) in process`,
    ),
  );
  assertEquals(await (await pool.enqueue("writer")).wait(PATIENCE), "complete");
  await waitFor(() => !exists(`${file}-holder`), { what: "the note to be gone" });
});

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("a handler that blocks its process with the write lock is told when it is over", async () => {
  await using logs = await recordLogs();
  await using setUp = await startTransactions({ numWorkers: 1 });
  const task = await setUp.pool.enqueue("blocker");
  assertEquals(await task.wait(PATIENCE), "complete");
  await waitFor(
    () =>
      logs.messages().filter((text) => text.includes(`'blocker' (${task.agentId}) has held`))
        .length === 1,
    { what: "the operator to be told" },
  );
});

Deno.test("handlers of two processes that read and then write lose no count, as they are told who was quicker", async () => {
  await using _ = await recordLogs();
  await using setUp = await startTransactions({ numWorkers: 2, concurrency: 4 });
  const tasks = await Promise.all(Array.from({ length: 60 }, () => setUp.pool.enqueue("counter")));
  for (const task of tasks) assertEquals(await task.wait(PATIENCE), "complete");
  const { rows: [row] } = await sql<{ n: number }>`select n from counter`.execute(setUp.db);
  assertEquals(row?.n, 60);
});
