import { sql } from "kysely";
import { openDatabase } from "../../src/activity/connection.ts";
import type { ActivityWrite } from "../../src/activity/rows.ts";
import type { ActivityStore } from "../../src/activity/store.ts";
import { parseDatabaseUrl } from "../../src/addresses.ts";
import { ConnectionError } from "../../src/errors.ts";
import { Bench, newRow } from "../contract/activity/bench.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { type Proxy, startProxy } from "../support/proxy.ts";
import { startPostgres } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { postgresGround } from "./grounds.ts";

const contract = { name: "Postgres", ground: postgresGround };

/** A store behind a proxy of the test's own. */
async function behindProxy(bench: Bench): Promise<{ proxy: Proxy; store: ActivityStore }> {
  const { address } = bench.ground;
  assertTrue(address.kind === "postgres");
  const proxy = startProxy(address.port);
  const store = bench.another({ address: { ...address, port: proxy.port } });
  await store.connect();
  return { proxy, store };
}

Deno.test("a write whose answer is lost is made once: one row, one line", async () => {
  await using bench = await Bench.make(contract);
  const { proxy, store } = await behindProxy(bench);
  const id = await bench.task();
  const write = { agentId: id, token: "5" };
  const writes: readonly ActivityWrite[] = [
    { ...write, status: "running", message: "a" },
    { ...write, message: "b", percentage: 10 },
    { ...write, message: "c", closesAttempt: true },
    { ...write, token: "6", status: "queued", message: "d" },
    { ...write, token: "7", status: "error", message: "e", error: "E" },
  ];
  for (const each of writes) {
    const lost = proxy.loseAnswerTo("with input");
    assertEquals(await store.write(each), { kind: "written" });
    await lost;
  }
  assertEquals(await bench.log(id), [
    ...["queued: Waiting", "running: a", "running: b", "running: c", "queued: d", "error: e"],
  ]);
  await store.close();
  await proxy[Symbol.asyncDispose]();
});

Deno.test("an insert, a refusal, a cancel and a record whose answers are lost are made once", async () => {
  await using bench = await Bench.make(contract);
  const { proxy, store } = await behindProxy(bench);
  const row = newRow();
  let lost = proxy.loseAnswerTo("with made");
  const [outcome] = await store.insertTasks([row]);
  await lost;
  assertEquals(outcome, { kind: "same", status: "queued", token: "0" });
  lost = proxy.loseAnswerTo("commit");
  assertEquals(await store.refuse([row.agentId]), [row.agentId]);
  await lost;
  lost = proxy.loseAnswerTo("commit");
  const other = await bench.task();
  assertEquals(await store.cancelRow(other, "9"), "canceled");
  await lost;
  lost = proxy.loseAnswerTo("commit");
  const record = await store.createRecord({ taskName: "r" });
  await lost;
  lost = proxy.loseAnswerTo("commit");
  await store.completeRecord(record, "Done");
  await lost;
  assertEquals((await bench.log(row.agentId)).length, 2);
  assertEquals(await bench.log(other), ["queued: Waiting", "canceled: Canceled"]);
  assertEquals(await bench.log(record), ["queued: Waiting", "complete: Done"]);
  await store.close();
  await proxy[Symbol.asyncDispose]();
});

Deno.test("all backends are terminated again and again under load: all is written, once", async () => {
  await using bench = await Bench.make(contract);
  const stores = Array.from({ length: 4 }, () => bench.another());
  let going = true;
  let lives = 0;
  const load = stores.map(async (store) => {
    const ids: string[] = [];
    while (going) {
      const rows = Array.from({ length: 5 }, () => newRow());
      const made = await insertPatiently(store, rows);
      await Promise.all(made.map(async (agentId) => {
        for (const status of ["running", undefined, "complete"] as const) {
          const { kind } = await store.write({
            ...{ agentId, token: "3", message: status ?? "progress" },
            ...(status === undefined ? {} : { status }),
            ...(status === "complete" ? { result: "true" } : {}),
          });
          assertEquals(kind, "written");
        }
      }));
      ids.push(...made);
      lives++;
    }
    return ids;
  });
  const killer = openDatabase(bench.ground.address);
  for (let round = 0; round < 25; round++) {
    const before = lives;
    await waitFor(() => lives > before + 2, { what: "some lives", timeoutMs: 60_000 });
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()`.execute(killer);
  }
  going = false;
  await killer.destroy();
  const ids = (await within(Promise.all(load), { what: "the load to end", timeoutMs: 60_000 }))
    .flat();
  assertEquals(await bench.store.count({ status: "complete" }), Math.min(ids.length, 10_000));
  for (const id of ids.filter((_, index) => index % 50 === 0)) {
    assertEquals(await bench.log(id), [
      ...["queued: Waiting", "running: running", "running: progress", "complete: complete"],
    ]);
  }
});

async function insertPatiently(
  store: ActivityStore,
  rows: readonly ReturnType<typeof newRow>[],
): Promise<readonly string[]> {
  for (;;) {
    try {
      await store.insertTasks(rows);
      return rows.map(({ agentId }) => agentId);
    } catch (error) {
      // A producer is told after two seconds, and may ask again with the same ids.
      if (!(error instanceof ConnectionError && error.retryable)) throw error;
    }
  }
}

Deno.test("while the server is down writes wait, reads are told, and who gives up is let go", async () => {
  await using server = await startPostgres();
  await using bench = await Bench.make({
    name: "Postgres",
    async ground() {
      const database = await server.freshDatabase();
      return {
        address: parseDatabaseUrl({ value: database.url, source: "the test" }),
        [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
      };
    },
  });
  const [kept, given] = [await bench.running("1"), await bench.running("1")];
  await server.stop();
  const giveUp = new AbortController();
  const patient = bench.write({ agentId: kept, token: "1", status: "complete", result: "1" });
  const impatient = bench.store.write(
    { agentId: given, token: "1", status: "complete" },
    { signal: giveUp.signal },
  );
  const rejected = assertRejects(() => impatient, ConnectionError);
  const error = await assertRejects(() => bench.store.readRow(kept), ConnectionError);
  assertEquals(error.retryable, true);
  giveUp.abort();
  assertEquals((await within(rejected, { what: "the write to be let go" })).retryable, true);
  await server.restart();
  assertEquals(await within(patient, { what: "the write to be made" }), { kind: "written" });
  assertEquals((await bench.detail(kept)).status, "complete");
  assertEquals((await bench.detail(given)).status, "running");
});

Deno.test("a write whose signal has aborted already is tried once", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  const write = { agentId: id, token: "1", status: "running" } as const;
  assertEquals(await bench.store.write(write, { signal: AbortSignal.abort() }), {
    kind: "written",
  });
});
