import { Pool } from "@agentexec/core";
import pg from "pg";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { chat, die, echo, hold } from "../fixtures/tasks.ts";
import { fixture, makePool, recordLogs } from "../support/pools.ts";
import { waitFor } from "../support/wait.ts";

const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));

/** The README's `ACL SETUSER` line as arguments of `redis-cli`, for this queue. */
function aclLine(queue: string): string[] {
  const line = /redis-cli (ACL SETUSER [\s\S]*?)\n```/.exec(readme)?.[1];
  assertTrue(line !== undefined, "the README has an ACL line");
  return line.replaceAll("\\\n", " ").replaceAll("agentexec_tasks", queue).split(/\s+/)
    .map((word) => word.replaceAll("'", ""));
}

/** The README's SQL, for a user of this test's own. */
function grants(user: string): string[] {
  const block = /```sql\n(CREATE USER worker[\s\S]*?)\n```/.exec(readme)?.[1];
  assertTrue(block !== undefined, "the README has GRANT lines");
  return block.replaceAll("worker", user).split(";").map((each) => each.trim()).filter((each) =>
    each !== ""
  );
}

Deno.test("workers under the README's ACL and GRANT lines run, report, crash and are canceled as any", async () => {
  await using _ = await recordLogs();
  const user = `worker_${crypto.randomUUID().replaceAll("-", "")}`;
  await using made = await makePool();
  const admin = new pg.Client({ connectionString: made.databaseUrl });
  await admin.connect();
  const databaseUrl = new URL(made.databaseUrl);
  databaseUrl.username = user;
  databaseUrl.password = "password";
  const redisUrl = made.redis.url.replace("redis://", "redis://worker:password@");
  try {
    for (const statement of grants(user)) await admin.query(statement);
    const acl = await new Deno.Command("redis-cli", {
      args: ["-p", String(made.redis.port), ...aclLine("fixture")],
    }).output();
    assertMatch(new TextDecoder().decode(acl.stdout), /^OK/);

    await made.pool.close();
    await using pool = new Pool({
      name: "fixture",
      queueName: "fixture",
      brokerUrl: made.redis.url,
      databaseUrl: made.databaseUrl,
      workerBrokerUrl: redisUrl,
      workerDatabaseUrl: databaseUrl.href,
      entrypoint: fixture("pool.ts"),
      numWorkers: 1,
    });
    await pool.start();
    assertEquals(
      (await (await pool.enqueue(echo, { text: "few rights" })).result()).text,
      "few rights",
    );
    const chatty = await pool.enqueue(chat);
    assertEquals(await chatty.result(), chatty.agentId);
    const pill = await pool.enqueue(die, { how: "exit" });
    assertEquals(await pill.wait(), "error");
    const long = await pool.enqueue(hold, { ms: 60_000 });
    await waitFor(async () => await long.status() === "running", { what: "the task to run" });
    assertEquals(await pool.cancel(long.agentId), "requested");
    assertEquals(await long.wait(), "canceled");

    const asWorker = new pg.Client({ connectionString: databaseUrl.href });
    await asWorker.connect();
    const drop = await asWorker.query("drop table agentexec_activity").then(
      () => "dropped",
      String,
    );
    assertMatch(drop, /must be owner/);
    await asWorker.end();
  } finally {
    await admin.query(`drop owned by ${user}`).catch(() => {});
    await admin.query(`drop user if exists ${user}`).catch(() => {});
    await admin.end();
  }
});
