import { DatabaseSync } from "node:sqlite";
import { Client, defineTask } from "@agentexec/core";
import { openBroker } from "../../src/broker/open_broker.ts";
import { parseBrokerUrl } from "../../src/addresses.ts";
import { assertEquals, assertMatch } from "../support/assert.ts";
import { recordLogs } from "../support/pools.ts";
import { rawRedis } from "../broker/raw_redis.ts";
import { onBothGrounds, openStores } from "../support/stores.ts";

const here = defineTask("here", { queue: "here" });
const there = defineTask("there", { queue: "there" });

onBothGrounds(
  "the first enqueue into a queue that nobody serves warns, once per queue",
  async (ground) => {
    await using log = await recordLogs();
    await using stores = await openStores(ground);
    const { brokerUrl, databaseUrl } = stores;
    await using client = new Client({ brokerUrl, databaseUrl });
    await client.migrate();
    await client.enqueue(here);
    await client.enqueueMany(here, [undefined, undefined]);
    assertEquals(log.messages().length, 1);
    assertMatch(log.messages()[0] ?? "", /No supervisor has served the queue 'here' yet/);
    await client.enqueueMany(there, [undefined]);
    await client.enqueue(there);
    assertEquals(log.messages().length, 2);
    assertMatch(log.messages()[1] ?? "", /No supervisor has served the queue 'there' yet/);
    assertEquals(log.records.map(({ level }) => level), ["warning", "warning"]);
  },
);

onBothGrounds(
  "an enqueue into a queue that a supervisor served a moment ago warns of nothing",
  async (ground) => {
    await using log = await recordLogs();
    await using stores = await openStores(ground);
    const { brokerUrl, databaseUrl } = stores;
    const broker = openBroker(parseBrokerUrl({ value: brokerUrl, source: "the test" }));
    await broker.connect();
    const supervisorId = crypto.randomUUID();
    await broker.queue("here").renew({ supervisorId, workerIds: [], leaseMs: 1_000 });
    await broker.queue("here").deregister(supervisorId);
    await broker.close();
    await using client = new Client({ brokerUrl, databaseUrl });
    await client.migrate();
    await client.enqueue(here);
    assertEquals(log.messages(), []);
  },
);

onBothGrounds(
  "a queue that was served more than a minute ago is one that nobody serves",
  async (ground) => {
    await using log = await recordLogs();
    await using stores = await openStores(ground);
    const { brokerUrl, databaseUrl, redis } = stores;
    await using client = new Client({ brokerUrl, databaseUrl });
    await client.migrate();
    await client.depth("here");
    const servedAt = Date.now() - 3_600_000;
    if (redis === undefined) {
      const file = new DatabaseSync(brokerUrl.slice("sqlite:".length));
      file.prepare("update agentexec_broker_queue set served = ? where name = 'here'").run(
        servedAt,
      );
      file.close();
    } else {
      await using raw = await rawRedis(brokerUrl);
      await raw.send("HSET", "{here}:broker", "served", String(servedAt));
    }
    await client.enqueue(here);
    assertEquals(log.messages().length, 1);
    assertMatch(log.messages()[0] ?? "", /No supervisor has served the queue 'here' for 36\d\d s/);
  },
);
