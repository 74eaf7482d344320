/**
 * The broker contract: what workers use, claims and their end.
 *
 * @module
 */
import { CLAIM_BYTES } from "../../../src/broker/protocol.ts";
import type { Claim, Queue } from "../../../src/broker/broker.ts";
import { assertEquals, assertTrue } from "../../support/assert.ts";
import { waitFor, within } from "../../support/wait.ts";
import {
  type BrokerContract,
  claim,
  claimOne,
  contractTest,
  type Crew,
  crew,
  LONG_LEASE,
  only,
  register,
  SHORT_LEASE,
  task,
} from "./bench.ts";

const HOUR = 3_600_000;
/** Longer than a hint takes, shorter than the longest block. */
const HINT = 4_000;

/** A crew that is registered. */
async function registered(queue: Queue): Promise<Crew> {
  const own = crew();
  await register(queue, own);
  return own;
}

/** Registers the tests of what workers use. */
export function working(contract: BrokerContract): void {
  claiming(contract);
  sharing(contract);
  settling(contract);
  returning(contract);
  waiting(contract);
}

function claiming(contract: BrokerContract): void {
  contractTest(contract, "a worker that is not registered gets nothing", async (queue) => {
    await queue.enqueue([task()]);
    const answer = await claim(queue, crew().workerIds[0]);
    assertEquals(answer, { registered: false, claims: [], nextDueMs: null, orphans: [] });
    assertEquals((await queue.depth()).waiting, 1);
  });

  contractTest(contract, "each task is claimed once by workers that race", async (queue, bench) => {
    const workers = crew(4);
    await register(queue, workers);
    const tasks = Array.from({ length: 60 }, () => task());
    await queue.enqueue(tasks);
    const runs = await Promise.all(workers.workerIds.map(async (workerId) => {
      const own = await bench.connect();
      const got: Claim[] = [];
      for (;;) {
        const holding = got.map(({ id }) => id);
        const { claims } = await claim(own, workerId, { slots: 3, holding });
        if (claims.length === 0) return got;
        got.push(...claims);
      }
    }));
    const all = runs.flat();
    assertEquals(all.map(({ id }) => id).sort(), tasks.map(({ id }) => id).sort());
    assertEquals(new Set(all.map(({ token }) => token)).size, 60);
  });

  contractTest(contract, "every claim counts an attempt and has a higher token", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await queue.enqueue([task()]);
    let last = await claimOne(queue, worker.workerIds[0]);
    assertEquals(last.attempt, 1);
    for (const attempt of [2, 3]) {
      const { token } = await queue.release(last);
      const next = await claimOne(queue, worker.workerIds[0]);
      assertEquals(next.attempt, attempt);
      assertTrue(BigInt(last.token) < BigInt(token) && BigInt(token) < BigInt(next.token));
      last = next;
    }
  });

  contractTest(contract, "a claim whose answer was lost returns to the head", async (queue) => {
    const worker = crew();
    const workerId = worker.workerIds[0];
    await register(queue, worker);
    const tasks = [task(), task(), task()];
    await queue.enqueue(tasks);
    const [kept, lost] = (await claim(queue, workerId, { slots: 2 })).claims;
    assertTrue(kept !== undefined && lost !== undefined);
    const { claims } = await claim(queue, workerId, { slots: 1, holding: [kept.id] });
    const again = only(claims);
    assertEquals(again.id, lost.id);
    assertEquals([again.failures, again.crashes, again.lapses], [0, 0, 0]);
    assertEquals(await queue.check([kept, lost, again]), ["own", "lost", "own"]);
    assertEquals(await queue.end(lost), "lost");
  });

  if (contract.losesTasks) reportingOrphans(contract);
  else neverOrphaned(contract);
}

function reportingOrphans(contract: BrokerContract): void {
  contractTest(
    contract,
    "an id without its task is reported, and runs when put in again",
    async (queue, bench) => {
      const worker = crew();
      await register(queue, worker);
      const [lost, sound] = [task(), task()];
      await queue.enqueue([lost, sound]);
      await bench.ground.loseTask(bench.name, lost.id);
      const { claims, orphans } = await claim(queue, worker.workerIds[0], { slots: 9 });
      assertEquals(only(claims).id, sound.id);
      assertEquals(orphans, [lost.id]);
      assertEquals(await queue.whereabouts([lost.id]), ["unknown"]);
      assertEquals((await queue.depth()).diagnostics, { foreign: 0, foreignDropped: 0 });
      assertEquals(await queue.enqueue([lost]), ["accepted"]);
      assertEquals(
        (await claimOne(queue, worker.workerIds[0], { holding: [sound.id] })).id,
        lost.id,
      );
    },
  );
}

