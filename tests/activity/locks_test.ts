import { type ControlledTransaction, sql } from "kysely";
import { HANDLERS } from "../../src/activity/acquire.ts";
import { openDatabase } from "../../src/activity/connection.ts";
import type { ActivityStatus } from "../../src/activity/activity.ts";
import { parseDatabaseUrl } from "../../src/addresses.ts";
import { ConnectionError } from "../../src/errors.ts";
import type { Database } from "../../src/task/context.ts";
import { Bench, newRow } from "../contract/activity/bench.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { makeCertificates } from "../support/certificates.ts";
import { sharedPostgres, startPgBouncer, startPostgres } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { bouncerGround, postgresGround, postgresJsGround } from "./grounds.ts";

const contract = { name: "Postgres", ground: postgresGround };
const grounds = [
  contract,
  { name: "PgBouncer", ground: bouncerGround },
  { name: "postgres.js", ground: postgresJsGround },
];

/** A program's own connections to the database of a bench. */
class Others implements AsyncDisposable {
  readonly db: Database;
  readonly #transactions: ControlledTransaction<unknown>[] = [];

  constructor(bench: Bench) {
    this.db = openDatabase(bench.ground.address, { connections: 4 });
  }

  /** A transaction that stays open. */
  async begin(): Promise<ControlledTransaction<unknown>> {
    const transaction = await this.db.startTransaction().execute();
    this.#transactions.push(transaction);
    return transaction;
  }

  /** Holds a row locked. */
  async lock(id: string): Promise<ControlledTransaction<unknown>> {
    const transaction = await this.begin();
    await sql`select 1 from agentexec_activity where agent_id = ${id} for update`.execute(
      transaction,
    );
    return transaction;
  }

  /** How many statements of others wait for a lock. */
  async waiting(): Promise<number> {
    return (await sql`select pid from pg_stat_activity
      where datname = current_database() and wait_event_type = 'Lock'`.execute(this.db)).rows
      .length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of this.#transactions) {
      if (!each.isRolledBack && !each.isCommitted) await each.rollback().execute();
    }
    await this.db.destroy();
  }
}

for (const each of grounds) {
  Deno.test(`${each.name}: a row that another transaction holds keeps no other from being written`, async () => {
    await using bench = await Bench.make(each);
    const held = await bench.running("1");
    const free = await Promise.all(Array.from({ length: 20 }, () => bench.running("1")));
    await using others = new Others(bench);
    const lock = await others.lock(held);
    const order: string[] = [];
    const writes = ([undefined, undefined, "complete"] as const).map(async (status, index) => {
      const outcome = await bench.write({
        agentId: held,
        token: "1",
        message: `held ${index}`,
        ...(status === undefined ? {} : { status }),
      });
      order.push(`held ${index}`);
      return outcome.kind;
    });
    for (const agentId of free) {
      for (const status of [undefined, "complete"] as const) {
        const write = bench.write({
          agentId,
          token: "1",
          ...(status === undefined ? {} : { status }),
        });
        assertEquals(await within(write, { what: "the write of a free row" }), { kind: "written" });
      }
    }
    const gone = bench.write({ agentId: crypto.randomUUID(), token: "1", status: "running" });
    assertEquals(await within(gone, { what: "a row that is not there" }), { kind: "missing" });
    assertEquals([order, await others.waiting()], [[], 0]);
    await lock.rollback().execute();
    assertEquals(await within(Promise.all(writes), { what: "the writes of the row" }), [
      ...["written", "written", "written"],
    ]);
    assertEquals(order, ["held 0", "held 1", "held 2"]);
    assertEquals((await bench.log(held)).slice(-3), [
      ...["running: held 0", "running: held 1", "complete: held 2"],
    ]);
  });
}

Deno.test("a write whose row stays locked is released with its signal, and says why", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.running("1");
  await using others = new Others(bench);
  await others.lock(id);
  const giveUp = new AbortController();
  const write = bench.store.write({ agentId: id, token: "1", status: "complete" }, {
    signal: giveUp.signal,
  });
  const rejected = assertRejects(() => write, ConnectionError);
  await bench.running("1");
  giveUp.abort();
  const error = await within(rejected, { what: "the write to be released" });
  assertTrue(error.retryable && error.message.includes(id), error.message);
  assertTrue(error.message.includes("locked"), error.message);
  assertEquals((await bench.detail(id)).status, "running");
});

Deno.test("a store closes while a row is locked, and ends the write that waits for it", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.running("1");
  await using others = new Others(bench);
  await others.lock(id);
  const store = bench.another();
  const rejected = assertRejects(
    () => store.write({ agentId: id, token: "1", status: "complete" }),
    ConnectionError,
  );
  await within(store.close(), { what: "the store to close" });
  await within(rejected, { what: "the write to end" });
});

Deno.test("somebody's foreign key to a row is no reason to wait", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.running("1");
  await using others = new Others(bench);
  await sql`create table company (agent_id uuid references agentexec_activity)`.execute(others.db);
  const transaction = await others.begin();
  await sql`insert into company values (${id})`.execute(transaction);
  const write = bench.write({ agentId: id, token: "1", status: "complete" });
  assertEquals(await within(write, { what: "the write" }), { kind: "written" });
});

