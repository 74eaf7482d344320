/**
 * The broker contract: opening, enqueueing, cancelling, counting.
 *
 * @module
 */
import type { ReleaseOptions } from "../../../src/broker/broker.ts";
import { assertEquals, assertRejects, assertTrue } from "../../support/assert.ts";
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
  sweepUntilTaken,
  task,
} from "./bench.ts";

const HOUR = 3_600_000;

/** Registers the tests of what producers use. */
export function producing(contract: BrokerContract): void {
  opening(contract);
  enqueueing(contract);
  delays(contract);
  cancelling(contract);
  looking(contract);
}

function opening(contract: BrokerContract): void {
  contractTest(
    contract,
    "all who open a queue, at once or later, get one id",
    async (queue, bench) => {
      const others = await Promise.all([bench.connect(), bench.connect(), bench.connect()]);
      const ids = await Promise.all([queue, ...others].map((each) => each.open()));
      assertEquals(new Set(ids).size, 1);
      assertTrue(/^[0-9a-f-]{36}$/.test(ids[0] ?? ""));
    },
  );

  contractTest(
    contract,
    "the queue object knows its name and is the same each time",
    async (_, bench) => {
      await using broker = disposable(bench.ground.broker());
      assertEquals(broker.value.queue("a.b-c_1").name, "a.b-c_1");
      assertTrue(broker.value.queue("a") === broker.value.queue("a"));
      await Promise.resolve();
    },
  );

  contractTest(contract, "close may come before connect and twice", async (_, bench) => {
    const broker = bench.ground.broker();
    await broker.close();
    await broker.close();
    await assertRejects(() => broker.connect(), Error);
  });
}

function enqueueing(contract: BrokerContract): void {
  contractTest(contract, "claims take the oldest first", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    const tasks = [task(), task(), task()];
    assertEquals(await queue.enqueue(tasks.slice(0, 2)), ["accepted", "accepted"]);
    assertEquals(await queue.enqueue(tasks.slice(2)), ["accepted"]);
    const { claims } = await claim(queue, worker.workerIds[0], { slots: 3 });
    assertEquals(claims.map(({ id }) => id), tasks.map(({ id }) => id));
  });

  contractTest(contract, "name and payload come back as they went in", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    const payloads = [
      "",
      '{"n":12345678901234567890,"e":1e400}',
      '"\\u0000 é 漢字 🜚 \u2028"',
      `"${"x".repeat(1_048_576)}"`,
    ];
    await queue.enqueue(payloads.map((payload, n) => task({ payload, name: `task.${n}` })));
    const { claims } = await claim(queue, worker.workerIds[0], { slots: 9 });
    assertEquals(claims.map(({ payload }) => payload), payloads);
    assertEquals(claims.map(({ name }) => name), ["task.0", "task.1", "task.2", "task.3"]);
  });

  contractTest(contract, "a known id is left as it is wherever it stands", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    const [claimed, waiting, delayed] = [task(), task(), task({ delayMs: HOUR })];
    await queue.enqueue([claimed, waiting, delayed]);
    const first = await claimOne(queue, worker.workerIds[0]);
    const again = [claimed, waiting, delayed].map((each) => ({ ...each, payload: "other" }));
    assertEquals(await queue.enqueue(again), ["known", "known", "known"]);
    assertEquals(
      await queue.depth().then(({ waiting, delayed, running }) => [waiting, delayed, running]),
      [
        1,
        1,
        1,
      ],
    );
    assertEquals(await queue.check([first]), ["own"]);
    const { claims } = await claim(queue, worker.workerIds[0], { slots: 9, holding: [first.id] });
    assertEquals(only(claims).payload, waiting.payload);
  });

  contractTest(contract, "an id that comes twice in one call is put in once", async (queue) => {
    const twice = task();
    assertEquals(await queue.enqueue([twice, twice]), ["accepted", "known"]);
    assertEquals((await queue.depth()).waiting, 1);
  });

  contractTest(contract, "one task that cannot be put in keeps the others out", async (queue) => {
    await assertRejects(() => queue.enqueue([task(), task({ id: "no uuid" })]), RangeError);
    await assertRejects(() => queue.enqueue([task(), task({ delayMs: NaN })]), RangeError);
    assertEquals((await queue.depth()).waiting, 0);
    assertEquals(await queue.enqueue([]), []);
  });

  contractTest(contract, "a task put in again from its row keeps its counters", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    await queue.enqueue([task({ counters: { attempt: 4, failures: 1, crashes: 2, lapses: 3 } })]);
    const { attempt, failures, crashes, lapses } = await claimOne(queue, worker.workerIds[0]);
    assertEquals({ attempt, failures, crashes, lapses }, {
      attempt: 5,
      failures: 1,
      crashes: 2,
      lapses: 3,
    });
  });
}

