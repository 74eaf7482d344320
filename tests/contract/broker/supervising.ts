/**
 * The broker contract: what supervisors use, leases, and what becomes of the claims of the dead.
 *
 * @module
 */
import { LAPSE_LIMIT } from "../../../src/broker/protocol.ts";
import { assertEquals, assertTrue } from "../../support/assert.ts";
import { waitFor } from "../../support/wait.ts";
import {
  type BrokerContract,
  claim,
  claimOne,
  contractTest,
  crew,
  LONG_LEASE,
  only,
  register,
  SHORT_LEASE,
  sweepUntilTaken,
  task,
} from "./bench.ts";

/** Registers the tests of what supervisors use. */
export function supervising(contract: BrokerContract): void {
  renewing(contract);
  striking(contract);
  sweeping(contract);
  watching(contract);
  lapsing(contract);
  canceling(contract);
  maintaining(contract);
  losing(contract);
}

function renewing(contract: BrokerContract): void {
  contractTest(contract, "renew answers with the claims of its workers", async (queue) => {
    const [own, others] = [crew(2), crew()];
    await register(queue, own);
    await register(queue, others);
    await queue.enqueue([task({ name: "a" }), task({ name: "b" }), task({ name: "c" })]);
    const mine = await claimOne(queue, own.workerIds[1] ?? "");
    await claimOne(queue, others.workerIds[0]);
    const owned = only((await register(queue, own)).owned);
    assertEquals(owned, {
      id: mine.id,
      token: mine.token,
      workerId: own.workerIds[1] ?? "",
      name: "a",
      attempt: 1,
      failures: 0,
      crashes: 0,
      lapses: 0,
      canceled: false,
    });
  });

  contractTest(contract, "a queue tells for how long it went unserved", async (queue, bench) => {
    const other = await bench.connect();
    assertEquals([await queue.unservedMs(), await other.unservedMs()], [null, null]);
    await queue.enqueue([task()]);
    assertEquals(await other.unservedMs(), null);
    const own = crew();
    await register(queue, own, 1);
    const before = await waitFor(async () => {
      const unserved = await other.unservedMs() ?? 0;
      return unserved >= 100 && unserved;
    }, { what: "100 ms to pass without a supervisor" });
    await waitFor(async () => {
      await register(queue, own);
      return (await other.unservedMs() ?? before) < before;
    }, { what: "the time to begin anew with the supervisor's return" });
    await queue.deregister(own.supervisorId);
    assertTrue(await other.unservedMs() !== null);
  });

  contractTest(contract, "a claim lives as long as its supervisor renews it", async (queue) => {
    const [own, sweeper] = [crew(), crew()];
    await register(queue, own, LONG_LEASE);
    await queue.enqueue([task()]);
    const one = await claimOne(queue, own.workerIds[0], { leaseMs: 1 });
    await waitFor(async () => (await queue.whereabouts([one.id]))[0] === "abandoned", {
      what: "the lease of the claim to end",
    });
    await register(queue, own, LONG_LEASE);
    assertEquals(await queue.whereabouts([one.id]), ["claimed"]);
    await register(queue, sweeper);
    assertEquals(await queue.sweep({ supervisorId: sweeper.supervisorId, leaseMs: 0 }), []);
    assertEquals(await queue.end(one), "done");
  });
}

