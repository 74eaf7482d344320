import { parseBrokerUrl, type RedisAddress } from "../../src/addresses.ts";
import { connectNodeRedis } from "../../src/broker/redis/drivers/node_redis.ts";
import { ErrorReply } from "../../src/broker/redis/reply.ts";
import { openSession, type Session } from "../../src/broker/redis/session.ts";
import { ConnectionError } from "../../src/errors.ts";
import { assertEquals, assertRejects, assertTrue } from "../support/assert.ts";
import { startProxy } from "../support/proxy.ts";
import { startRedis } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { rawRedis } from "./raw_redis.ts";
import { atPort } from "./redis_bench.ts";

/** Every driver is to pass these tests. */
const DRIVERS = { connectNodeRedis };

for (const [name, connect] of Object.entries(DRIVERS)) {
  const open = (url: string, signal = new AbortController().signal): Promise<Session> => {
    const address = parseBrokerUrl({ value: url, source: "the test" }) as RedisAddress;
    return openSession(connect, { address, name: "session-test", shown: url, ms: 20_000, signal });
  };

  Deno.test(`${name}: many commands have each their answer, and a refusal tells its code`, async () => {
    await using server = await startRedis();
    const session = await open(server.url);
    const replies = await session.sendMany([
      ["SET", "key", "text"],
      ["LPUSH", "key", "entry"],
      ["GET", "key"],
      ["MGET", "key", "none"],
      ["STRLEN", "key"],
    ]);
    const [, refused] = replies;
    assertTrue(refused instanceof ErrorReply, String(refused));
    assertEquals(refused.code, "WRONGTYPE");
    assertEquals(replies.toSpliced(1, 1), ["OK", "text", ["text", null], 4]);
    for (
      const [code, ...command] of [
        ["NOSCRIPT", "EVALSHA", "0".repeat(40), "0"],
        ["ERR", "NO_SUCH_COMMAND"],
        ["WRONGPASS", "AUTH", "nobody", "wrong"],
        ["EXECABORT", "EVAL", "return redis.error_reply('EXECABORT text')", "0"],
      ] as const
    ) {
      const error = await assertRejects(() => session.send(command), ErrorReply);
      assertEquals(error.code, code, error.message);
    }
    await session.close(1_000);
  });

  Deno.test(`${name}: a session tells by what it was lost, and what waits for an answer fails`, async () => {
    await using server = await startRedis();
    await using redis = await rawRedis(server.url);
    const killed = await open(server.url);
    const waits = killed.send(["BLPOP", "none", "0"]).then(() => "answered", (error) => error);
    const id = String(await redis.send("CLIENT", "LIST")).split("\n")
      .find((line) => line.includes("name=session-test"))?.match(/id=(\d+)/)?.[1] ?? "none";
    assertEquals(killed.gone, false);
    await redis.send("CLIENT", "KILL", "ID", id);
    const cause = await within(killed.lost, { what: "the loss to be told" });
    assertEquals([killed.gone, killed.lostTo], [true, cause]);
    assertTrue(await waits instanceof Error && !(await waits instanceof ErrorReply));
    await assertRejects(() => killed.send(["PING"]), Error);
    await assertRejects(() => killed.sendMany([["PING"]]), Error);

    const dropped = await open(server.url);
    const reason = new Error("the reason");
    dropped.drop(reason);
    dropped.drop(new Error("a later one"));
    assertEquals([await dropped.lost, dropped.lostTo], [reason, reason]);
    await dropped.close(1_000);
  });

  Deno.test(`${name}: closing leaves what waits for an answer its time, and no more`, async () => {
    await using server = await startRedis();
    await using redis = await rawRedis(server.url);
    const session = await open(server.url);
    const block = session.send(["BLPOP", "list", "0"]);
    const closing = session.close(20_000);
    await redis.send("LPUSH", "list", "entry");
    assertEquals(await within(block, { what: "the answer" }), ["list", "entry"]);
    await within(closing, { what: "the end" });
    const other = await open(server.url);
    const silent = other.send(["BLPOP", "list", "0"]).then(() => "answered", () => "failed");
    await within(other.close(10), { what: "the end of the other" });
    assertEquals(await silent, "failed");
  });

  Deno.test(`${name}: a channel is listened to when it is confirmed, and no more when it is given up`, async () => {
    await using server = await startRedis();
    await using redis = await rawRedis(server.url);
    const session = await open(server.url);
    const heard: string[] = [];
    const listener = (message: string) => void heard.push(message);
    await session.subscribe("channel", listener);
    assertEquals(await redis.send("PUBLISH", "channel", "one"), 1);
    await session.ping();
    assertEquals(heard, ["one"]);
    await session.unsubscribe("channel", listener);
    assertEquals(await redis.send("PUBLISH", "channel", "two"), 0);
    await session.close(1_000);
  });

  Deno.test(`${name}: to give up opening ends it at once, and leaves no connection`, async () => {
    await using server = await startRedis();
    await using redis = await rawRedis(server.url);
    await using proxy = startProxy(server.port);
    proxy.block();
    for (
      const wait of [
        () => Promise.resolve(),
        () => waitFor(() => proxy.connections > 0, { what: "it to dial" }),
      ]
    ) {
      const abort = new AbortController();
      const opening = open(atPort(server.url, proxy.port), abort.signal);
      await wait();
      abort.abort();
      const error = await assertRejects(
        () => within(opening, { what: "the end" }),
        ConnectionError,
      );
      assertEquals(error.retryable, false);
    }
    proxy.unblock();
    await waitFor(
      async () => String(await redis.send("CLIENT", "LIST")).trim().split("\n").length === 1,
      { what: "no connection to be left but the test's" },
    );
  });
}