function delays(contract: BrokerContract): void {
  contractTest(
    contract,
    "delayed tasks are claimed when they are due, in that order",
    async (queue) => {
      const worker = crew();
      await register(queue, worker);
      const tasks = [task({ delayMs: 120 }), task({ delayMs: 40 }), task({ delayMs: 80 })];
      await queue.enqueue(tasks);
      const early = await claim(queue, worker.workerIds[0], { slots: 9 });
      assertTrue(early.nextDueMs !== null || early.claims.length > 0);
      const order = early.claims.map(({ id }) => id);
      await waitFor(async () => {
        const answer = await claim(queue, worker.workerIds[0], { slots: 9, holding: order });
        order.push(...answer.claims.map(({ id }) => id));
        return order.length === 3;
      }, { what: "three delayed tasks" });
      assertEquals(order, [tasks[1]?.id, tasks[2]?.id, tasks[0]?.id]);
    },
  );

  contractTest(contract, "a claim says how long it is to the next due task", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    assertEquals((await claim(queue, worker.workerIds[0])).nextDueMs, null);
    await queue.enqueue([task({ delayMs: HOUR }), task({ delayMs: HOUR / 2 })]);
    const { nextDueMs, claims } = await claim(queue, worker.workerIds[0]);
    assertEquals(claims, []);
    assertTrue(nextDueMs !== null && nextDueMs <= HOUR / 2 && nextDueMs > HOUR / 4);
  });

  contractTest(
    contract,
    "a time that is past is due at once, one to come is not",
    async (queue) => {
      const worker = crew();
      await register(queue, worker);
      const [past, future] = [task({ runAtMs: 1 }), task({ runAtMs: Date.now() + HOUR })];
      await queue.enqueue([future, past]);
      assertEquals((await claimOne(queue, worker.workerIds[0], { slots: 9 })).id, past.id);
      assertEquals(await queue.whereabouts([future.id]), ["delayed"]);
    },
  );

  contractTest(contract, "a due task stands behind those that wait already", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    const [soon, now] = [task({ delayMs: 1 }), task()];
    await queue.enqueue([soon, now]);
    await waitFor(async () => (await queue.depth()).delayed === 0, { what: "the task to be due" });
    const { claims } = await claim(queue, worker.workerIds[0], { slots: 9 });
    assertEquals(claims.map(({ id }) => id), [now.id, soon.id]);
  });
}

function cancelling(contract: BrokerContract): void {
  contractTest(
    contract,
    "a waiting or delayed task that is cancelled never runs",
    async (queue) => {
      const worker = crew();
      await register(queue, worker);
      const tasks = [task(), task(), task({ delayMs: HOUR }), task()];
      await queue.enqueue(tasks);
      assertEquals(await queue.cancel(tasks[1]?.id ?? ""), "removed");
      assertEquals(await queue.cancel(tasks[2]?.id ?? ""), "removed");
      assertEquals(await queue.cancel(tasks[1]?.id ?? ""), "unknown");
      const { waiting, delayed } = await queue.depth();
      assertEquals([waiting, delayed], [2, 0]);
      const { claims, orphans } = await claim(queue, worker.workerIds[0], { slots: 9 });
      assertEquals(claims.map(({ id }) => id), [tasks[0]?.id, tasks[3]?.id]);
      assertEquals(orphans, []);
    },
  );

  contractTest(contract, "a cancelled task may be enqueued again, and runs once", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    const again = task();
    await queue.enqueue([again, task()]);
    assertEquals(await queue.cancel(again.id), "removed");
    assertEquals(await queue.enqueue([{ ...again, payload: "second" }]), ["accepted"]);
    assertEquals((await queue.depth()).waiting, 2);
    const { claims } = await claim(queue, worker.workerIds[0], { slots: 9 });
    assertEquals(claims.filter(({ id }) => id === again.id).map(({ payload }) => payload), [
      "second",
    ]);
    // And with a delay: its old place in the queue is nobody's.
    const later = task();
    await queue.enqueue([later]);
    await queue.cancel(later.id);
    await queue.enqueue([{ ...later, delayMs: HOUR }]);
    const held = claims.map(({ id }) => id);
    assertEquals((await claim(queue, worker.workerIds[0], { slots: 9, holding: held })).claims, []);
    assertEquals(await queue.whereabouts([later.id]), ["delayed"]);
  });

  const ways: readonly ReleaseOptions[] = [
    {},
    { delayMs: 1 },
    { charge: "crash" },
    { delayMs: HOUR, charge: "failure" },
    { charge: "unknown" },
  ];
  for (const options of ways) {
    const title = `a claimed task is asked to stop, and released by ${
      JSON.stringify(options)
    } is its caller's to end`;
    contractTest(contract, title, async (queue) => {
      const worker = crew();
      await register(queue, worker);
      const one = task();
      await queue.enqueue([one]);
      const claimed = await claimOne(queue, worker.workerIds[0]);
      assertEquals(await queue.check([claimed]), ["own"]);
      assertEquals(await queue.cancel(one.id), "requested");
      assertEquals(await queue.check([claimed]), ["cancel"]);
      const released = await queue.release(claimed, options);
      assertEquals(released, { outcome: "canceled", token: claimed.token });
      assertEquals((await claim(queue, worker.workerIds[0])).claims, []);
      assertEquals(await queue.whereabouts([one.id]), ["claimed"]);
      const { waiting, delayed, running } = await queue.depth();
      assertEquals([waiting, delayed, running], [0, 0, 1]);
      assertEquals(await queue.end(claimed), "done");
      assertEquals(await queue.cancel(one.id), "unknown");
    });
  }

  contractTest(
    contract,
    "a task that is to be canceled and whose claim was lost on its way is the next sweep's to end",
    async (queue) => {
      const worker = crew();
      await register(queue, worker);
      const one = task();
      await queue.enqueue([one]);
      const unheard = await claimOne(queue, worker.workerIds[0]);
      await queue.cancel(one.id);
      // The worker does not hold it, and is not given it again.
      assertEquals((await claim(queue, worker.workerIds[0])).claims, []);
      assertEquals((await register(queue, worker)).owned, []);
      assertEquals(await queue.enqueue([one]), ["known"]);
      const swept = only(await sweepUntilTaken(queue, crew()));
      assertEquals([swept.id, swept.outcome, swept.lapses], [one.id, "canceled", 0]);
      assertEquals(await queue.end(unheard), "lost");
      assertEquals(await queue.end(swept), "done");
      assertEquals(await queue.whereabouts([one.id]), ["unknown"]);
    },
  );
}

