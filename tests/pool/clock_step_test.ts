import { parseBrokerUrl } from "../../src/addresses.ts";
import { openBroker } from "../../src/broker/open_broker.ts";
import { echo, hold } from "../fixtures/tasks.ts";
import { assertEquals } from "../support/assert.ts";
import { stepClock } from "../support/clock_steps.ts";
import { PROGRAM_FLAGS, runProgram } from "../support/processes.ts";
import { recordLogs, startPool } from "../support/pools.ts";
import { onBothGrounds } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";

const OFTEN = { sweepInterval: { milliseconds: 100 } };

onBothGrounds(
  "a broker's clock that is set forward by an hour takes no task from a host that lives",
  async (ground) => {
    await using log = await recordLogs();
    await using started = await startPool(OFTEN, ground);
    const { pool, brokerUrl, databaseUrl } = started;
    await using other = await runProgram("pool.ts", {
      flags: [...PROGRAM_FLAGS, ...started.flags],
      env: {
        AGENTEXEC_BROKER_URL: brokerUrl,
        AGENTEXEC_DATABASE_URL: databaseUrl,
        AGENTEXEC_NUM_WORKERS: "1",
      },
    });
    const begun = performance.now();
    const holds = await pool.enqueueMany(hold, [{ ms: 60_000 }, { ms: 60_000 }]);
    await waitFor(async () => (await pool.activity.count({ status: "running" })) === 2, {
      what: "both hosts to run a task",
    });
    // Whoever sweeps has been in contact for long enough to take others for dead.
    await waitFor(() => performance.now() - begun > 6_000, { what: "six seconds of contact" });
    for (let step = 0; step < 8; step++) {
      await stepClock(brokerUrl, "fixture", 3_600_000);
      const stepped = performance.now();
      await waitFor(() => performance.now() - stepped > 700, { what: "one to renew and sweep" });
    }
    for (const { agentId } of holds) {
      assertEquals((await pool.activity.detail(agentId))?.attempt, 1);
      await pool.cancel(agentId);
    }
    assertEquals(log.messages().filter((line) => /Taken for dead|is gone/.test(line)), []);
    other.signal("SIGTERM");
    assertEquals(await other.exit, { code: 0, signal: null });
  },
);

onBothGrounds(
  "a broker's clock that is set back by an hour keeps the tasks of a dead host no longer than two leases",
  async (ground) => {
    await using _ = await recordLogs();
    await using started = await startPool(OFTEN, ground);
    const { pool, brokerUrl } = started;
    const busy = await pool.enqueue(hold, { ms: 60_000 });
    await waitFor(async () => await busy.status() === "running", { what: "the worker to be busy" });
    const task = await pool.enqueue(echo, { text: "taken back" });
    // A host that takes the task and is never heard of again.
    const broker = openBroker(parseBrokerUrl({ value: brokerUrl, source: "the test" }));
    await broker.connect();
    const gone = { supervisorId: crypto.randomUUID(), leaseMs: 2_000 };
    const workerId = `${gone.supervisorId}/0/0`;
    const queue = broker.queue("fixture");
    await queue.renew({ ...gone, workerIds: [workerId] });
    const { claims } = await queue.claim({
      workerId,
      slots: 1,
      holding: [],
      leaseMs: gone.leaseMs,
    });
    await broker.close();
    assertEquals(claims.map(({ id }) => id), [task.agentId]);
    await stepClock(brokerUrl, "fixture", -3_600_000);
    await busy.cancel();
    assertEquals((await task.result({ timeout: { seconds: 30 } })).text, "taken back");
  },
);
