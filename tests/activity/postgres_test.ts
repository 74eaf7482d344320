import { sql } from "kysely";
import { openDatabase } from "../../src/activity/connection.ts";
import { whereOf } from "../../src/activity/filters.ts";
import { ActivityStore } from "../../src/activity/store.ts";
import { parseDatabaseUrl } from "../../src/addresses.ts";
import { ConnectionError, IncompatibleError } from "../../src/errors.ts";
import { Bench, MESSAGES } from "../contract/activity/bench.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { freePort } from "../support/ports.ts";
import { startProxy } from "../support/proxy.ts";
import { type PostgresServer, sharedPostgres, startPostgres } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { postgresGround } from "./grounds.ts";

const contract = { name: "Postgres", ground: postgresGround };

function storeAt(url: string): ActivityStore {
  const address = parseDatabaseUrl({ value: url, source: "the test" });
  return new ActivityStore({ address, tablePrefix: "agentexec_", messages: MESSAGES });
}

/** The error of a connection that must fail. */
async function refusal(url: string): Promise<ConnectionError> {
  const store = storeAt(url);
  try {
    return await assertRejects(() => store.connect(), ConnectionError);
  } finally {
    await store.close();
  }
}

async function connects(url: string): Promise<void> {
  const store = storeAt(url);
  await store.connect();
  await store.close();
}

async function psql(server: PostgresServer, ...queries: ReturnType<typeof sql>[]): Promise<void> {
  const db = openDatabase(parseDatabaseUrl({ value: server.url, source: "the test" }));
  for (const query of queries) await query.execute(db);
  await db.destroy();
}

Deno.test("a store on Postgres needs the right to its address and no other, not even to its variables", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  const { address } = bench.ground;
  assertTrue(address.kind === "postgres");
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "--cached-only"],
      `--allow-net=${address.host}:${address.port}`,
      new URL("fixtures/connect.ts", import.meta.url).pathname,
      ...[address.url, id],
    ],
    env: {
      PGOPTIONS: "-c nonsense=1",
      PGDATABASE: "nowhere",
      PGUSER: "nobody",
      PGSSLMODE: "require",
    },
    stdin: "null",
  }).output();
  assertEquals(new TextDecoder().decode(stderr), "");
  assertEquals(new TextDecoder().decode(stdout), "written\n");
});

Deno.test("a process without the right to the address is told so at once", async () => {
  await using bench = await Bench.make(contract);
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "--cached-only", "--allow-net=127.0.0.1:1"],
      new URL("fixtures/connect.ts", import.meta.url).pathname,
      ...[bench.ground.address.url, crypto.randomUUID()],
    ],
    stdin: "null",
    stderr: "null",
  }).output();
  const text = new TextDecoder().decode(stdout);
  assertTrue(text.includes("Requires net access") && text.includes("false"), text);
});

Deno.test("nobody listens, or there is no such database: the error says which can be tried again", async () => {
  const nobody = await refusal(`postgres://u:secret@127.0.0.1:${freePort()}/d`);
  assertEquals(nobody.retryable, true);
  assertTrue(nobody.message.includes("u:***@127.0.0.1"), nobody.message);
  const missing = new URL(sharedPostgres().url);
  missing.pathname = "/no_such_database";
  const error = await refusal(missing.href);
  assertEquals(error.retryable, false);
  assertTrue(error.message.includes("no_such_database"), error.message);
});

Deno.test("start-up parameters that Postgres does not know are refused with its words, and not tried again", async () => {
  await using database = await sharedPostgres().freshDatabase();
  for (const options of ["garbage", "-c nonsense=1", "-c DateStyle=nonsense"]) {
    const error = await refusal(`${database.url}?options=${encodeURIComponent(options)}`);
    assertEquals(error.retryable, false, error.message);
    assertTrue(/Cannot connect at .*(garbage|nonsense)/.test(error.message), error.message);
  }
});

