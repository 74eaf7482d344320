import { v7 as uuid } from "uuid";
import { Client } from "@agentexec/core";
import { openBroker } from "../../src/broker/open_broker.ts";
import { parseBrokerUrl, parseDatabaseUrl } from "../../src/addresses.ts";
import { activityMessages } from "../../src/config.ts";
import { encodeBootRecord, STOP_LINE, type WorkerScope } from "../../src/process/handshake.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { reach, rights } from "../fixtures/tasks.ts";
import { runCommand } from "../support/processes.ts";
import { sharedPostgres, startRedis } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";

/**
 * A worker as a compiled program starts it: the program itself, under the permissions that it was compiled with, here
 * those of `deno run`; the test is its supervisor.
 */
async function startCompiled(
  options: { flags: string[]; scope: (stores: string[]) => WorkerScope },
) {
  const redis = await startRedis();
  const database = await sharedPostgres().freshDatabase();
  const client = new Client({
    brokerUrl: redis.url,
    databaseUrl: database.url,
    queueName: "fixture",
  });
  await client.migrate();
  const broker = openBroker(parseBrokerUrl({ value: redis.url, source: "test" }));
  await broker.connect();
  const queue = broker.queue("fixture");
  await queue.open();
  const supervisorId = uuid();
  const workerId = `${supervisorId}/0/0`;
  await queue.renew({ supervisorId, workerIds: [workerId], leaseMs: 30_000 });
  const stores = [new URL(redis.url).host, new URL(database.url).host];
  const program = await new Deno.Command("deno", {
    args: [
      "run",
      "--no-prompt",
      "--allow-env",
      ...options.flags,
      new URL("../fixtures/pool.ts", import.meta.url).pathname,
    ],
    env: { AGENTEXEC_WORKER: "1", NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stdin = program.stdin.getWriter();
  const say = (line: string) => stdin.write(new TextEncoder().encode(`${line}\n`));
  const database_ = parseDatabaseUrl({ value: database.url, source: "test" });
  await say(encodeBootRecord({
    v: 1,
    supervisorId,
    workerId,
    number: 0,
    pool: "fixture",
    queueName: "fixture",
    tasks: [reach.name, rights.name],
    broker: parseBrokerUrl({ value: redis.url, source: "test" }),
    database: database_,
    tablePrefix: "agentexec_",
    messages: activityMessages(),
    concurrency: 1,
    databasePoolSize: 2,
    leaseMs: 30_000,
    connectMs: 30_000,
    maxResultBytes: 1_048_576,
    storeContext: true,
    ungranted: [],
    channel: { kind: "broker" },
    scope: options.scope(stores),
    narrows: true,
  }));
  const output = program.output();
  return {
    client,
    netOfStores: stores,
    /** What it wrote until it ended. */
    async end() {
      await say(STOP_LINE).catch(() => {});
      const { code, stderr } = await output;
      return { code, stderr: new TextDecoder().decode(stderr) };
    },
    async [Symbol.asyncDispose]() {
      await stdin.close().catch(() => {});
      await output;
      await client.close();
      await broker.close();
      await redis[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a compiled worker gives up a kind that its pool does not mention", async () => {
  await using worker = await startCompiled({
    flags: ["--allow-net", "--allow-sys", "--allow-run"],
    scope: () => ({ net: true, env: true }),
  });
  const task = await worker.client.enqueue(rights, {
    queries: [{ name: "sys" }, { name: "run" }, { name: "net" }],
  });
  const states = await task.result();
  assertEquals(states.map((state) => state === "granted"), [false, false, true]);
  assertEquals((await worker.end()).code, 0);
});

Deno.test("a compiled worker keeps the lists that it was compiled with, and nothing beyond them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/in.txt`, "inside");
    await using worker = await startCompiled({
      flags: ["--allow-net=127.0.0.1", `--allow-read=${dir}`],
      scope: (stores) => ({ net: stores, env: true, read: [dir] }),
    });
    const inside = await worker.client.enqueue(reach, { what: "read", where: `${dir}/in.txt` });
    assertEquals(await inside.result(), "inside");
    const outside = await worker.client.enqueue(reach, { what: "read", where: "/etc/passwd" });
    assertEquals(await outside.wait(), "error");
    assertEquals((await worker.end()).code, 0);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a compiled worker refuses to start when the binary may do more than its pool's list", async () => {
  await using worker = await startCompiled({
    flags: ["--allow-net=127.0.0.1", "--allow-read"],
    scope: (stores) => ({ net: stores, env: true, read: ["/data"] }),
  });
  const { code, stderr } = await worker.end();
  assertEquals(code, 1);
  assertMatch(stderr, /compiled with all of 'read'.*compile with --allow-read=\/data/s);
});

Deno.test("a compiled worker refuses to start when the binary may do less than its pool's list", async () => {
  await using worker = await startCompiled({
    flags: ["--allow-net=127.0.0.1", "--allow-read=/data"],
    scope: (stores) => ({ net: stores, env: true, read: ["/data", "/srv/more"] }),
  });
  const { code, stderr } = await worker.end();
  assertEquals(code, 1);
  assertMatch(stderr, /Cannot grant 'read' for \/srv\/more/);
});

Deno.test("deno task compile embeds the whole program, and names DENORT_BIN where there is no base binary", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const tool = new URL("../../tools/compile.ts", import.meta.url).pathname;
    const fixture = new URL("../fixtures/pool.ts", import.meta.url).pathname;
    const compile = (denort: string) =>
      runCommand([
        "deno",
        "run",
        ...["--allow-read", "--allow-write", "--allow-env=DENORT_BIN", "--allow-run=deno"],
        tool,
        fixture,
        `${dir}/worker`,
      ], {
        env: { DENORT_BIN: denort },
      });
    await using missing = await compile(`${dir}/no-such-file`);
    assertEquals((await missing.exit).code, 1);
    assertMatch(missing.output, /Cannot compile: .*DENORT_BIN, which is '.*no-such-file' now/s);
    await using done = await compile(Deno.execPath());
    assertEquals((await done.exit).code, 0, done.output);
    const { size } = await waitFor(() => Deno.stat(`${dir}/worker`), { what: "the binary" });
    assertTrue(size > 1_000_000);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