function striking(contract: BrokerContract): void {
  contractTest(
    contract,
    "a struck-off worker claims no more and leaves its claims to its supervisor",
    async (queue) => {
      const workers = crew(2);
      const [dead, alive] = workers.workerIds;
      await register(queue, workers);
      await queue.enqueue([task(), task(), task()]);
      const left = await claimOne(queue, dead);
      const other = await claimOne(queue, alive ?? "");
      const claims = await queue.removeWorker(dead);
      assertEquals(claims.map(({ id, token, workerId }) => [id, token, workerId]), [
        [left.id, left.token, dead],
      ]);
      // Asked again after a lost answer, it says the same.
      assertEquals(await queue.removeWorker(dead), claims);
      assertEquals((await claim(queue, dead)).registered, false);
      assertEquals(await queue.whereabouts([left.id, other.id]), ["claimed", "claimed"]);
      assertEquals((await queue.release(left, { charge: "crash" })).outcome, "done");
      assertEquals(await queue.removeWorker(dead), []);
      const again = await claimOne(queue, alive ?? "", { holding: [other.id] });
      assertEquals([again.id, again.crashes], [left.id, 1]);
    },
  );

  contractTest(
    contract,
    "what a struck-off worker left is renewed until it is settled",
    async (queue) => {
      const workers = crew(2);
      const [dead, alive] = workers.workerIds;
      await register(queue, workers);
      await queue.enqueue([task()]);
      const left = await claimOne(queue, dead, { leaseMs: 1 });
      await queue.removeWorker(dead);
      await waitFor(async () => (await queue.whereabouts([left.id]))[0] === "abandoned", {
        what: "the lease of the claim to end",
      });
      const rest = { supervisorId: workers.supervisorId, workerIds: [alive ?? ""] };
      await queue.renew({ ...rest, leaseMs: LONG_LEASE });
      assertEquals(await queue.whereabouts([left.id]), ["claimed"]);
      assertEquals(await queue.end(left), "done");
      assertEquals((await queue.renew({ ...rest, leaseMs: LONG_LEASE })).owned, []);
    },
  );

  contractTest(
    contract,
    "a deregistered supervisor's workers claim no more, what they own lapses",
    async (queue) => {
      const [leaving, staying] = [crew(2), crew()];
      await register(queue, leaving);
      await queue.enqueue([task(), task()]);
      const left = await claimOne(queue, leaving.workerIds[0], { leaseMs: SHORT_LEASE });
      await queue.deregister(leaving.supervisorId);
      assertEquals((await claim(queue, leaving.workerIds[1] ?? "")).registered, false);
      // Left where it is; by now its lease may have run out.
      const [place] = await queue.whereabouts([left.id]);
      assertTrue(place === "claimed" || place === "abandoned", place);
      const swept = only(await sweepUntilTaken(queue, staying));
      assertEquals([swept.id, swept.workerId], [left.id, leaving.workerIds[0]]);
      // A supervisor that left was not swept, so it may come again.
      assertEquals((await register(queue, leaving)).swept, false);
    },
  );
}

function sweeping(contract: BrokerContract): void {
  contractTest(
    contract,
    "a lapsed supervisor's claims are taken, at once and all together",
    async (queue, bench) => {
      const [dead, alive] = [crew(2), crew()];
      const other = await bench.connect();
      await register(queue, dead, SHORT_LEASE);
      await queue.enqueue([task(), task(), task()]);
      const claims = [
        await claimOne(queue, dead.workerIds[0]),
        await claimOne(queue, dead.workerIds[1] ?? ""),
      ];
      const swept = await sweepUntilTaken(other, alive);
      assertEquals(
        swept.map(({ id, workerId }) => [id, workerId]).sort(),
        claims.map(({ id }, n) => [id, dead.workerIds[n]]).sort(),
      );
      for (const each of swept) {
        assertEquals([each.lapses, each.outcome, each.delayMs], [1, "returned", 0]);
        const old = claims.find(({ id }) => id === each.id);
        assertTrue(BigInt(each.token) > BigInt(old?.token ?? ""));
      }
      // The dead ones are struck off and know it, and their runs settle nothing.
      assertEquals((await claim(queue, dead.workerIds[0])).registered, false);
      assertEquals((await register(queue, dead)).swept, true);
      assertEquals((await register(queue, dead)).swept, true);
      assertEquals(await queue.check(claims), ["lost", "lost"]);
      for (const each of claims) assertEquals(await queue.end(each), "lost");
      // Both stand at the head again.
      const again = await claim(other, alive.workerIds[0], { slots: 9 });
      assertEquals(
        again.claims.slice(0, 2).map(({ id }) => id).sort(),
        claims.map(({ id }) => id).sort(),
      );
      assertEquals(again.claims.map(({ lapses }) => lapses), [1, 1, 0]);
    },
  );

  contractTest(contract, "a sweep leaves the living alone", async (queue) => {
    const [own, sweeper] = [crew(), crew()];
    await register(queue, own);
    await register(queue, sweeper);
    await queue.enqueue([task()]);
    const one = await claimOne(queue, own.workerIds[0]);
    const { supervisorId } = sweeper;
    assertEquals(await queue.sweep({ supervisorId, leaseMs: 0 }), []);
    assertEquals(await queue.check([one]), ["own"]);
    assertEquals((await register(queue, own)).swept, false);
  });

  contractTest(contract, "who is not registered sweeps nothing", async (queue) => {
    const dead = crew();
    await register(queue, dead, 1);
    await queue.enqueue([task()]);
    const one = await claimOne(queue, dead.workerIds[0], { leaseMs: 1 });
    await waitFor(async () => (await queue.whereabouts([one.id]))[0] === "abandoned", {
      what: "the lease of the claim to end",
    });
    const { supervisorId } = crew();
    assertEquals(await queue.sweep({ supervisorId, leaseMs: 0 }), []);
    assertEquals(await queue.check([one]), ["own"]);
  });
}