function neverOrphaned(contract: BrokerContract): void {
  contractTest(contract, "whatever becomes of a task, no id is left without it", async (queue) => {
    const worker = crew();
    const workerId = worker.workerIds[0];
    await register(queue, worker);
    const tasks = [task(), task(), task(), task({ delayMs: HOUR })];
    await queue.enqueue(tasks);
    for (const { id } of tasks.slice(2)) await queue.cancel(id);
    const first = await claim(queue, workerId);
    await queue.release(only(first.claims));
    const second = await claim(queue, workerId, { slots: 9 });
    for (const each of second.claims) await queue.end(each);
    const third = await claim(queue, workerId, { slots: 9 });
    assertEquals([first, second, third].map(({ claims }) => claims.length), [1, 2, 0]);
    assertEquals([first, second, third].flatMap(({ orphans }) => orphans), []);
  });
}

function sharing(contract: BrokerContract): void {
  contractTest(
    contract,
    "an answer holds 8 MiB of payloads at most, and the rest can be claimed at once",
    async (queue) => {
      const [workerId] = (await registered(queue)).workerIds;
      const payload = `"${"é".repeat(512 * 1024 - 1)}"`;
      const large = Array.from({ length: 20 }, () => task({ payload }));
      await queue.enqueue(large);
      const ids: string[] = [];
      while (ids.length < large.length) {
        await within(queue.wait({ timeoutMs: 5_000, signal: new AbortController().signal }), {
          what: `a hint after ${ids.length} claims`,
          timeoutMs: 4_000,
        });
        const { claims } = await claim(queue, workerId, { slots: 100, holding: ids });
        const bytes = claims.reduce((sum, each) => sum + 2 * each.payload.length - 2, 0);
        assertTrue(bytes <= CLAIM_BYTES && claims.length > 0, `${claims.length} of ${bytes} bytes`);
        ids.push(...claims.map(({ id }) => id));
      }
      assertEquals(ids, large.map(({ id }) => id));
    },
  );

  contractTest(
    contract,
    "a payload of more than 8 MiB is claimed alone, small ones together",
    async (queue) => {
      const [workerId] = (await registered(queue)).workerIds;
      const huge = Array.from(
        { length: 2 },
        () => task({ payload: `"${"x".repeat(CLAIM_BYTES)}"` }),
      );
      const small = Array.from({ length: 50 }, () => task());
      for (const each of [...huge, ...small]) await queue.enqueue([each]);
      const counts = [];
      const holding: string[] = [];
      for (let round = 0; round < 3; round++) {
        const { claims } = await claim(queue, workerId, { slots: 100, holding });
        counts.push(claims.length);
        holding.push(...claims.map(({ id }) => id));
      }
      assertEquals(counts, [1, 1, 50]);
    },
  );

  contractTest(contract, "a worker takes its share of what waits, at least one", async (queue) => {
    const workers = crew(3);
    await register(queue, workers);
    await queue.enqueue(Array.from({ length: 7 }, () => task()));
    const [a, b, c] = workers.workerIds;
    const counts = [];
    for (const workerId of [a, b ?? "", c ?? ""]) {
      counts.push((await claim(queue, workerId, { slots: 10 })).claims.length);
    }
    // ⌈7 ÷ 3⌉, ⌈4 ÷ 3⌉, ⌈2 ÷ 3⌉
    assertEquals(counts, [3, 2, 1]);
  });

  contractTest(contract, "a worker takes no more than its free slots", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await queue.enqueue(Array.from({ length: 7 }, () => task()));
    assertEquals((await claim(queue, worker.workerIds[0], { slots: 2 })).claims.length, 2);
  });

  contractTest(contract, "workers of a lapsed supervisor have no share", async (queue) => {
    const [dead, alive] = [crew(3), crew()];
    await register(queue, dead, 50);
    await register(queue, alive);
    await queue.enqueue(Array.from({ length: 8 }, () => task()));
    const taken: string[] = [];
    const full = await waitFor(async () => {
      const { claims } = await claim(queue, alive.workerIds[0], { slots: 8 });
      taken.push(...claims.map(({ id }) => id));
      // What it takes it does not hold: the next claim returns it first.
      return claims.length === 8;
    }, { what: "the lapsed supervisor to be left out" });
    assertTrue(full);
  });
}

