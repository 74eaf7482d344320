import { Client, type TaskHandle, type TaskResult } from "@agentexec/core";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { sqliteDialect } from "../../src/activity/sqlite.ts";
import { defineTask } from "../../src/task/definition.ts";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { recordLogs } from "../support/pools.ts";
import { onBothGrounds, openStores } from "../support/stores.ts";
import { makeBench } from "./support.ts";

const ping = defineTask("ping");

onBothGrounds(
  "results() tells of every task how far it is and what came of it, in one query",
  async (ground) => {
    await using _ = await recordLogs();
    await using stores = await openStores(ground);
    const { brokerUrl, databaseUrl } = stores;
    const statements: string[] = [];
    await using bench = await makeBench({
      brokerUrl,
      databaseUrl,
      db: (url) =>
        new Kysely({
          dialect: url.startsWith("sqlite:")
            ? sqliteDialect(url.slice("sqlite:".length))
            : new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: 1 }) }),
          log: ({ query }) => void statements.push(query.sql),
        }),
    });
    const { client } = bench;
    const worker = await bench.worker();
    const enqueue = () => client.enqueue(ping);
    const done = await enqueue();
    await worker.complete({ n: 1 });
    const nothing = await enqueue();
    await worker.complete();
    const none = await enqueue();
    await worker.complete(null);
    const failed = await enqueue();
    await worker.end(await worker.start(), { status: "error", error: "Error: no model" });
    const canceled = await enqueue();
    await canceled.cancel();
    const running = await enqueue();
    await worker.start();
    const queued = await enqueue();
    const record = await client.activity.create({ taskName: "nightly" });
    const unknown = crypto.randomUUID();
    const many = await client.enqueueMany(ping, new Array(2_000).fill(undefined));
    function row(
      { agentId }: TaskHandle,
      status: TaskResult["status"],
      { result, error = null }: { readonly result?: unknown; readonly error?: string | null } = {},
    ): TaskResult {
      return { agentId, taskName: "ping", status, result, error };
    }
    const asked = [done, nothing, none, failed, canceled, running, queued].map((task) =>
      task.agentId
    );
    statements.length = 0;
    const results = await client.results([
      ...asked,
      unknown,
      record,
      done.agentId.toUpperCase(),
      ...many.map((task) => task.agentId),
    ]);
    assertEquals(statements.length, 1, statements.join("\n"));
    assertEquals(results.slice(0, 10), [
      row(done, "complete", { result: { n: 1 } }),
      row(nothing, "complete"),
      row(none, "complete", { result: null }),
      row(failed, "error", { error: "Error: no model" }),
      row(canceled, "canceled"),
      row(running, "running"),
      row(queued, "queued"),
      null,
      null,
      row(done, "complete", { result: { n: 1 } }),
    ]);
    assertEquals(results.slice(10), many.map((task) => row(task, "queued")));
    assertEquals(await client.results([]), []);
    // What tasks were given may be large, and is not read.
    assertMatch(statements[0] ?? "", /^(?!.*context)/s);
  },
);

Deno.test("results() refuses what is no list of ids", async () => {
  await using client = new Client();
  const wrong: readonly [unknown, RegExp][] = [
    ["x", /^Cannot use 'ids': it must be an array, current value is a string$/],
    [["x"], /^Cannot use 'ids\[0\]': it must be a UUID, current value is "x"$/],
  ];
  for (const [ids, message] of wrong) {
    const error = await assertRejects(() => client.results(ids as string[]), TypeError);
    assertMatch(error.message, message);
  }
});