/** Long enough to be told from a moment. */
const LEASE = 700;

function watching(contract: BrokerContract): void {
  contractTest(
    contract,
    "a clock that is set forward beyond all leases kills nobody who lives",
    async (queue, bench) => {
      const [own, sweeper] = [crew(), crew()];
      const other = await bench.connect();
      await register(queue, own);
      await queue.enqueue([task()]);
      const one = await claimOne(queue, own.workerIds[0]);
      const { supervisorId } = sweeper;
      for (let round = 0; round < 5; round++) {
        await register(other, sweeper);
        await bench.ground.stepClock(bench.name, 3 * LONG_LEASE);
        await register(other, sweeper);
        assertEquals(await other.sweep({ supervisorId, leaseMs: 0 }), []);
        assertEquals(await queue.check([one]), ["own"]);
        assertEquals((await register(queue, own)).swept, false);
      }
    },
  );

  contractTest(
    contract,
    "a sweep takes who was seen unchanged for a whole lease, not who was registered long before",
    async (queue, bench) => {
      const [dead, sweeper] = [crew(), crew()];
      await register(queue, dead, LEASE);
      await queue.enqueue([task()]);
      const one = await claimOne(queue, dead.workerIds[0]);
      await bench.ground.stepClock(bench.name, 3 * LONG_LEASE);
      // A connection that is new takes nobody, whatever stands in the registry.
      const young = await bench.connect();
      const since = performance.now();
      assertEquals(only(await sweepUntilTaken(young, sweeper)).id, one.id);
      assertTrue(performance.now() - since >= LEASE, "it was taken too early");
      assertEquals((await register(queue, dead)).swept, true);
    },
  );

  contractTest(
    contract,
    "a clock that is set back keeps nobody alive for more than two leases",
    async (queue, bench) => {
      const [dead, sweeper] = [crew(), crew()];
      await register(queue, dead, LEASE);
      await queue.enqueue([task()]);
      const one = await claimOne(queue, dead.workerIds[0]);
      await bench.ground.stepClock(bench.name, -3_600_000);
      const since = performance.now();
      // The lease that counts is that of the registration, not the sweeper's.
      assertEquals(only(await sweepUntilTaken(queue, sweeper, LONG_LEASE)).id, one.id);
      assertTrue(performance.now() - since >= 2 * LEASE, "it was taken too early");
    },
  );

  contractTest(
    contract,
    "a supervisor that drains with a shorter lease is missed after that one",
    async (queue) => {
      const [draining, sweeper] = [crew(), crew()];
      await register(queue, draining, LONG_LEASE);
      await queue.enqueue([task()]);
      const one = await claimOne(queue, draining.workerIds[0]);
      await register(queue, draining, LEASE);
      const since = performance.now();
      assertEquals(only(await sweepUntilTaken(queue, sweeper, LONG_LEASE)).id, one.id);
      assertTrue(performance.now() - since < LONG_LEASE, "it was taken too late");
    },
  );

  contractTest(
    contract,
    "a claim that a supervisor left lapses, though the clock is set back",
    async (queue, bench) => {
      const [leaving, sweeper] = [crew(), crew()];
      const { supervisorId } = sweeper;
      await register(queue, leaving);
      await queue.enqueue([task()]);
      const one = await claimOne(queue, leaving.workerIds[0]);
      await queue.deregister(leaving.supervisorId);
      await bench.ground.stepClock(bench.name, -3_600_000);
      const swept = await waitFor(async () => {
        await register(queue, sweeper, SHORT_LEASE);
        await queue.mend({ supervisorId, leaseMs: SHORT_LEASE });
        const taken = await queue.sweep({ supervisorId, leaseMs: SHORT_LEASE });
        return taken.length > 0 && taken;
      }, { what: "the claim to be taken" });
      assertEquals(only(swept).id, one.id);
    },
  );
}

