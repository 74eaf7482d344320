import { sql } from "kysely";
import { Client } from "@agentexec/core";
import { openDatabase } from "../../src/activity/connection.ts";
import { parseDatabaseUrl } from "../../src/addresses.ts";
import { ConnectionError, MigrationError } from "../../src/errors.ts";
import type { Database } from "../../src/task/context.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { sharedPostgres } from "../support/servers.ts";

/** A database, and a role of its own that may connect to it. */
class Site implements AsyncDisposable {
  readonly role = `Odd user ${crypto.randomUUID().slice(0, 8)}`;
  readonly quoted = `"${this.role}"`;
  readonly admin: Database;
  readonly #url: URL;
  readonly #dispose: () => PromiseLike<void>;

  private constructor(url: string, dispose: () => PromiseLike<void>) {
    this.#url = new URL(url);
    this.#dispose = dispose;
    this.admin = openDatabase(parseDatabaseUrl({ value: url, source: "the test" }));
  }

  static async make(): Promise<Site> {
    const database = await sharedPostgres().freshDatabase();
    const site = new Site(database.url, () => database[Symbol.asyncDispose]());
    await site.run(`create role ${site.quoted} login`);
    return site;
  }

  /** The name of the database. */
  get database(): string {
    return this.#url.pathname.slice(1);
  }

  /** As a superuser. */
  async run(text: string): Promise<void> {
    await sql.raw(text).execute(this.admin);
  }

  /** A client of the role. */
  client(metadataIndexes: readonly string[] = []): Client {
    const url = new URL(this.#url);
    url.username = this.role;
    url.password = "secret";
    return new Client({ brokerUrl: "redis://127.0.0.1:1", databaseUrl: url.href, metadataIndexes });
  }

  /** The message with which a migration by the role is refused. */
  async refusal(metadataIndexes: readonly string[] = []): Promise<string> {
    await using client = this.client(metadataIndexes);
    const { message } = await assertRejects(() => client.migrate(), MigrationError);
    assertTrue(message.includes(`:***@127.0.0.1`) && !message.includes("secret"), message);
    return message;
  }

  /** Runs what a message says, after which the role can migrate. */
  async mend(message: string): Promise<void> {
    const remedy = /run as its owner or a superuser: (.*)$/.exec(message)?.[1] ?? "";
    assertTrue(remedy !== "", message);
    for (const statement of remedy.split(/(?<=;) /)) await this.run(statement);
    await using client = this.client();
    await client.migrate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.run(`drop owned by ${this.quoted}`);
    await this.run(`revoke all on database ${this.database} from ${this.quoted}`);
    await this.run(`reassign owned by ${this.quoted} to postgres`);
    await this.run(`drop role ${this.quoted}`);
    await this.admin.destroy();
    await this.#dispose();
  }
}

Deno.test("migrate() without the right to make tables names schema and user, and the GRANT to run", async () => {
  await using site = await Site.make();
  await site.run("revoke create on schema public from public");
  const message = await site.refusal();
  assertTrue(
    message.includes(`user ${site.quoted} may not make tables in schema public`) &&
      message.endsWith(`GRANT USAGE, CREATE ON SCHEMA public TO ${site.quoted};`),
    message,
  );
  await site.mend(message);
});

Deno.test("migrate() into a schema that is not there, or may not be used, says which and what to run", async () => {
  await using site = await Site.make();
  await site.run(`alter role ${site.quoted} set search_path = "App Data"`);
  const missing = await site.refusal();
  assertTrue(missing.endsWith(`CREATE SCHEMA "App Data" AUTHORIZATION ${site.quoted};`), missing);
  await site.run(`create schema "App Data"`);
  const unusable = await site.refusal();
  assertTrue(
    unusable.endsWith(`GRANT USAGE, CREATE ON SCHEMA "App Data" TO ${site.quoted};`),
    unusable,
  );
  await site.mend(unusable);
});

Deno.test("migrate() with an empty search_path says so", async () => {
  await using site = await Site.make();
  await site.run("grant usage, create on schema public to public");
  await site.run(`alter role ${site.quoted} set search_path = ''`);
  const message = await site.refusal();
  assertTrue(message.includes("search_path"), message);
  await site.mend(message);
});

Deno.test("migrate() of a database that is read-only says so, and how to change it", async () => {
  await using site = await Site.make();
  await site.run("grant usage, create on schema public to public");
  await site.run(`alter role ${site.quoted} set default_transaction_read_only = on`);
  const message = await site.refusal();
  assertTrue(message.includes("read-only"), message);
  await site.mend(message);
});

Deno.test("a database that its user may not connect to is refused for good, with the right to grant", async () => {
  await using site = await Site.make();
  await site.run(`revoke connect on database ${site.database} from public`);
  await using client = site.client();
  for (const call of [() => client.migrate(), () => client.activity.list()]) {
    const error = await assertRejects(call, ConnectionError);
    assertEquals(error.retryable, false);
    assertTrue(error.message.includes("GRANT CONNECT ON DATABASE"), error.message);
  }
});

Deno.test("another user's tables are used, and only changed by their owner", async () => {
  await using site = await Site.make();
  await site.run("grant usage, create on schema public to public");
  await using owner = new Client({
    brokerUrl: "redis://127.0.0.1:1",
    databaseUrl: sharedPostgres().url.replace(/[^/]*$/, site.database),
  });
  await owner.migrate();
  await using client = site.client();
  const unread = await assertRejects(() => client.activity.list(), MigrationError);
  assertTrue(
    unread.message.endsWith(`GRANT SELECT ON agentexec_migration TO ${site.quoted};`),
    unread.message,
  );
  await site.run(`grant select on all tables in schema public to ${site.quoted}`);
  assertEquals((await client.activity.list()).items, []);
  // There is nothing to do, so nothing is refused.
  await client.migrate();
  const message = await site.refusal(["org"]);
  assertTrue(message.includes("agentexec_activity in schema public is owned by postgres"), message);
  assertTrue(message.endsWith(`GRANT postgres TO ${site.quoted};`), message);
  await site.mend(message);
});

Deno.test("the longest prefix makes the same names as a short one: Postgres cuts none", async () => {
  await using database = await sharedPostgres().freshDatabase();
  const names = async (prefix: string) => {
    await using client = new Client({
      brokerUrl: "redis://127.0.0.1:1",
      databaseUrl: database.url,
      tablePrefix: prefix,
      metadataIndexes: ["organization_unit", "k".repeat(64)],
    });
    await client.migrate();
    const db = openDatabase(parseDatabaseUrl({ value: database.url, source: "the test" }));
    const { rows } = await sql<{ name: string }>`select relname as name from pg_class
      where starts_with(relname, ${prefix}) order by 1`.execute(db);
    await db.destroy();
    return rows.map(({ name }) => name.slice(prefix.length));
  };
  const short = await names("short_");
  assertTrue(short.length > 8, short.join());
  assertEquals(await names("p".repeat(31)), short);
});
