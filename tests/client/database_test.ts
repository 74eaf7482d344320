import { AgentexecError, Client, type ClientDatabase, defineTask, Pool } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import { Kysely, sql } from "kysely";
import { PostgresJSDialect } from "kysely-postgres-js";
import postgres from "postgres";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { makeProject } from "../support/projects.ts";
import { fixture, makePool, recordLogs } from "../support/pools.ts";
import { sharedPostgres, sharedRedisUrl, startPgBouncer } from "../support/servers.ts";
import { onBothGrounds, openStores } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";

const ping = defineTask("ping");

type MyTables = { company: { id: string; agent_id: string } };

async function total(db: ClientDatabase): Promise<number> {
  const { count } = await db.selectFrom("agentexec_activity")
    .select(({ fn }) => fn.countAll().as("count")).executeTakeFirstOrThrow();
  return Number(count);
}

onBothGrounds(
  "client.db reads the library's tables beside the program's own, and counts exactly",
  async (ground) => {
    await using stores = await openStores(ground);
    await using client = new Client({
      brokerUrl: stores.brokerUrl,
      databaseUrl: stores.databaseUrl,
      queueName: "db",
    });
    await client.migrate();
    const tasks = await client.enqueueMany(ping, new Array(10_001).fill(undefined));
    assertEquals(await client.activity.count(), 10_000);
    assertEquals(await total(client.db), 10_001);
    const db = client.db.$extendTables<MyTables>();
    const id = ground === "servers" ? "uuid" : "text";
    await db.schema.createTable("company").addColumn("id", "text").addColumn("agent_id", id)
      .execute();
    const agentId = tasks[7]?.agentId ?? "";
    await db.transaction().execute(async (trx) => {
      await trx.insertInto("company").values({ id: "acme", agent_id: agentId }).execute();
    });
    const rows = await db.selectFrom("company")
      .innerJoin("agentexec_activity as task", "task.agent_id", "company.agent_id")
      .select(["company.id", "task.task_name"]).execute();
    assertEquals(rows.map(({ id, task_name }) => `${id} ${task_name}`), ["acme ping"]);
    const both = await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(() => total(client.db)));
    assertEquals(new Set(both), new Set([10_001]));
  },
);

Deno.test("client.db connects at its first statement, and is closed with the client", async () => {
  await using database = await sharedPostgres().freshDatabase();
  const options = { brokerUrl: sharedRedisUrl(), databaseUrl: database.url };
  const connections = async () => {
    const { rows } = await sql<{ count: unknown }>`
      select count(*) as count from pg_stat_activity where datname = ${database.name}`
      .execute(other.db);
    return Number(rows[0]?.count);
  };
  await using other = new Client(options);
  const own = await connections();
  const client = new Client(options);
  const { db } = client;
  assertEquals(await connections(), own);
  await sql`select 1`.execute(db);
  assertEquals(await connections(), own + 1);
  await client.close();
  await waitFor(async () => await connections() === own, { what: "its connection to close" });
  await assertRejects(() => total(db), AgentexecError);
  assertThrows(() => client.db, AgentexecError);
});

Deno.test("client.db is made by the option db, if there is one", async () => {
  await using database = await sharedPostgres().freshDatabase();
  let made = 0;
  await using client = new Client({
    brokerUrl: sharedRedisUrl(),
    databaseUrl: database.url,
    db: (url) => {
      made++;
      return new Kysely({
        dialect: new PostgresJSDialect({ postgres: postgres(url, { max: 1 }) }),
      });
    },
  });
  await client.migrate();
  const before = made;
  assertEquals(await total(client.db), 0);
  assertEquals(await total(client.db), 0);
  assertEquals(made, before + 1);
});

onBothGrounds(
  "in a worker db is the worker's database, also if the program took it at its top level",
  async (ground) => {
    await using _ = await recordLogs();
    await using made = await makePool({ entrypoint: fixture("own_queries.ts") }, ground);
    const { pool } = made;
    pool.task("join", () => {});
    const db = pool.db.$extendTables<MyTables>();
    await db.schema.createTable("company").addColumn("id", "text")
      .addColumn("agent_id", ground === "servers" ? "uuid" : "text").execute();
    await pool.start();
    for (const count of [1, 2]) {
      const result = await (await pool.enqueue("join")).result({ timeout: { seconds: 60 } });
      assertEquals(result, { rows: ["acme running"], count });
    }
    await pool.shutdown();
    // What was taken before serves after it too.
    assertEquals((await db.selectFrom("company").selectAll().execute()).length, 2);
  },
);

Deno.test("pool.db is the kit's database as long as a test kit is attached", async () => {
  const pool = new Pool({
    name: "kit_db",
    brokerUrl: "sqlite:/nowhere/b",
    databaseUrl: "sqlite:/nowhere/a",
  });
  const { db } = pool;
  pool.task("ping", () => "pong");
  {
    await using kit = testPool(pool);
    assertEquals(await total(db), 0);
    await pool.enqueue("ping");
    await kit.run();
    assertEquals(await total(db), 1);
    const rows = await kit.db.selectFrom("agentexec_activity").select("status").execute();
    assertEquals(rows.map(({ status }) => status), ["complete"]);
  }
  const error = await assertRejects(() => total(db), Error);
  assertMatch(error.message, /nowhere|unable to open/);
  await pool.close();
});

Deno.test("client.db of an embedded program has the tables from its first statement on", async () => {
  await using project = await makeProject({
    "main.ts": `
      import { Client } from "@agentexec/core";
      const client = new Client();
      const rows = await client.db.selectFrom("agentexec_activity").selectAll().execute();
      console.log("rows:", rows.length);
      await client.close();`,
  });
  await using program = await project.run("main.ts");
  await program.waitForLine(/^rows: 0$/);
});

Deno.test("client.db reads times of a database whose dates are worded otherwise", async () => {
  await using database = await sharedPostgres().freshDatabase();
  const options = { brokerUrl: sharedRedisUrl(), databaseUrl: database.url, queueName: "dates" };
  await using setter = new Client(options);
  await setter.migrate();
  for (const setting of ["DateStyle = 'German, DMY'", "TimeZone = 'Asia/Kathmandu'"]) {
    await sql`alter database ${sql.ref(database.name)} set ${sql.raw(setting)}`.execute(setter.db);
  }
  const bouncer = await startPgBouncer(database.url);
  try {
    for (
      const databaseUrl of [
        database.url,
        bouncer.url,
        `${database.url}?options=${encodeURIComponent("-c DateStyle=SQL,DMY")}`,
      ]
    ) {
      await using client = new Client({ ...options, databaseUrl });
      const runAt = new Date("2030-01-02T03:04:05.678Z");
      const { agentId } = await client.enqueue(ping, undefined, { runAt });
      const row = await client.db.selectFrom("agentexec_activity").select(["run_at", "created_at"])
        .where("agent_id", "=", agentId).executeTakeFirstOrThrow();
      assertEquals(row.run_at, runAt);
      assertEquals(row.created_at, (await client.activity.detail(agentId))?.createdAt);
    }
  } finally {
    await bouncer[Symbol.asyncDispose]();
  }
});