function lapsing(contract: BrokerContract): void {
  for (
    const [before, delayMs] of [[1, 4_000], [2, 8_000], [7, 256_000], [8, 300_000], [9, 300_000]]
  ) {
    const title = `after ${before} lapses, one more makes a task wait ${delayMs} ms`;
    contractTest(contract, title, async (queue) => {
      const [dead, sweeper] = [crew(), crew()];
      await register(queue, dead, 1);
      await queue.enqueue([task({ counters: { ...NONE, lapses: before ?? 0 } })]);
      const one = await claimOne(queue, dead.workerIds[0], { leaseMs: 1 });
      const swept = only(await sweepUntilTaken(queue, sweeper));
      assertEquals([swept.id, swept.lapses, swept.delayMs, swept.outcome], [
        one.id,
        (before ?? 0) + 1,
        delayMs,
        "returned",
      ]);
      assertEquals(await queue.whereabouts([one.id]), ["delayed"]);
    });
  }

  contractTest(contract, "a task that lapsed too often is the sweeper's to end", async (queue) => {
    const [dead, sweeper] = [crew(), crew()];
    await register(queue, dead, 1);
    await queue.enqueue([task({ counters: { ...NONE, lapses: LAPSE_LIMIT } })]);
    const one = await claimOne(queue, dead.workerIds[0], { leaseMs: 1 });
    const swept = only(await sweepUntilTaken(queue, sweeper));
    assertEquals([swept.id, swept.outcome, swept.lapses], [
      one.id,
      "exhausted",
      LAPSE_LIMIT + 1,
    ]);
    assertEquals([swept.workerId, swept.delayMs], [dead.workerIds[0], 0]);
    assertEquals(await queue.end(one), "lost");
    // Where the sweeper does not come to end it, the next sweep finds it again.
    const again = only(await sweepUntilTaken(queue, sweeper));
    assertEquals([again.id, again.outcome], [one.id, "exhausted"]);
    assertEquals(await queue.end(swept), "lost");
    assertEquals(await queue.end(again), "done");
    assertEquals(await queue.whereabouts([one.id]), ["unknown"]);
  });
}

function maintaining(contract: BrokerContract): void {
  contractTest(
    contract,
    "one supervisor of a queue is its maintainer, until it leaves or goes silent",
    async (queue, bench) => {
      const other = await bench.connect();
      const [a, b, c] = [crew(), crew(), crew()];
      for (const each of [a, b, c]) await register(queue, each);
      const asked = await Promise.all([
        queue.maintain(a.supervisorId),
        other.maintain(b.supervisorId),
        queue.maintain(c.supervisorId),
      ]);
      assertEquals(asked.filter(Boolean).length, 1);
      const holder = [a, b, c][asked.indexOf(true)]?.supervisorId ?? "";
      const next = holder === a.supervisorId ? b.supervisorId : a.supervisorId;
      assertEquals(await other.maintain(holder), true);
      assertEquals(await queue.maintain(next), false);
      await queue.deregister(holder);
      assertEquals(await other.maintain(next), true);
      assertEquals(await queue.maintain(c.supervisorId), false);
      await bench.ground.loseQueue(bench.name);
      assertEquals(await queue.maintain(c.supervisorId), true);
    },
  );
}

