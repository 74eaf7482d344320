import { sql } from "kysely";
import { MIGRATIONS } from "../../../src/activity/migrator.ts";
import { IncompatibleError, MigrationError } from "../../../src/errors.ts";
import { assertEquals, assertRejects, assertTrue } from "../../support/assert.ts";
import { type ActivityContract, Bench } from "./bench.ts";

/** Migrations. */
export function migrating(contract: ActivityContract): void {
  const { name } = contract;

  Deno.test(`${name}: migrate() makes the tables once, however often it is called`, async () => {
    await using bench = await Bench.bare(contract);
    await bench.store.connect();
    const error = await assertRejects(() => bench.store.checkMigrated(), MigrationError);
    assertTrue(error.message.includes("pool.migrate()"), error.message);
    await bench.store.migrate();
    await bench.store.checkMigrated();
    const id = await bench.task();
    await bench.store.migrate();
    assertEquals((await bench.detail(id)).status, "queued");
  });

  Deno.test(`${name}: what needs the tables says that they are missing`, async () => {
    await using bench = await Bench.bare(contract);
    await assertRejects(() => bench.store.list(), MigrationError);
    await assertRejects(
      () => bench.write({ agentId: crypto.randomUUID(), token: "1", status: "running" }),
      MigrationError,
    );
  });

  Deno.test(`${name}: eight processes migrate at once`, async () => {
    await using bench = await Bench.bare(contract);
    const stores = Array.from({ length: 8 }, () => bench.another({ metadataIndexes: ["org"] }));
    await Promise.all(stores.map((store) => store.migrate()));
    await Promise.all(stores.map((store) => store.checkMigrated()));
    const rows = await bench.sql(sql`select id from agentexec_migration`);
    assertEquals(rows.length, MIGRATIONS.length);
  });

  Deno.test(`${name}: stores of two prefixes know nothing of each other`, async () => {
    await using bench = await Bench.make(contract);
    const other = bench.another({ tablePrefix: "other_" });
    await assertRejects(() => other.checkMigrated(), MigrationError);
    await other.migrate();
    const id = await bench.task();
    assertEquals(await other.readRow(id), undefined);
  });

  for (const table of ["agentexec_activity", "agentexec_activity_log", "agentexec_migration"]) {
    Deno.test(`${name}: another program's ${table} is refused and left as it is`, async () => {
      await using bench = await Bench.bare(contract);
      await bench.sql(sql`create table ${sql.table(table)} (name text)`);
      await bench.sql(sql`insert into ${sql.table(table)} (name) values ('theirs')`);
      for (const call of ["migrate", "checkMigrated"] as const) {
        const error = await assertRejects(() => bench.store[call](), IncompatibleError);
        assertTrue(error.message.includes(table), error.message);
        assertTrue(error.message.includes("AGENTEXEC_TABLE_PREFIX"), error.message);
        assertTrue(error.message.includes("tablePrefix"), error.message);
      }
      assertEquals((await bench.sql(sql`select name from ${sql.table(table)}`)).length, 1);
      await bench.another({ tablePrefix: "ours_" }).migrate();
    });
  }

  Deno.test(`${name}: a newer schema is used as long as it says that this version may`, async () => {
    await using bench = await Bench.make(contract);
    await bench.sql(
      sql`insert into agentexec_migration (id, name, oldest) values (1001, 'later', 1)`,
    );
    await bench.store.checkMigrated();
    await bench.store.migrate();
    await bench.sql(
      sql`insert into agentexec_migration (id, name, oldest) values (1002, 'much later', 1002)`,
    );
    const error = await assertRejects(() => bench.store.checkMigrated(), MigrationError);
    assertTrue(error.message.includes("newer version"), error.message);
    await assertRejects(() => bench.store.migrate(), MigrationError);
  });

  Deno.test(`${name}: each metadata key gets an index of its own, also those that read alike`, async () => {
    const keys = ["org", "a.b", "a-b", "a_b", "A_B", "k".repeat(64)];
    await using bench = await Bench.make(contract, { metadataIndexes: keys });
    await bench.store.migrate();
    const query = contract.name.includes("SQLite")
      ? sql`select name from sqlite_master where type = 'index' and name like 'agentexec_metadata_%'`
      : sql`select indexname from pg_indexes where indexname like 'agentexec_metadata_%'`;
    assertEquals((await bench.sql(query)).length, keys.length);
    const id = await bench.task({ metadata: '{"org":"o","a.b":1}' });
    const { items } = await bench.store.list({ metadata: { org: "o", "a.b": 1 } });
    assertEquals(items.map(({ agentId }) => agentId), [id]);
  });

  Deno.test(`${name}: a name that no metadata may have is refused as an index`, async () => {
    await using bench = await Bench.bare(contract);
    await assertRejects(
      () => Promise.resolve().then(() => bench.another({ metadataIndexes: ["a'b"] })),
      RangeError,
    );
  });

  Deno.test(`${name}: tables of the first schema are brought up to this one, with what they hold`, async () => {
    await using bench = await Bench.make(contract);
    const id = await bench.running("1");
    // What the later migrations made is taken away.
    await bench.sql(sql`drop table agentexec_broker`);
    await bench.sql(sql`drop index agentexec_activity_ended`);
    for (const column of ["updated_at", "error_name", "error_detail"]) {
      await bench.sql(sql`alter table agentexec_activity drop column ${sql.ref(column)}`);
    }
    await bench.sql(sql`delete from agentexec_migration where id > 1`);
    await assertRejects(() => bench.store.checkMigrated(), MigrationError);
    await bench.store.migrate();
    await bench.store.checkMigrated();
    const { status, failure } = await bench.detail(id);
    assertEquals([status, failure], ["running", null]);
    // The broker that holds it counts as used until now.
    const brokers = await bench.sql(sql`select id, queue, address from agentexec_broker`);
    assertEquals(brokers.map((row) => ({ ...row as object })), [
      { id: "b", queue: "q", address: null },
    ]);
  });

  Deno.test(`${name}: another program's table of brokers is refused, also by tables of the first schema`, async () => {
    await using bench = await Bench.make(contract);
    await bench.sql(sql`delete from agentexec_migration where id > 1`);
    const error = await assertRejects(() => bench.store.migrate(), IncompatibleError);
    assertTrue(error.message.includes("agentexec_broker"), error.message);
  });
}
