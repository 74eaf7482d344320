import { Pool } from "@agentexec/core";
import { parseBrokerUrl, parseDatabaseUrl } from "../src/addresses.ts";
import { ActivityStore } from "../src/activity/store.ts";
import { openBroker } from "../src/broker/open_broker.ts";
import { activityMessages } from "../src/config.ts";
import { LogRelay } from "../src/log/relay.ts";
import { Guardian } from "../src/process/guardian.ts";
import { Stores } from "../src/stores/stores.ts";
import { channel, publisherOn } from "./log/support.ts";
import { assertEquals } from "./support/assert.ts";
import { type Lifecycle, stressLifecycle } from "./support/lifecycle.ts";
import { fixture, recordLogs } from "./support/pools.ts";
import { onBothGrounds, openStores, type TestStores } from "./support/stores.ts";

/** What is closed for good, as a part that starts and stops. */
function closing(part: { close(): unknown }, start: () => Promise<unknown>): Lifecycle {
  return { start, stop: () => Promise.resolve(part.close()) };
}

/** The addresses alone: a client takes no other option. */
function addressesOf({ brokerUrl, databaseUrl }: TestStores) {
  return { brokerUrl, databaseUrl };
}

onBothGrounds(
  "a pool can be started and shut down in any order, and has nothing to complain of",
  async (ground) => {
    await using log = await recordLogs();
    await using stores = await openStores(ground);
    // One for all: a pool is known by its name for the whole life of a program, and may start again.
    await using pool = new Pool({
      ...addressesOf(stores),
      name: "fixture",
      queueName: "fixture",
      entrypoint: fixture("pool.ts"),
      numWorkers: 1,
    });
    await pool.migrate();
    await stressLifecycle(() => ({
      start: () => pool.start(),
      stop: () => pool.shutdown({ timeout: { seconds: 0 } }),
    }));
    assertEquals(log.messages().filter((message) => message.includes("Cannot")), []);
  },
);

onBothGrounds(
  "the stores of a client, a broker and an activity store can be opened and closed in any order",
  async (ground) => {
    await using stores = await openStores(ground);
    const { brokerUrl, databaseUrl } = stores;
    const timeoutMs = 30_000;
    await stressLifecycle(() => {
      const opened = new Stores({ brokerUrl, databaseUrl });
      return closing(opened, () => opened.connect({ timeoutMs }));
    });
    await stressLifecycle(() => {
      const opened = new Stores({ brokerUrl, databaseUrl });
      return { start: () => opened.connect({ timeoutMs }), stop: () => opened.disconnect() };
    });
    await stressLifecycle(() => {
      const broker = openBroker(parseBrokerUrl({ value: brokerUrl, source: "test" }));
      return closing(broker, () => broker.connect());
    });
    await stressLifecycle(() => {
      const store = new ActivityStore({
        address: parseDatabaseUrl({ value: databaseUrl, source: "test" }),
        tablePrefix: "agentexec_",
        messages: activityMessages(),
      });
      return closing(store, () => store.connect());
    });
  },
);

Deno.test("a guardian, a log publisher and a log relay can be started and stopped in any order", async () => {
  const warnings: string[] = [];
  await stressLifecycle(() => {
    let guardian: Guardian | undefined;
    return {
      async start() {
        guardian ??= await Guardian.start({
          deno: Deno.execPath(),
          standalone: false,
          warn: (message) => warnings.push(message),
        });
      },
      stop: () => Promise.resolve(guardian?.close()),
    };
  });
  assertEquals(warnings, []);
  const none = () => Promise.resolve();
  await stressLifecycle(() => closing(publisherOn(channel()).publisher, none));
  await stressLifecycle(() => closing(new LogRelay({ pool: "urgent", showPool: false }), none));
});