function canceling(contract: BrokerContract): void {
  contractTest(contract, "who is left a claim is told that it is to be canceled", async (queue) => {
    const own = crew();
    await register(queue, own);
    await queue.enqueue([task()]);
    const one = await claimOne(queue, own.workerIds[0]);
    await queue.cancel(one.id);
    assertEquals(only((await register(queue, own)).owned).canceled, true);
    assertEquals(only(await queue.removeWorker(own.workerIds[0])).canceled, true);
    assertEquals((await queue.release(one)).outcome, "canceled");
    assertEquals(await queue.end(one), "done");
  });

  contractTest(
    contract,
    "a canceled task whose host died is the sweeper's to end, and charged no lapse",
    async (queue) => {
      const [dead, sweeper] = [crew(), crew()];
      await register(queue, dead, SHORT_LEASE);
      await queue.enqueue([task(), task()]);
      const one = await claimOne(queue, dead.workerIds[0]);
      await queue.cancel(one.id);
      const swept = only(await sweepUntilTaken(queue, sweeper));
      assertEquals([swept.id, swept.outcome, swept.lapses], [one.id, "canceled", 0]);
      assertEquals([swept.workerId, swept.delayMs], [dead.workerIds[0], 0]);
      // The other one alone is waiting.
      const { claims } = await claim(queue, sweeper.workerIds[0], { slots: 9 });
      assertEquals(claims.map(({ id }) => id).includes(one.id), false);
      assertEquals(await queue.end(one), "lost");
      // If the sweeper does not come to end it, the next sweep finds it again.
      const again = only(await sweepUntilTaken(queue, sweeper));
      assertEquals([again.id, again.outcome], [one.id, "canceled"]);
      assertEquals(await queue.end(swept), "lost");
      assertEquals(await queue.end(again), "done");
    },
  );
}

function losing(contract: BrokerContract): void {
  contractTest(
    contract,
    "after a loss of all data everyone is registered again, nobody swept",
    async (queue, bench) => {
      const [a, b] = [crew(2), crew()];
      const other = await bench.connect();
      const id = await queue.open();
      await register(queue, a);
      await register(other, b);
      await bench.ground.loseQueue(bench.name);
      assertEquals((await claim(queue, a.workerIds[0])).registered, false);
      assertEquals((await register(queue, a)).swept, false);
      assertEquals((await register(other, b)).swept, false);
      assertEquals(await (await bench.connect()).open(), id);
      await queue.enqueue([task()]);
      assertEquals((await claim(queue, b.workerIds[0])).claims.length, 1);
    },
  );

  contractTest(
    contract,
    "a new client that comes first after a loss brings a new id, and the former one is kept",
    async (queue, bench) => {
      const own = crew();
      await register(queue, own);
      const ids = [await queue.open()];
      assertEquals(new Set(await queue.brokerIds()), new Set(ids));
      // Each time again, also where the loss takes what was kept.
      for (let loss = 0; loss < 3; loss++) {
        await bench.ground.loseQueue(bench.name);
        const client = await bench.connect();
        const id = await client.open();
        assertEquals(ids.includes(id), false);
        ids.push(id);
        assertEquals(new Set(await client.brokerIds()), new Set([id]));
        assertEquals((await register(queue, own)).swept, false);
        assertEquals(new Set(await client.brokerIds()), new Set(ids));
        assertEquals(await queue.open(), id);
      }
      // A former id that is the present one again is none of the former.
      await bench.ground.loseQueue(bench.name);
      await register(queue, own);
      assertEquals(await queue.open(), ids.at(-1));
      assertEquals(new Set(await queue.brokerIds()), new Set(ids));
    },
  );

  contractTest(
    contract,
    "a producer that comes first after a loss brings the same id",
    async (queue, bench) => {
      const id = await queue.open();
      await bench.ground.loseQueue(bench.name);
      assertEquals(await queue.enqueue([task()]), ["accepted"]);
      assertEquals(await (await bench.connect()).open(), id);
    },
  );
}

const NONE = { attempt: 0, failures: 0, crashes: 0, lapses: 0 };
