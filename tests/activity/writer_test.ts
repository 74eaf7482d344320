import { sql } from "kysely";
import { openDatabase } from "../../src/activity/connection.ts";
import type { WriteOutcome } from "../../src/activity/rows.ts";
import { ActivityStore } from "../../src/activity/store.ts";
import { parseDatabaseUrl } from "../../src/addresses.ts";
import { ConnectionError, IncompatibleError } from "../../src/errors.ts";
import { Bench, MESSAGES, newRow } from "../contract/activity/bench.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { type PostgresServer, startPostgres } from "../support/servers.ts";
import { within } from "../support/wait.ts";
import { postgresGround, sqliteGround } from "./grounds.ts";

const grounds = [
  { name: "Postgres", ground: postgresGround },
  { name: "SQLite", ground: sqliteGround },
];

/** A bench on a server of its own. */
function benchOn(server: PostgresServer): Promise<Bench> {
  return Bench.make({
    name: "Postgres",
    async ground() {
      const database = await server.freshDatabase();
      return {
        address: parseDatabaseUrl({ value: database.url, source: "the test" }),
        [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
      };
    },
  });
}

Deno.test("after an outage with 60,000 updates every end is there within five seconds, with the newest update of each task", async () => {
  await using server = await startPostgres();
  await using bench = await benchOn(server);
  const rows = Array.from({ length: 300 }, () => newRow());
  await bench.store.insertTasks(rows);
  const ids = rows.map(({ agentId }) => agentId);
  await Promise.all(
    ids.map((agentId) => bench.write({ agentId, token: "1", status: "running" })),
  );
  await server.stop();
  const updates: Promise<WriteOutcome>[] = [];
  // In waves, so that statements fail between them.
  for (let wave = 0; wave < 5; wave++) {
    for (const agentId of ids) {
      for (let at = 0; at < 40; at++) {
        updates.push(bench.write({ agentId, token: "1", message: `${wave}/${at}`, percentage: 7 }));
      }
    }
    const other = { agentId: crypto.randomUUID(), token: "1", status: "running" } as const;
    const tried = assertRejects(
      () => bench.store.write(other, { signal: AbortSignal.abort() }),
      ConnectionError,
    );
    await within(tried, { what: "a statement to fail" });
  }
  // Two thirds end, the others go on.
  const ended = ids.filter((_, index) => index % 3 !== 0);
  const going = ids.filter((_, index) => index % 3 === 0);
  const ends = ended.map((agentId) => bench.write({ agentId, token: "1", status: "canceled" }));
  await server.restart();
  const back = performance.now();
  const outcomes = await within(Promise.all(ends), { what: "the ends", timeoutMs: 60_000 });
  const took = performance.now() - back;
  assertTrue(took < 5_000, `the ends took ${Math.round(took)} ms`);
  assertTrue(outcomes.every(({ kind }) => kind === "written"));
  const told = await within(Promise.all(updates), { what: "the updates", timeoutMs: 60_000 });
  assertTrue(told.every(({ kind }) => kind === "written"));
  for (const [some, last] of [[ended, ["canceled: null"]], [going, []]] as const) {
    const { status, message, percentage } = await bench.detail(some[0] ?? "");
    const expected = last.length > 0 ? "canceled" : "running";
    assertEquals([status, message, percentage], [expected, "4/39", 7]);
    for (const id of some.slice(0, 20)) {
      const log = await bench.log(id);
      // At most one more, which was under way when the server went.
      assertTrue(log.length <= 4 + last.length, log.join(", "));
      assertEquals(log.slice(-1 - last.length), ["running: 4/39", ...last]);
    }
  }
});

for (const ground of grounds) {
  Deno.test(`${ground.name}: an end takes along the progress that waits, which has its line and says what the end leaves open`, async () => {
    await using bench = await Bench.make(ground);
    const id = await bench.running("1");
    const write = { agentId: id, token: "1" };
    const outcomes = await Promise.all([
      bench.write({ ...write, message: "almost", percentage: 90 }),
      bench.write({ ...write, status: "canceled" }),
    ]);
    assertEquals(outcomes, [{ kind: "written" }, { kind: "written" }]);
    const { status, message, percentage } = await bench.detail(id);
    assertEquals([status, message, percentage], ["canceled", "almost", 90]);
    assertEquals((await bench.log(id)).slice(-2), ["running: almost", "canceled: null"]);
    // What the row refuses of the end, it refuses of both.
    const late = await Promise.all([
      bench.write({ ...write, message: "late" }),
      bench.write({ ...write, status: "error" }),
    ]);
    assertEquals(late.map(({ kind }) => kind), ["refused", "refused"]);
  });
}

/** Statements that let a user's rule refuse rows of the activities. */
const RULES = {
  Postgres: (refused: string) => [
    `create function refuse() returns trigger language plpgsql as
      $$ begin raise exception 'refused: %', new.message; end $$`,
    `create trigger refuse before update on agentexec_activity for each row
      when (${refused}) execute function refuse()`,
  ],
  SQLite: (refused: string) => [
    `create trigger refuse before update on agentexec_activity for each row
      when (${refused}) begin select raise(abort, 'refused'); end`,
  ],
};

for (const ground of grounds) {
  const name = ground.name as keyof typeof RULES;
  const withRule = async (refused: string) => {
    const bench = await Bench.make(ground);
    for (const statement of RULES[name](refused)) await bench.sql(sql.raw(statement));
    return bench;
  };

  Deno.test(`${name}: an end whose text a rule refuses is written with an ASCII text that says so, and its neighbours as they are`, async () => {
    await using bench = await withRule(
      "new.error like '%\u{1f4a5}%' or new.message like '%\u{1f4a5}%'",
    );
    const ids = await Promise.all([0, 1, 2].map(() => bench.running("1")));
    const [first = "", odd = "", last = ""] = ids;
    const outcomes = await Promise.all(ids.map((agentId) => {
      const text = agentId === odd ? "b\u{f6}se \u{1f4a5}" : "\u{e9}";
      const failure = { name: "Err\u{e9}", message: text, stack: `Error: ${text}\n  at x` };
      return bench.write({
        ...{ agentId, token: "1", status: "error", message: text, error: text, failure },
        counters: { failures: 1 },
      });
    }));
    assertEquals(outcomes, new Array(3).fill({ kind: "written" }));
    for (const id of [first, last]) assertEquals((await bench.detail(id)).error, "\u{e9}");
    const { status, error, message, failure, failures } = await bench.detail(odd);
    assertEquals([status, failures], ["error", 1]);
    for (const text of [error, message, failure?.message]) {
      assertTrue(
        text?.startsWith("The database refused the text of this entry as it was ("),
        `${text}`,
      );
      assertTrue(text?.endsWith("): b\\u{f6}se \\u{1f4a5}"), `${text}`);
    }
    assertEquals(failure?.name, "Err\\u{e9}");
    assertTrue(failure?.stack?.includes("\\u{1f4a5}\n  at x"));
    assertEquals((await bench.log(odd)).at(-1), `error: ${message}`);
  });

  Deno.test(`${name}: an end whose words a rule refuses is written without them`, async () => {
    await using bench = await withRule("new.message like '%secret%'");
    for (const [status, error] of [["error", "a secret"], ["canceled", undefined]] as const) {
      const agentId = await bench.running("1");
      const outcome = await bench.write({
        ...{ agentId, token: "1", status, message: "the secret" },
        ...(error === undefined ? {} : { error }),
      });
      assertEquals(outcome, { kind: "written" });
      const detail = await bench.detail(agentId);
      assertEquals(detail.status, status);
      assertTrue(detail.message?.startsWith("The database refused the text of this entry"));
    }
  });

  Deno.test(`${name}: an end that a rule refuses in any words changes nothing, and is told as one`, async () => {
    await using bench = await withRule("new.status = 'error'");
    const [refused, written] = [await bench.running("1"), await bench.running("1")];
    const progress = { token: "1", message: "almost" };
    const [, first, , second] = await Promise.all([
      bench.write({ agentId: refused, ...progress }),
      bench.write({ agentId: refused, token: "1", status: "error", error: "e" }),
      bench.write({ agentId: written, ...progress }),
      bench.write({ agentId: written, token: "1", status: "complete", result: "1" }),
    ]);
    assertTrue(first?.kind === "invalid" && first.of === "rule", JSON.stringify(first));
    assertTrue(first.reason.includes("refused"), first.reason);
    assertEquals(second, { kind: "written" });
    assertEquals((await bench.detail(refused)).status, "running");
    // Its progress went out with it, and is not lost with it.
    assertEquals((await bench.log(refused)).at(-1), "running: almost");
    await bench.sql(
      sql.raw(
        name === "Postgres" ? "drop trigger refuse on agentexec_activity" : "drop trigger refuse",
      ),
    );
    const again = { agentId: refused, token: "1", status: "error", error: "e" } as const;
    assertEquals(await bench.write(again), { kind: "written" });
  });
}

Deno.test("a trigger that misses a table of its own refuses what it is about, and nothing else", async () => {
  await using bench = await Bench.make({ name: "Postgres", ground: postgresGround });
  await bench.sql(sql`create function audit() returns trigger language plpgsql as
    $$ begin insert into gone (id) values (new.agent_id); return new; end $$`);
  await bench.sql(sql`create trigger audit after update on agentexec_activity for each row
    when (new.status = 'error') execute function audit()`);
  const [refused, written] = [await bench.running("1"), await bench.running("1")];
  const [first, second] = await Promise.all([
    bench.write({ agentId: refused, token: "1", status: "error", error: "e" }),
    bench.write({ agentId: written, token: "1", status: "complete" }),
  ]);
  assertTrue(first?.kind === "invalid" && first.of === "rule", JSON.stringify(first));
  assertEquals(second, { kind: "written" });
});

Deno.test("a database that is not UTF-8 is refused, with the command that makes one which is", async () => {
  await using server = await startPostgres();
  const admin = openDatabase(parseDatabaseUrl({ value: server.url, source: "the test" }));
  for (const encoding of ["LATIN1", "SQL_ASCII"]) {
    const name = `a "${encoding}"`;
    await sql`create database ${sql.id(name)} template template0
      encoding ${sql.lit(encoding)} locale 'C'`.execute(admin);
    const url = new URL(server.url);
    url.pathname = `/${encodeURIComponent(name)}`;
    const store = storeAt(url.href);
    const { message } = await assertRejects(() => store.connect(), IncompatibleError);
    await store.close();
    assertTrue(message.includes(`encoding is ${encoding}`), message);
    const command = /by (CREATE DATABASE .*), and name it/.exec(message)?.[1] ?? "";
    await sql.raw(command).execute(admin);
    url.pathname = `/${encodeURIComponent(`${name}_utf8`)}`;
    const other = storeAt(url.href);
    await other.connect();
    await other.migrate();
    await other.close();
  }
  await admin.destroy();
});

function storeAt(url: string): ActivityStore {
  return new ActivityStore({
    address: parseDatabaseUrl({ value: url, source: "the test" }),
    tablePrefix: "agentexec_",
    messages: MESSAGES,
  });
}