Deno.test("passwords: the right one is let in, a wrong or missing one is not tried again and never shown", async () => {
  await using server = await startPostgres();
  await psql(
    server,
    sql`create role scram login password 'p@ss/w:rd'`,
    sql`set password_encryption = 'md5'`,
    sql`create role md5 login password 'p@ss/w:rd'`,
  );
  const rules = `${server.dir}/data/pg_hba.conf`;
  const others = await Deno.readTextFile(rules);
  const strict = "host all scram 127.0.0.1/32 scram-sha-256\nhost all md5 127.0.0.1/32 md5\n";
  await Deno.writeTextFile(rules, strict + others);
  await psql(server, sql`select pg_reload_conf()`);
  for (const role of ["scram", "md5"]) {
    const at = (who: string) => `postgres://${who}@127.0.0.1:${server.port}/postgres`;
    // A reload takes effect some time after it has been asked for.
    await waitFor(async () => !(await refusal(at(role))).retryable, { what: "the new rules" });
    await connects(at(`${role}:${encodeURIComponent("p@ss/w:rd")}`));
    for (const who of [`${role}:wr0ng`, role]) {
      const error = await refusal(at(who));
      assertEquals(error.retryable, false, error.message);
      assertTrue(!error.message.includes("wr0ng"), error.message);
    }
  }
});

Deno.test("TLS: a certificate that nobody vouches for, or of another host, is refused with what to do", async () => {
  await using server = await startPostgres();
  const data = `${server.dir}/data`;
  const plain = await refusal(`${server.url}?sslmode=verify-full`);
  assertTrue(plain.message.includes("?sslmode=disable"), plain.message);
  assertEquals(plain.retryable, false);
  for (const [file, name] of [["good", "IP:127.0.0.1,DNS:localhost"], ["bad", "DNS:example.org"]]) {
    await makeCertificate(`${data}/${file}`, name ?? "");
  }
  const use = async (file: string) => {
    await psql(
      server,
      file === "good"
        ? sql`alter system set ssl_cert_file = 'good.crt'`
        : sql`alter system set ssl_cert_file = 'bad.crt'`,
      file === "good"
        ? sql`alter system set ssl_key_file = 'good.key'`
        : sql`alter system set ssl_key_file = 'bad.key'`,
      sql`alter system set ssl = on`,
    );
    await server.stop();
    await server.restart();
  };
  await use("good");
  const unknown = await refusal(`${server.url}?sslmode=verify-full`);
  assertEquals(unknown.retryable, false, unknown.message);
  assertTrue(unknown.message.includes("?sslrootcert=FILE"), unknown.message);
  await connects(`${server.url}?sslmode=verify-full&sslrootcert=${data}/good.crt`);
  await connects(
    `${server.url.replace("127.0.0.1", "localhost")}?sslmode=require&sslrootcert=${data}/good.crt`,
  );
  await connects(`${server.url}?sslmode=no-verify`);
  await connects(server.url);
  await use("bad");
  for (const host of ["127.0.0.1", "localhost"]) {
    const url = server.url.replace("127.0.0.1", host);
    const error = await refusal(`${url}?sslmode=verify-full&sslrootcert=${data}/bad.crt`);
    assertEquals(error.retryable, false, error.message);
  }
});

/** A certificate that vouches for itself, readable by the user that Postgres runs as. */
async function makeCertificate(path: string, name: string): Promise<void> {
  const commands = [
    [
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
      ...["-nodes", "-days", "2", "-subj", "/CN=test", "-addext", `subjectAltName=${name}`],
      ...["-keyout", `${path}.key`, "-out", `${path}.crt`],
    ],
    ["chmod", "600", `${path}.key`],
    ...(Deno.uid() === 0 ? [["chown", "postgres:", `${path}.key`, `${path}.crt`]] : []),
  ];
  for (const [program = "", ...args] of commands) {
    const { code, stderr } = await new Deno.Command(program, { args, stdout: "null" }).output();
    assertEquals(code, 0, new TextDecoder().decode(stderr));
  }
}

