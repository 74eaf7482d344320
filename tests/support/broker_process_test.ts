import { parseBrokerUrl } from "../../src/addresses.ts";
import { openBroker } from "../../src/broker/open_broker.ts";
import { ConnectionError } from "../../src/errors.ts";
import { assertEquals, assertRejects, assertTrue } from "./assert.ts";
import { BrokerProcesses } from "./broker_process.ts";
import { freePort } from "./ports.ts";
import { alive, childrenOf } from "./processes.ts";
import { sharedRedisUrl } from "./servers.ts";

const processes = new BrokerProcesses(2);
Deno.test.beforeAll(() => processes.start());
Deno.test.afterAll(() => processes.stop());

Deno.test("each broker is in a process of its own, and used again by the next test", async () => {
  const pids: number[][] = [];
  for (const _ of [1, 2]) {
    const taken = [processes.take(), processes.take()];
    const brokers = taken.map((process) => process.broker(sharedRedisUrl()));
    for (const broker of brokers) await broker.connect();
    pids.push(brokers.map(({ pid }) => pid).sort());
    await processes.giveBack(taken);
  }
  const [first = [], second = []] = pids;
  assertEquals(new Set(first).size, 2);
  assertTrue(first.every((pid) => alive(pid) && childrenOf(Deno.pid).includes(pid)));
  assertEquals(second, first);
});

Deno.test("an error of the other process is the same error here", async () => {
  const url = `redis://:secret@127.0.0.1:${freePort()}`;
  const local = openBroker(parseBrokerUrl({ value: url, source: "the test" }));
  const process = processes.take();
  const remote = process.broker(url);
  try {
    const [here, there] = [
      await assertRejects(() => local.connect(), ConnectionError),
      await assertRejects(() => remote.connect(), ConnectionError),
    ];
    assertEquals([there.message, there.retryable], [here.message, here.retryable]);
    assertEquals(remote.address, local.address);
  } finally {
    await processes.giveBack([process]);
    await local.close();
  }
});
