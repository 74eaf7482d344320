import type { Queue } from "../../src/broker/broker.ts";
import { TroubleLog } from "../../src/log/trouble.ts";
import { supervisorLogger } from "../../src/log/loggers.ts";
import { notingBrokerUse } from "../../src/maintenance/broker_use.ts";
import { watchingForeignEntries } from "../../src/maintenance/foreign_entries.ts";
import { mending } from "../../src/maintenance/mend.ts";
import { type MaintenanceParts, MaintenanceService } from "../../src/maintenance/service.ts";
import { sweeping } from "../../src/maintenance/sweep.ts";
import { ClosingCalls } from "../../src/pool/closing.ts";
import { Registration } from "../../src/pool/registration.ts";
import { type Bench, makeBench } from "../client/support.ts";
import { assertEquals, assertMatch } from "../support/assert.ts";
import { stressLifecycle } from "../support/lifecycle.ts";
import { recordLogs } from "../support/pools.ts";
import { onBothGrounds, openStores, type TestStores } from "../support/stores.ts";
import { waitFor } from "../support/wait.ts";

const trouble = new TroubleLog(() => supervisorLogger("tidy"));
const EVERY_MS = 1;
const LEASE_MS = 300;

function addressesOf({ brokerUrl, databaseUrl }: TestStores) {
  return { brokerUrl, databaseUrl };
}

function partsOf(bench: Bench): MaintenanceParts {
  const lease = { supervisorId: crypto.randomUUID(), leaseMs: LEASE_MS };
  const { queue, store } = bench;
  return { pool: "tidy", queue, store, sweepMs: EVERY_MS, registered: () => lease, trouble };
}

function registrationOf(queue: Queue, told: string[] = []): Registration {
  return new Registration({
    pool: "tidy",
    queue,
    slots: [],
    leaseMs: LEASE_MS,
    listen: () => Promise.resolve(() => Promise.resolve()),
    killGroup: () => Promise.resolve(),
    trouble,
    closing: new ClosingCalls((message) => told.push(message)),
  });
}

onBothGrounds(
  "the services of a supervisor and its registration can be started and stopped in any order",
  async (ground) => {
    await using _ = await recordLogs();
    await using stores = await openStores(ground);
    await using bench = await makeBench(addressesOf(stores));
    const parts = partsOf(bench);
    const told: string[] = [];
    await stressLifecycle(() => sweeping(parts));
    await stressLifecycle(() => mending(parts));
    const foreign = { foreign: 1, foreignDropped: 0 };
    await stressLifecycle(() => watchingForeignEntries(parts, () => foreign));
    await stressLifecycle(() => notingBrokerUse(parts, () => Promise.resolve()));
    await stressLifecycle(() => registrationOf(bench.queue, told));
    assertEquals(told, []);
  },
);

onBothGrounds("a registration that has stopped is struck off", async (ground) => {
  await using stores = await openStores(ground);
  await using bench = await makeBench(addressesOf(stores));
  const registration = registrationOf(bench.queue);
  await registration.start();
  const { supervisorId } = registration;
  const claim = {
    workerId: `${supervisorId}/0/0`,
    slots: 1,
    holding: [],
    leaseMs: LEASE_MS,
  };
  await bench.queue.renew({ ...registration.lease, workerIds: [claim.workerId] });
  assertEquals((await bench.queue.claim(claim)).registered, true);
  await registration.stop();
  assertEquals((await bench.queue.claim(claim)).registered, false);
});

onBothGrounds("foreign entries are told by one supervisor of their queue", async (ground) => {
  await using log = await recordLogs();
  await using stores = await openStores(ground);
  await using bench = await makeBench(addressesOf(stores));
  let foreign = 0;
  const services = [partsOf(bench), partsOf(bench)].map((parts) =>
    watchingForeignEntries(parts, () => ({ foreign, foreignDropped: 0 }))
  );
  const told: number[] = [];
  for (foreign of [0, 2, 3, 4, 4]) {
    for (const service of services) await service.runOnce();
    told.push(log.messages().length);
  }
  // Three are not twice two.
  assertEquals(told, [0, 1, 1, 2, 2]);
});

onBothGrounds(
  "one run of the sweep after another tells the row of a task whose host is gone",
  async (ground) => {
    await using log = await recordLogs();
    await using stores = await openStores(ground);
    await using bench = await makeBench(addressesOf(stores));
    const gone = await bench.worker({ leaseMs: LEASE_MS });
    const task = await bench.client.enqueue("echo", { text: "here" });
    await gone.start();
    const parts = partsOf(bench);
    const sweeps = sweeping(parts);
    await waitFor(async () => {
      await bench.queue.renew({ ...parts.registered(), workerIds: [] });
      await sweeps.runOnce();
      return (await bench.client.activity.detail(task.agentId))?.status === "queued";
    }, { what: "the row to be queued again" });
    assertMatch(log.messages().join("\n"), /Took task echo \S+ back from a host that is gone/);
  },
);

Deno.test("the use of a broker is noted before the start is done, and a lasting trouble is told once", async () => {
  await using log = await recordLogs();
  let tries = 0;
  let problem = "";
  const service = notingBrokerUse({ pool: "tidy", trouble }, () => {
    tries++;
    return problem === "" ? Promise.resolve() : Promise.reject(new Error(problem));
  });
  await service.start();
  assertEquals(tries, 1);
  for (problem of ["no right", "no right", "", "no right", "no room"]) await service.runOnce();
  await service.stop();
  assertEquals(
    log.messages().map((message) =>
      message.split("Cannot note that this pool's broker is in use: ")[1]
    ),
    ["no right", "no right", "no room"],
  );
});

Deno.test("a service goes on after a run that failed, and a stop waits for the one under way", async () => {
  await using _ = await recordLogs();
  const order: string[] = [];
  const under = Promise.withResolvers<void>();
  const service = new MaintenanceService({
    name: "test",
    doing: "test",
    everyMs: EVERY_MS,
    trouble,
    run: async (signal) => {
      order.push("run");
      if (order.length === 1) throw new TypeError("not yet");
      under.resolve();
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
      await Promise.resolve();
      order.push("end of the run");
    },
  });
  await service.start();
  await under.promise;
  await service.stop();
  assertEquals(order, ["run", "run", "end of the run"]);
});