function settling(contract: BrokerContract): void {
  contractTest(contract, "an ended task is gone, and is ended once", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await queue.enqueue([task()]);
    const one = await claimOne(queue, worker.workerIds[0]);
    assertEquals(await queue.end({ id: one.id, token: "1" }), "lost");
    assertEquals(await queue.end(one), "done");
    assertEquals(await queue.end(one), "gone");
    assertEquals((await queue.release(one)).outcome, "gone");
    assertEquals(await queue.check([one]), ["gone"]);
    assertEquals(await queue.whereabouts([one.id]), ["unknown"]);
    const { waiting, delayed, running } = await queue.depth();
    assertEquals([waiting, delayed, running], [0, 0, 0]);
  });

  contractTest(contract, "nobody settles a run with the token of an earlier one", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await queue.enqueue([task()]);
    const first = await claimOne(queue, worker.workerIds[0]);
    const { outcome, token } = await queue.release(first);
    assertEquals(outcome, "done");
    // While it waits, and while it runs again.
    for (const ref of [first, { id: first.id, token }]) {
      assertEquals(await queue.end(ref), "lost");
      assertEquals((await queue.release(ref, { charge: "crash" })).outcome, "lost");
    }
    const second = await claimOne(queue, worker.workerIds[0]);
    assertEquals(await queue.end(first), "lost");
    assertEquals((await queue.release(first)).outcome, "lost");
    assertEquals(await queue.check([first, second]), ["lost", "own"]);
    assertEquals([second.crashes, await queue.end(second)], [0, "done"]);
  });

  contractTest(contract, "check answers for each claim in the order asked", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await queue.enqueue([task(), task(), task()]);
    const { claims } = await claim(queue, worker.workerIds[0], { slots: 3 });
    const [own, canceled, released] = claims;
    assertTrue(own !== undefined && canceled !== undefined && released !== undefined);
    await queue.cancel(canceled.id);
    await queue.release(released, { delayMs: HOUR });
    const unknown = { id: crypto.randomUUID(), token: "7" };
    assertEquals(await queue.check([unknown, released, canceled, own]), [
      "gone",
      "lost",
      "cancel",
      "own",
    ]);
    assertEquals(await queue.check([]), []);
  });

  contractTest(
    contract,
    "a claim that was lost is taken again under its token",
    async (queue, bench) => {
      const worker = crew();
      const workerId = worker.workerIds[0];
      await register(queue, worker);
      await queue.enqueue([task()]);
      const one = await claimOne(queue, workerId);
      await bench.ground.loseQueue(bench.name);
      assertEquals(await queue.check([one]), ["gone"]);
      assertTrue(await queue.reassert(one, { workerId, leaseMs: LONG_LEASE }));
      assertTrue(await queue.reassert(one, { workerId, leaseMs: LONG_LEASE }));
      assertEquals(await queue.check([one]), ["own"]);
      const [owned] = (await register(queue, worker)).owned;
      assertEquals([owned?.id, owned?.token, owned?.workerId], [one.id, one.token, workerId]);
      assertTrue(BigInt(await queue.nextToken()) > BigInt(one.token));
      assertEquals((await queue.release(one)).outcome, "done");
      assertEquals((await claimOne(queue, workerId)).payload, one.payload);
    },
  );

  contractTest(contract, "a claim that is another's by now is not taken again", async (queue) => {
    const [a, b] = [crew(), crew()];
    await register(queue, a);
    await register(queue, b);
    await queue.enqueue([task()]);
    const first = await claimOne(queue, a.workerIds[0]);
    await queue.release(first);
    const again = { workerId: a.workerIds[0], leaseMs: LONG_LEASE };
    assertEquals(await queue.reassert(first, again), false);
    const second = await claimOne(queue, b.workerIds[0]);
    assertEquals(await queue.reassert(first, again), false);
    assertEquals(await queue.reassert(second, again), false);
    assertEquals(await queue.check([second]), ["own"]);
  });
}