Deno.test("a Postgres older than 14 is refused", async () => {
  const server = new URL(sharedPostgres().url);
  await using proxy = startProxy(Number(server.port));
  const db = openDatabase(parseDatabaseUrl({ value: server.href, source: "the test" }));
  const { rows } = await sql<{ v: string }>`select current_setting('server_version_num') as v`
    .execute(db);
  await db.destroy();
  proxy.rewrite(rows[0]?.v ?? "", "130009");
  server.port = String(proxy.port);
  const store = storeAt(server.href);
  const error = await assertRejects(() => store.connect(), IncompatibleError);
  assertTrue(error.message.includes("Postgres 13"), error.message);
  await store.close();
});

Deno.test("a statement that gets no answer is given up, and the next one gets a new connection", async () => {
  const server = new URL(sharedPostgres().url);
  await using proxy = startProxy(Number(server.port));
  server.port = String(proxy.port);
  const address = parseDatabaseUrl({ value: server.href, source: "the test" });
  const db = openDatabase(address, { statementMs: 2_000 });
  await sql`select 1`.execute(db);
  proxy.block();
  const error = await assertRejects(
    () => within(sql`select 2`.execute(db), { what: "the statement to be given up" }),
    Error,
  );
  assertTrue(error.message.includes("2000 ms"), error.message);
  proxy.unblock();
  await within(sql`select 3`.execute(db), { what: "an answer" });
  // One for the request to cancel the statement.
  assertEquals(proxy.connections, 3);
  await db.destroy();
});

Deno.test("a store whose server answers nothing any more closes all the same, and ends what is under way", async () => {
  await using bench = await Bench.make(contract);
  const { address } = bench.ground;
  assertTrue(address.kind === "postgres");
  await using proxy = startProxy(address.port);
  const store = bench.another({ address: { ...address, port: proxy.port } });
  const id = await bench.task();
  await store.readRow(id);
  proxy.block();
  const calls = [
    store.write({ agentId: id, token: "1", status: "running" }),
    store.list(),
    store.readRow(id),
  ];
  const ends = calls.map((call) => assertRejects(() => call, ConnectionError));
  await within(store.close(), { what: "the store to close" });
  await within(Promise.all(ends), { what: "the calls to end" });
});

Deno.test("a metadata filter uses the index of its key", async () => {
  await using bench = await Bench.make(contract, { metadataIndexes: ["org.unit"] });
  const plan = await bench.store.database().transaction().execute(async (db) => {
    await sql`set local enable_seqscan = off`.execute(db);
    const where = whereOf("postgres", { metadata: { "org.unit": "x" } });
    return (await sql`explain select 1 from agentexec_activity where ${where}`.execute(db)).rows;
  });
  assertTrue(JSON.stringify(plan).includes("agentexec_metadata_org_unit"), JSON.stringify(plan));
});

/** How many statements in the database wait for a lock. */
async function waiting(bench: Bench): Promise<number> {
  const rows = await bench.sql(sql`select pid from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'`);
  return rows.length;
}

Deno.test("a read that has to wait holds up no other call of its store", async () => {
  await using bench = await Bench.make(contract);
  const id = await bench.task();
  const other = openDatabase(bench.ground.address);
  const trx = await other.startTransaction().execute();
  await sql`lock table agentexec_activity_log in access exclusive mode`.execute(trx);
  const detail = bench.store.detail(id);
  await waitFor(async () => await waiting(bench) === 1, { what: "the read to wait" });
  assertEquals((await within(bench.store.readRow(id), { what: "a row" }))?.agentId, id);
  await trx.rollback().execute();
  assertEquals((await within(detail, { what: "the read" }))?.agentId, id);
  await other.destroy();
});