Deno.test("cancel and refuse leave locked rows to a later try, hold up no other, and say so in the end", async () => {
  await using bench = await Bench.make(contract);
  const [held, free] = [await bench.task(), await bench.task()];
  await using others = new Others(bench);
  let lock = await others.lock(held);
  const one = bench.store.cancelRow(held, "5");
  const refused = assertRejects(() => one, ConnectionError);
  const canceled = bench.store.cancelRows([held, free], "5", { from: "live" });
  await waitFor(async () => (await bench.detail(free)).status === "canceled", {
    what: "the free row to be canceled",
  });
  assertTrue((await refused).message.includes("locked"));
  assertEquals(await canceled, [free]);
  const failed = assertRejects(() => bench.store.refuse([held]), ConnectionError);
  assertTrue((await failed).message.includes(held));
  assertEquals(await others.waiting(), 0);
  await lock.rollback().execute();
  lock = await others.lock(held);
  const later = bench.store.cancelRow(held, "6");
  await lock.rollback().execute();
  assertEquals(await within(later, { what: "the cancel" }), "canceled");
});

Deno.test("an id whose row another transaction has made holds up no other insert, and is locked in the end", async () => {
  await using bench = await Bench.make(contract);
  const rows = Array.from({ length: 40 }, () => newRow());
  const own = rows[17]?.agentId ?? "";
  await using others = new Others(bench);
  const transaction = await others.begin();
  await sql`insert into agentexec_activity (agent_id, kind, task_name, status, metadata)
    values (${own}, 'record', 'theirs', 'queued', '{}')`.execute(transaction);
  const all = bench.store.insertTasks(rows);
  await waitFor(async () => (await bench.store.count()) === 39, { what: "the others" });
  const outcomes = await within(all, { what: "all outcomes" });
  assertEquals(outcomes.filter(({ kind }) => kind === "inserted").length, 39);
  assertEquals(outcomes[17], { kind: "locked" });
  assertEquals(await others.waiting(), 0);
  const again = bench.store.insertTasks(rows.slice(17, 18));
  await transaction.commit().execute();
  assertEquals(await within(again, { what: "the conflict" }), [{
    kind: "conflict",
    taskName: "theirs",
  }]);
});

Deno.test("a record whose row is locked holds up no other call, and its change is told why it failed", async () => {
  await using bench = await Bench.make(contract);
  const record = await bench.store.createRecord({ taskName: "nightly" });
  const id = await bench.running("1");
  await using others = new Others(bench);
  let lock = await others.lock(record);
  const change = assertRejects(
    () => bench.store.updateRecord(record, { message: "a" }),
    ConnectionError,
  );
  for (let write = 0; write < 5; write++) {
    const progress = bench.write({ agentId: id, token: "1", message: "on" });
    assertEquals(await within(progress, { what: "a write" }), { kind: "written" });
  }
  assertTrue((await change).message.includes("another transaction"));
  await lock.rollback().execute();
  lock = await others.lock(record);
  const later = bench.store.updateRecord(record, { message: "b" });
  await lock.rollback().execute();
  await within(later, { what: "the change" });
  assertEquals(await bench.log(record), ["queued: Waiting", "running: b"]);
});

Deno.test("a broker's row that is locked holds up no write of a task", async () => {
  await using bench = await Bench.make(contract);
  const use = { id: "b", queue: "q", address: "redis://localhost:6379/0" };
  await bench.store.noteBrokerUse(use);
  const id = await bench.running("1");
  await using others = new Others(bench);
  const transaction = await others.begin();
  await sql`select 1 from agentexec_broker for update`.execute(transaction);
  const noted = assertRejects(() => bench.store.noteBrokerUse(use), ConnectionError);
  const write = bench.write({ agentId: id, token: "1", status: "complete" });
  assertEquals(await within(write, { what: "the write" }), { kind: "written" });
  await within(noted, { what: "the note to be given up" });
  assertEquals(await others.waiting(), 0);
});

Deno.test("a known task is known also while its row is locked", async () => {
  await using bench = await Bench.make(contract);
  const row = newRow();
  await bench.store.insertTasks([row]);
  await using others = new Others(bench);
  await others.lock(row.agentId);
  const status: ActivityStatus = "queued";
  assertEquals(await bench.store.insertTasks([row]), [{ kind: "same", status, token: "0" }]);
});

/** A statement that waits for a lock of another connection is given up; nothing of it stays behind. */
async function assertCanceled(url: string, direct: string): Promise<void> {
  const at = (text: string) => parseDatabaseUrl({ value: text, source: "the test" });
  const own = openDatabase(at(url), { statementMs: 1_000 });
  const other = openDatabase(at(direct), { connections: 2 });
  await sql`create table if not exists things (id int)`.execute(other);
  const transaction = await other.startTransaction().execute();
  await sql`lock table things in access exclusive mode`.execute(transaction);
  await assertRejects(() => sql`select 1 from things`.execute(own), Error);
  // A backend that was left to itself would go on waiting, and be counted.
  const { rows } = await sql`select query from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'`.execute(other);
  assertEquals(rows, []);
  await transaction.rollback().execute();
  await within(sql`select 1 from things`.execute(own), { what: "the next statement" });
  await own.destroy();
  await other.destroy();
}