function returning(contract: BrokerContract): void {
  contractTest(contract, "what is released to the head is claimed next", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    const tasks = [task(), task(), task()];
    await queue.enqueue(tasks);
    const first = await claimOne(queue, worker.workerIds[0]);
    assertEquals((await queue.release(first)).outcome, "done");
    const { claims } = await claim(queue, worker.workerIds[0], { slots: 3 });
    assertEquals(claims.map(({ id }) => id), tasks.map(({ id }) => id));
    assertEquals([claims[0]?.failures, claims[0]?.crashes, claims[0]?.lapses], [0, 0, 0]);
  });

  contractTest(contract, "a release with a delay waits that long", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await queue.enqueue([task()]);
    const first = await claimOne(queue, worker.workerIds[0]);
    await queue.release(first, { delayMs: HOUR, charge: "failure" });
    assertEquals(await queue.whereabouts([first.id]), ["delayed"]);
    const { claims, nextDueMs } = await claim(queue, worker.workerIds[0]);
    assertEquals(claims, []);
    assertTrue(nextDueMs !== null && nextDueMs <= HOUR && nextDueMs > HOUR / 2);
  });

  contractTest(contract, "crashes and failures are counted apart", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await queue.enqueue([task()]);
    for (const charge of ["crash", "failure", "crash"] as const) {
      await queue.release(await claimOne(queue, worker.workerIds[0]), { charge });
    }
    const { crashes, failures, lapses } = await claimOne(queue, worker.workerIds[0]);
    assertEquals([crashes, failures, lapses], [2, 1, 0]);
  });

  contractTest(
    contract,
    "runs of an unknown name are counted until the name is known",
    async (queue) => {
      const worker = crew();
      const workerId = worker.workerIds[0];
      await register(queue, worker);
      await queue.enqueue([task()]);
      const first = await claimOne(queue, workerId);
      assertEquals([first.unknowns, first.unknownForMs], [0, 0]);
      await queue.release(first, { charge: "unknown" });
      const second = await claimOne(queue, workerId);
      assertEquals(second.unknowns, 1);
      await queue.release(second, { charge: "unknown" });
      const third = await waitFor(async () => {
        const found = await claimOne(queue, workerId);
        // Not held, so the next claim returns it, charged nothing.
        return found.unknownForMs > second.unknownForMs && found;
      }, { what: "time to pass since the name was first unknown" });
      assertEquals([third.unknowns, third.failures, third.crashes], [2, 0, 0]);
      await queue.release(third, { charge: "failure" });
      const known = await claimOne(queue, workerId);
      assertEquals([known.unknowns, known.unknownForMs, known.failures], [0, 0, 1]);
    },
  );
}

function waiting(contract: BrokerContract): void {
  const never = () => new AbortController().signal;

  contractTest(
    contract,
    "a waiting worker is told of a new task and of a released one",
    async (queue, bench) => {
      const worker = crew();
      await register(queue, worker);
      const idle = await bench.connect();
      const told = idle.wait({ timeoutMs: 5_000, signal: never() });
      await queue.enqueue([task()]);
      await within(told, { what: "a hint of the new task", timeoutMs: HINT });
      const one = await claimOne(queue, worker.workerIds[0]);
      const toldAgain = idle.wait({ timeoutMs: 5_000, signal: never() });
      await queue.release(one);
      await within(toldAgain, { what: "a hint of the released task", timeoutMs: HINT });
    },
  );

  contractTest(
    contract,
    "who claims and leaves work behind wakes the next",
    async (queue, bench) => {
      const workers = crew(2);
      await register(queue, workers);
      const [a, b] = [await bench.connect(), await bench.connect()];
      await queue.enqueue([task(), task(), task()]);
      await within(a.wait({ timeoutMs: 5_000, signal: never() }), {
        what: "the first hint",
        timeoutMs: HINT,
      });
      await claimOne(a, workers.workerIds[0]);
      await within(b.wait({ timeoutMs: 5_000, signal: never() }), {
        what: "the second hint",
        timeoutMs: HINT,
      });
    },
  );

  contractTest(contract, "a wait ends at its time, and with its signal", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await within(queue.wait({ timeoutMs: 20, signal: never() }), {
      what: "a short wait",
      timeoutMs: HINT,
    });
    await queue.wait({ timeoutMs: 5_000, signal: AbortSignal.abort() });
    const stop = new AbortController();
    const wait = queue.wait({ timeoutMs: 5_000, signal: stop.signal });
    stop.abort();
    await within(wait, { what: "a wait that was given up", timeoutMs: HINT });
    // And the connection waits again.
    const told = queue.wait({ timeoutMs: 5_000, signal: never() });
    await queue.enqueue([task()]);
    await within(told, { what: "a hint after a wait that was given up", timeoutMs: HINT });
  });

  contractTest(
    contract,
    "what a ready worker says reaches its supervisor",
    async (queue, bench) => {
      const workers = crew(2);
      const [first, second] = workers.workerIds;
      assertEquals((await register(queue, workers, SHORT_LEASE)).ready.size, 0);
      const worker = await bench.connect();
      await worker.ready(second ?? "", '{"tasks":["a"]}');
      for (const _ of [1, 2]) {
        const { ready } = await register(queue, workers);
        assertEquals([...ready], [[second, '{"tasks":["a"]}']]);
      }
      await worker.ready(first, "");
      assertEquals((await register(queue, workers)).ready.get(first), "");
      await queue.removeWorker(second ?? "");
      const { ready } = await queue.renew({ ...workers, workerIds: [first], leaseMs: LONG_LEASE });
      assertEquals([...ready.keys()], [first]);
    },
  );
}
