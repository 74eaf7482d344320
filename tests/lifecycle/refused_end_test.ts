/**
 * Ends that a rule of the database's owner refuses.
 */
import pg from "pg";
import { die, echo, hold } from "../fixtures/tasks.ts";
import { assertEquals } from "../support/assert.ts";
import { recordLogs, startPool } from "../support/pools.ts";
import { waitFor } from "../support/wait.ts";

/** Lets no task of a name end, until it is called. */
async function refuseEnds(databaseUrl: string, taskName: string): Promise<() => Promise<void>> {
  const run = async (statement: string) => {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    try {
      await client.query(statement);
    } finally {
      await client.end();
    }
  };
  await run(`
    create function refuse() returns trigger language plpgsql as $$ begin
      if new.task_name = '${taskName}' and new.status in ('complete', 'error', 'canceled') then
        raise exception 'no ends of % today', new.task_name;
      end if;
      return new;
    end $$;
    create trigger refuse before update on agentexec_activity for each row execute function refuse()`);
  return () => run("drop trigger refuse on agentexec_activity");
}

Deno.test("an end that a trigger refuses is written once it may be, the handler runs once, and its slot is free", async () => {
  await using logs = await recordLogs();
  await using started = await startPool({ numWorkers: 1 });
  const { pool, databaseUrl } = started;
  const allow = await refuseEnds(databaseUrl, "echo");
  const task = await pool.enqueue(echo, { text: "late" });
  const line = await waitFor(
    () => logs.messages().find((text) => text.includes("refuses") && text.includes(task.agentId)),
    { what: "an error line" },
  );
  assertEquals(/task echo .*refuses to write its row.*no ends of echo today/.test(line), true);
  assertEquals(await (await pool.enqueue(hold, { ms: 1 })).result(), "held");
  assertEquals(await task.status(), "running");
  await allow();
  assertEquals(await task.result({ timeout: { seconds: 40 } }), { text: "late", attempt: 1 });
  const detail = await pool.activity.detail(task.agentId);
  assertEquals([detail?.attempt, detail?.failures], [1, 0]);
});

Deno.test("the end of a task that crashed too often is written once a trigger lets it", async () => {
  await using logs = await recordLogs();
  await using started = await startPool({ numWorkers: 1, crashLimit: 1 });
  const { pool, databaseUrl } = started;
  const allow = await refuseEnds(databaseUrl, "die");
  const task = await pool.enqueue(die, { how: "exit" });
  await waitFor(
    () => logs.messages().find((text) => text.includes("refuses") && text.includes(task.agentId)),
    { what: "an error line" },
  );
  assertEquals(await (await pool.enqueue(hold, { ms: 1 })).result(), "held");
  await allow();
  assertEquals(await task.wait({ timeout: { seconds: 40 } }), "error");
  const detail = await pool.activity.detail(task.agentId);
  assertEquals([detail?.attempt, detail?.crashes, detail?.failure?.name], [
    1,
    1,
    "WorkerCrashError",
  ]);
});