function looking(contract: BrokerContract): void {
  contractTest(contract, "depth counts what waits, is delayed, and runs", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    assertEquals(await queue.depth(), {
      waiting: 0,
      delayed: 0,
      running: 0,
      oldestMs: null,
      diagnostics: { foreign: 0, foreignDropped: 0 },
    });
    await queue.enqueue([task(), task(), task(), task({ delayMs: HOUR })]);
    await claimOne(queue, worker.workerIds[0]);
    const { waiting, delayed, running, oldestMs } = await queue.depth();
    assertEquals([waiting, delayed, running], [2, 1, 1]);
    assertTrue(oldestMs !== null && oldestMs >= 0);
    await waitFor(async () => ((await queue.depth()).oldestMs ?? 0) > oldestMs, {
      what: "the oldest task to become older",
    });
  });

  contractTest(contract, "whereabouts tells each place, in the order asked", async (queue) => {
    const worker = crew();
    await register(queue, worker);
    const tasks = [task(), task(), task({ delayMs: HOUR })];
    await queue.enqueue(tasks);
    await claimOne(queue, worker.workerIds[0], { leaseMs: LONG_LEASE });
    const ids = [crypto.randomUUID(), ...tasks.map(({ id }) => id).reverse()];
    assertEquals(await queue.whereabouts(ids), ["unknown", "delayed", "waiting", "claimed"]);
    assertEquals(await queue.whereabouts([]), []);
  });

  contractTest(contract, "tokens rise, for all connections together", async (queue, bench) => {
    const worker = crew();
    await register(queue, worker);
    const other = await bench.connect();
    await queue.enqueue([task()]);
    const tokens = [await queue.nextToken(), await other.nextToken()];
    const first = await claimOne(other, worker.workerIds[0]);
    tokens.push(first.token, (await queue.release(first)).token, await other.nextToken());
    const numbers = tokens.map(BigInt);
    assertEquals(numbers, [...numbers].sort((a, b) => (a < b ? -1 : 1)));
    assertEquals(new Set(tokens).size, tokens.length);
    const high = String(BigInt(tokens.at(-1) ?? 0) + 1_000_000_000n);
    await queue.raiseToken(high);
    assertEquals(await other.nextToken(), String(BigInt(high) + 1n));
    await queue.raiseToken("5");
    assertEquals(await other.nextToken(), String(BigInt(high) + 2n));
    await assertRejects(() => queue.raiseToken("9007199254740993"), RangeError);
    await assertRejects(() => queue.raiseToken("-1"), RangeError);
  });
}

function disposable<T extends { close(): Promise<void> }>(
  value: T,
): AsyncDisposable & { value: T } {
  return { value, [Symbol.asyncDispose]: () => value.close() };
}
