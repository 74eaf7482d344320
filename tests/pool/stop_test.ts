import { AgentexecError, type Database, Pool } from "@agentexec/core";
import { Kysely, PostgresDialect } from "kysely";
import pg from "pg";
import { DatabaseSync } from "node:sqlite";
import { echo, hold } from "../fixtures/tasks.ts";
import { assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { fixture, poolTest, recordLogs, type TestPool } from "../support/pools.ts";
import { sharedPostgres, startRedis } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";

/** A hold on the rows of tasks that keeps everybody else from writing them until it is disposed of. */
interface RowLock extends AsyncDisposable {
  /** Cancels them, and lets go. */
  cancel(): Promise<void>;
}

const CANCEL = "update agentexec_activity set status = 'canceled'";

async function lockRows(databaseUrl: string): Promise<RowLock> {
  if (databaseUrl.startsWith("sqlite:")) {
    const file = new DatabaseSync(databaseUrl.slice("sqlite:".length));
    file.exec("begin immediate");
    return {
      cancel() {
        file.exec(CANCEL);
        file.exec("commit");
        return Promise.resolve(file.close());
      },
      [Symbol.asyncDispose]: () => Promise.resolve(file.close()),
    };
  }
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query("begin");
  await client.query("select 1 from agentexec_activity for update");
  return {
    async cancel() {
      await client.query(CANCEL);
      await client.query("commit");
      await client.end();
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

async function running(pool: Pool, agentId: string): Promise<void> {
  await waitFor(async () => (await pool.activity.detail(agentId))?.message === "holding", {
    what: `task ${agentId} to run`,
  });
}

/** A pool whose worker was killed at work, and replaced while its task could not be settled. */
async function unsettled({ pool, databaseUrl }: TestPool) {
  const task = await pool.enqueue(hold, { ms: 60_000 });
  await running(pool, task.agentId);
  const lock = await lockRows(databaseUrl);
  Deno.kill(pool.workers[0]!.pid!, "SIGKILL");
  await waitFor(() => pool.workers[0]!.restarts === 1 && pool.workers[0]!.state === "ready", {
    what: "the replacement",
  });
  return { task, lock };
}

poolTest("a worker's death is on record before its task can run again", async (startPool) => {
  await using _ = await recordLogs();
  await using started = await startPool();
  const { pool } = started;
  const { task, lock } = await unsettled(started);
  await lock[Symbol.asyncDispose]();
  await waitFor(async () => (await pool.activity.detail(task.agentId))?.attempt === 2, {
    what: "the second attempt",
  });
  const detail = await pool.activity.detail(task.agentId);
  const lines = detail?.log.map(({ message }) => message?.split(":", 1)[0]) ?? [];
  const death = lines.indexOf("The worker process died while the task ran in it");
  assertEquals([death, lines[death + 1]?.startsWith("Waiting to run again")], [3, true]);
});

poolTest(
  "a task that was canceled while its worker's death is settled goes nowhere",
  async (startPool) => {
    await using _ = await recordLogs();
    await using started = await startPool();
    const { pool } = started;
    const { task, lock } = await unsettled(started);
    const stop = pool.shutdown();
    await lock.cancel();
    assertEquals(await stop, { drained: true, cutOff: [] });
    const detail = await pool.activity.detail(task.agentId);
    assertEquals([detail?.status, detail?.crashes], ["canceled", 0]);
    assertEquals(await pool.depth(), {
      waiting: 0,
      delayed: 0,
      running: 0,
      oldestMs: null,
      diagnostics: { foreign: 0, foreignDropped: 0 },
    });
  },
);

poolTest("a stop waits for the settling of a worker that ended before it", async (startPool) => {
  await using _ = await recordLogs();
  await using started = await startPool({ crashLimit: 1 });
  const { pool } = started;
  const { task, lock } = await unsettled(started);
  const stop = pool.shutdown();
  await lock[Symbol.asyncDispose]();
  assertEquals(await stop, { drained: true, cutOff: [] });
  const detail = await pool.activity.detail(task.agentId);
  assertEquals([detail?.status, detail?.crashes], ["error", 1]);
  assertEquals((await pool.depth()).running, 0);
});

poolTest(
  "a stop does not wait for ever for the settling of a worker that ended before it, and says what is left",
  async (startPool) => {
    await using log = await recordLogs();
    await using started = await startPool({ crashLimit: 1 });
    const { pool } = started;
    const { lock } = await unsettled(started);
    await using _ = lock;
    const report = await within(pool.shutdown(), { what: "the stop", timeoutMs: 20_000 });
    assertEquals(report, { drained: false, cutOff: [] });
    const left = log.messages().find((line) => line.includes("or the next start, settles it"));
    assertMatch(left ?? "", /^Cannot settle the tasks of Worker 0: /);
  },
);

Deno.test("while a stop closes the connections another one waits for it, a start is refused, and works afterwards", async () => {
  await using _ = await recordLogs();
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  let close: { readonly began: () => void; readonly mayEnd: Promise<void> } | undefined = undefined;
  class SlowToEnd extends pg.Pool {
    override async end(): Promise<void> {
      close?.began();
      await close?.mayEnd;
      await super.end();
    }
  }
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: redis.url,
    databaseUrl: database.url,
    db: (url): Database =>
      new Kysely({
        dialect: new PostgresDialect({ pool: new SlowToEnd({ connectionString: url }) }),
      }),
    entrypoint: fixture("pool.ts"),
    numWorkers: 1,
    concurrency: 2,
  });
  await pool.migrate();
  await pool.start();
  const task = await pool.enqueue(hold, { ms: 60_000 });
  await running(pool, task.agentId);
  const [began, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  await using stack = new AsyncDisposableStack();
  stack.defer(async () => void await pool.shutdown({ timeout: { seconds: 0 } }));
  stack.defer(gate.resolve);
  close = { began: began.resolve, mayEnd: gate.promise };
  const first = pool.shutdown({ timeout: { seconds: 0 } });
  await within(began.promise, { what: "the stop to close the database" });
  const second = pool.shutdown();
  assertMatch(
    (await assertRejects(() => pool.start(), AgentexecError)).message,
    /it is being stopped$/,
  );
  gate.resolve();
  const cut = { drained: false, cutOff: [task.agentId] };
  assertEquals(await Promise.all([first, second]), [cut, cut]);
  await pool.start();
  assertEquals((await (await pool.enqueue(echo, { text: "again" })).result()).text, "again");
});
