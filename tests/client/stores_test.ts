import { Client, ConfigError } from "@agentexec/core";
import { Stores } from "../../src/stores/stores.ts";
import { AgentexecError, ConnectionError } from "../../src/errors.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { freePort } from "../support/ports.ts";
import { sharedPostgres, sharedRedisUrl, startRedis } from "../support/servers.ts";
import { within } from "../support/wait.ts";

Deno.test("connect() tries again until a server that is down comes up", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  await redis.stop();
  const stores = new Stores({ brokerUrl: redis.url, databaseUrl: database.url });
  const failed = Promise.withResolvers<ConnectionError>();
  const connected = stores.connect({ timeoutMs: 60_000, onRetry: failed.resolve });
  const error = await within(failed.promise, { what: "the first attempt to fail" });
  assertTrue(error.retryable);
  await redis.restart();
  await connected;
  assertEquals((await (await stores.queue("q")).depth()).waiting, 0);
  await stores.close();
});

Deno.test("connect() gives up when the time is over, and names address, cause and limit", async () => {
  const port = freePort();
  const stores = new Stores({
    brokerUrl: `redis://user:hunter2@127.0.0.1:${port}`,
    databaseUrl: sharedPostgres().url,
  });
  let retries = 0;
  const error = await assertRejects(
    () => stores.connect({ timeoutMs: 2_000, onRetry: () => retries++ }),
    ConnectionError,
  );
  assertTrue(
    error.message.startsWith(
      `Cannot connect to redis://user:***@127.0.0.1:${port}/0 within the 2 s of 'connectTimeout': `,
    ),
    error.message,
  );
  assertTrue(error.cause instanceof ConnectionError);
  assertTrue(retries > 0);
  await stores.close();
});

Deno.test("connect() does not try a refused password again", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "right"] });
  const url = redis.url.replace("redis://", "redis://:wrong@");
  const stores = new Stores({ brokerUrl: url, databaseUrl: sharedPostgres().url });
  const error = await assertRejects(
    () =>
      stores.connect({
        timeoutMs: 60_000,
        onRetry: () => {
          throw new RangeError("tried again");
        },
      }),
    ConnectionError,
  );
  assertEquals(error.retryable, false);
  assertMatch(error.message, /refused user or password/);
  await stores.close();
});

Deno.test("disconnect() lets the next call connect anew, close() does not", async () => {
  const stores = new Stores({ brokerUrl: sharedRedisUrl(), databaseUrl: sharedPostgres().url });
  const name = `q-${crypto.randomUUID()}`;
  const first = await stores.queue(name);
  assertTrue(await stores.queue(name) === first);
  const { session } = stores;
  await stores.disconnect();
  assertTrue(session.aborted);
  assertTrue(!stores.session.aborted);
  assertEquals((await (await stores.queue(name)).depth()).waiting, 0);
  await stores.close();
  await stores.close();
  await assertRejects(() => stores.queue(name), AgentexecError);
  await assertRejects(() => stores.activity(), AgentexecError);
  await assertRejects(() => stores.connect({ timeoutMs: 1 }), AgentexecError);
});

Deno.test("close() while a connection is being made ends it", async () => {
  const stores = new Stores({ brokerUrl: sharedRedisUrl(), databaseUrl: sharedPostgres().url });
  const calls = [stores.queue("q"), stores.activityUnchecked()];
  await stores.close();
  await Promise.allSettled(calls);
});

Deno.test("a client that lacks one address fails its call, and closes while the other store is being opened", async () => {
  const client = new Client({ databaseUrl: "sqlite:/proc/no-such-folder/activity.db" });
  const error = await assertRejects(() => client.enqueue("never"), ConfigError);
  assertMatch(error.message, /Cannot find the broker/);
  await client.close();
});
