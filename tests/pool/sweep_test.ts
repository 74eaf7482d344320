import pg from "pg";
import { DatabaseSync } from "node:sqlite";
import { parseBrokerUrl } from "../../src/addresses.ts";
import { openBroker } from "../../src/broker/open_broker.ts";
import { echo, hold } from "../fixtures/tasks.ts";
import { assertEquals } from "../support/assert.ts";
import { makePool, queueEmptied, recordLogs } from "../support/pools.ts";
import { onBothGrounds } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";

/** Makes the database refuse by a rule of its own to say of these tasks that they wait again. */
async function refuseReturns(databaseUrl: string, agentIds: readonly string[]): Promise<void> {
  const these = agentIds.map((id) => `'${id}'`).join(", ");
  if (databaseUrl.startsWith("sqlite:")) {
    const file = new DatabaseSync(databaseUrl.slice("sqlite:".length));
    file.exec(`create trigger refuse before update on agentexec_activity
      when new.agent_id in (${these}) and new.status = 'queued'
      begin select abs(-9223372036854775808); end`);
    file.close();
    return;
  }
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(`create function refuse() returns trigger language plpgsql as $$
    begin raise insufficient_privilege using message = 'not this one'; end $$`);
  await client.query(`create trigger refuse before update on agentexec_activity for each row
    when (new.agent_id::text in (${these}) and new.status = 'queued') execute function refuse()`);
  await client.end();
}

onBothGrounds(
  "a sweep tells the rows of all that it took back, whichever of them the database refuses",
  async (ground) => {
    await using log = await recordLogs();
    await using made = await makePool(
      { numWorkers: 1, sweepInterval: { milliseconds: 200 } },
      ground,
    );
    const { pool, databaseUrl, brokerUrl } = made;
    const tasks = await pool.enqueueMany(
      echo,
      Array.from({ length: 5 }, (_, n) => ({ text: `${n}` })),
    );
    // A host that takes them all and is never heard of again.
    const broker = openBroker(parseBrokerUrl({ value: brokerUrl, source: "the test" }));
    await broker.connect();
    const gone = { supervisorId: crypto.randomUUID(), leaseMs: 1_000 };
    const workerId = `${gone.supervisorId}/0/0`;
    const queue = broker.queue("fixture");
    await queue.renew({ ...gone, workerIds: [workerId] });
    const { claims } = await queue.claim({
      workerId,
      slots: 5,
      holding: [],
      leaseMs: gone.leaseMs,
    });
    await broker.close();
    assertEquals(claims.length, 5);
    // The first and the last to be swept, whichever way they come.
    const refused = [claims[0]!.id, claims[4]!.id];
    await refuseReturns(databaseUrl, refused);
    // The only worker is busy, so that no run of theirs writes what the sweep is about to.
    const busy = await pool.enqueue(hold, { ms: 60_000 });
    await pool.start();
    await waitFor(() => log.messages().some((line) => line.startsWith("Cannot sweep: ")), {
      what: "the trouble to be logged",
      timeoutMs: 30_000,
    });
    for (const [n, { agentId }] of tasks.entries()) {
      const told = async () =>
        (await pool.activity.detail(agentId))?.log.map(({ message }) => message)
          .includes("Waiting to run again: the host that ran it is gone");
      if (refused.includes(agentId)) assertEquals(await told(), false, `task ${n}`);
      else await waitFor(told, { what: `the row of task ${n} to tell of the sweep` });
    }
    await busy.cancel();
    for (const [n, task] of tasks.entries()) {
      assertEquals((await task.result({ timeout: { seconds: 30 } })).text, `${n}`);
    }
  },
);

onBothGrounds("a canceled task whose host died ends canceled and runs nowhere", async (ground) => {
  await using _ = await recordLogs();
  await using made = await makePool({ sweepInterval: { milliseconds: 200 } }, ground);
  const { pool, brokerUrl } = made;
  const task = await pool.enqueue(echo, { text: "never" });
  const broker = openBroker(parseBrokerUrl({ value: brokerUrl, source: "the test" }));
  await broker.connect();
  const gone = { supervisorId: crypto.randomUUID(), leaseMs: 1_000 };
  const workerId = `${gone.supervisorId}/0/0`;
  const queue = broker.queue("fixture");
  await queue.renew({ ...gone, workerIds: [workerId] });
  const { claims } = await queue.claim({ workerId, slots: 1, holding: [], leaseMs: gone.leaseMs });
  assertEquals(claims.map(({ id }) => id), [task.agentId]);
  assertEquals(await queue.cancel(task.agentId), "requested");
  await broker.close();
  await pool.start();
  assertEquals(await task.wait({ timeout: { seconds: 30 } }), "canceled");
  await queueEmptied(pool);
  const detail = await pool.activity.detail(task.agentId);
  assertEquals([detail?.status, detail?.attempt, detail?.lapses], ["canceled", 0, 0]);
});
