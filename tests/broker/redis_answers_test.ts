import { Contact } from "../../src/contact.ts";
import { AgentexecError } from "../../src/errors.ts";
import { claim, crew, register, task } from "../contract/broker/bench.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { startProxy } from "../support/proxy.ts";
import { startRedis } from "../support/servers.ts";
import { waitFor, within } from "../support/wait.ts";
import { rawRedis } from "./raw_redis.ts";
import { atPort, openQueue } from "./redis_bench.ts";

/** What a server, or what stands before it, may say to a ping; the first two end a process that rethrows them. */
const ANSWERS = [
  "-ERR whatever nobody has heard of",
  "-NOSUCHWORD and on",
  "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk",
  "-LOADING Redis is loading the dataset in memory",
  "-NOAUTH Authentication required.",
  "-NOPERM this user has no permissions to run the 'ping' command",
  "-MOVED 1 127.0.0.1:1",
  "-",
  "+OK",
  ":1",
  "*0",
  "_",
  "%0",
  "#t",
  ",1.5",
  "!8\r\nERR what",
  "?what is this",
];

Deno.test("whatever a server says to the ping of a connection that listens, the connection is made anew", async () => {
  await using server = await startRedis();
  const topic = { kind: "log", supervisorId: "s" } as const;
  await Promise.all(ANSWERS.map(async (answer) => {
    await using proxy = startProxy(server.port);
    const contact = new Contact();
    const news: string[] = [];
    contact.listen({
      lost: (error) => news.push(`lost: ${error.message}`),
      back: () => news.push("back"),
    });
    await using opened = await openQueue(atPort(server.url, proxy.port), { contact });
    let reconnects = 0;
    await opened.queue.subscribe(topic, { onMessage: () => {}, onReconnect: () => reconnects++ });
    proxy.rewrite("+PONG\r\n", `${answer}\r\n`);
    await waitFor(() => contact.isAway, { what: `the answer ${answer} to be noticed` });
    proxy.restore();
    await waitFor(() => reconnects > 0 && news.length > 1, { what: `a new connection: ${answer}` });
    assertEquals(news.length, 2, news.join("\n"));
    assertMatch(news[0] ?? "", /^lost: Cannot .* at redis:/);
    assertEquals(news[1], "back");
    // On the same broker, and by the same connection for commands.
    assertEquals(await opened.queue.enqueue([task()]), ["accepted"]);
  }));
});

Deno.test("a Redis that cannot save to its disk ends nobody who listens, and work goes on when it can again", async () => {
  await using server = await startRedis({
    args: ["--appendonly", "no", "--save", "3600 1", "--enable-protected-configs", "local"],
  });
  await using redis = await rawRedis(server.url);
  const contact = new Contact();
  await using opened = await openQueue(server.url, { contact });
  const { queue } = opened;
  const topic = { kind: "log", supervisorId: "s" } as const;
  const heard: string[] = [];
  await queue.subscribe(topic, { onMessage: (message) => heard.push(message) });
  const folder = `${server.dir}/gone`;
  await Deno.mkdir(folder);
  await redis.send("CONFIG", "SET", "dir", folder);
  await Deno.remove(folder);
  await redis.send("BGSAVE");
  try {
    await waitFor(
      () => redis.send("PING").then(() => false, (error) => /MISCONF/.test(String(error))),
      { what: "Redis to refuse writes" },
    );
    await waitFor(() => contact.isAway, { what: "the connection that listens to notice it" });
  } finally {
    // A Redis that cannot save also refuses to end.
    await redis.send("CONFIG", "SET", "save", "");
  }
  await waitFor(() => !contact.isAway, { what: "the connection that listens to be back" });
  await waitFor(async () => {
    await queue.publish(topic, "x");
    return heard.length > 0;
  }, { what: "a message on the new connection" });
});

Deno.test("whatever a server answers to a call, the call fails with an error of ours and the next one works", async () => {
  await using server = await startRedis();
  for (const answer of ANSWERS) {
    await using proxy = startProxy(server.port);
    await using opened = await openQueue(atPort(server.url, proxy.port));
    const { queue } = opened;
    const own = crew();
    await register(queue, own);
    // A text that is in the answer to the call alone.
    const id = await queue.open();
    proxy.rewrite(`$${id.length}\r\n${id}\r\n`, `${answer}\r\n`);
    const outcome = await within(queue.open().then(() => "opened", (error) => error), {
      what: `the outcome of a call that is answered ${answer}`,
    });
    assertTrue(outcome === "opened" || outcome instanceof AgentexecError, `${answer}: ${outcome}`);
    proxy.restore();
    assertEquals(await waitFor(() => queue.open(), { what: "an answer" }), id);
    await claim(queue, own.workerIds[0]);
  }
});

Deno.test("a connection for commands that gets what is no answer is made anew", async () => {
  await using server = await startRedis();
  await using proxy = startProxy(server.port);
  await using opened = await openQueue(atPort(server.url, proxy.port));
  const before = proxy.connections;
  const id = await opened.queue.open();
  proxy.rewrite(id, "x\r\n?\r\n+OK\r\n");
  await assertRejects(() => opened.queue.open(), AgentexecError);
  proxy.restore();
  assertEquals(await waitFor(() => opened.queue.open(), { what: "an answer" }), id);
  assertTrue(proxy.connections > before);
});