Deno.test("a statement that is given up is canceled on the server, also behind PgBouncer", async () => {
  await using database = await sharedPostgres().freshDatabase();
  await assertCanceled(database.url, database.url);
  await using bouncer = await startPgBouncer(database.url);
  await assertCanceled(bouncer.url, database.url);
});

Deno.test("a statement that is given up is canceled over TLS where its connection is", async () => {
  await using certificates = await makeCertificates();
  await using server = await startPostgres();
  const data = `${server.dir}/data`;
  await Deno.copyFile(certificates.cert, `${data}/server.crt`);
  await Deno.copyFile(certificates.key, `${data}/server.key`);
  const { code } = await new Deno.Command("sh", {
    args: [
      "-c",
      `chmod 600 '${data}/server.key'; chown --reference='${data}/PG_VERSION' '${data}'/server.*`,
    ],
  }).output();
  assertEquals(code, 0);
  const admin = openDatabase(parseDatabaseUrl({ value: server.url, source: "the test" }));
  await sql`alter system set ssl = on`.execute(admin);
  await admin.destroy();
  await server.stop();
  await server.restart();
  await assertCanceled(
    `${server.url}?sslmode=verify-full&sslrootcert=${certificates.ca}`,
    server.url,
  );
});

Deno.test("a statement that is given up is canceled over a Unix socket where its connection is one, if that is granted", async () => {
  await using server = await startPostgres();
  const socket = `${server.dir}/data/.s.PGSQL.${server.port}`;
  const url = `postgres://postgres@/postgres?host=${server.dir}/data&port=${server.port}`;
  const other = openDatabase(parseDatabaseUrl({ value: server.url, source: "the test" }), {
    connections: 2,
  });
  await sql`create table things (id int)`.execute(other);
  const transaction = await other.startTransaction().execute();
  await sql`lock table things in access exclusive mode`.execute(transaction);
  const run = async (net: string) => {
    const { code, stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-prompt", "--cached-only", `--allow-net=${net}`],
        ...[`--allow-read=${socket}`, `--allow-write=${socket}`],
        new URL("fixtures/give_up.ts", import.meta.url).pathname,
        url,
      ],
      stdin: "null",
      stderr: "null",
    }).output();
    return [code, new TextDecoder().decode(stdout)];
  };
  assertEquals(await run(`unix:${socket}`), [0, "given up\n"]);
  const { rows } = await sql`select query from pg_stat_activity where wait_event_type = 'Lock'`
    .execute(other);
  assertEquals(rows, []);
  assertEquals(await run("127.0.0.1:1"), [0, "refused\n"]);
  await transaction.rollback().execute();
  await other.destroy();
});

Deno.test("a store that is closed in the middle of a statement leaves none on the server", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  await using others = new Others(bench);
  const transaction = await others.begin();
  await sql`lock table agentexec_activity in access exclusive mode`.execute(transaction);
  const store = bench.another();
  const calls = [
    store.write({ agentId: id, token: "1", status: "running" }),
    store.list(),
  ].map((call) => assertRejects(() => call, ConnectionError));
  await waitFor(async () => await others.waiting() === 2, { what: "both to wait" });
  await within(store.close(), { what: "the store to close" });
  await within(Promise.all(calls), { what: "the calls to end" });
  await waitFor(async () => await others.waiting() === 0, { what: "the server to be rid of them" });
});

Deno.test("a call that finds no connection free gets an error that names the option, and takes none away", async () => {
  await using database = await sharedPostgres().freshDatabase();
  const address = parseDatabaseUrl({ value: database.url, source: "the test" });
  const db = openDatabase(address, { connections: 1, acquire: { ...HANDLERS, ms: 300 } });
  const transaction = await db.startTransaction().execute();
  for (let call = 0; call < 3; call++) {
    const error = await assertRejects(() => sql`select 1`.execute(db), ConnectionError);
    assertTrue(error.retryable && error.message.includes("'databasePoolSize'"), error.message);
  }
  await transaction.commit().execute();
  await within(sql`select 1`.execute(db), { what: "the next call" });
  await db.destroy();
});

Deno.test("connections that are closed end those who wait for one, and leave no timer", async () => {
  await using database = await sharedPostgres().freshDatabase();
  const address = parseDatabaseUrl({ value: database.url, source: "the test" });
  const db = openDatabase(address, { connections: 1, acquire: { ...HANDLERS, ms: 600_000 } });
  await db.startTransaction().execute();
  const waits = assertRejects(() => sql`select 1`.execute(db), ConnectionError);
  await within(db.destroy(), { what: "the connections to be closed" });
  await within(waits, { what: "the call to end" });
});
