import {
  AgentexecError,
  ConfigError,
  ConnectionError,
  MigrationError,
  Pool,
  StartError,
} from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { fixture, makePool, recordLogs } from "../support/pools.ts";

const bad: [string, string, RegExp][] = [
  [
    "throws while it is evaluated",
    "bad/throws.ts",
    /ended before it was ready[\s\S]*runs in every worker[\s\S]*thrown at import/,
  ],
  [
    "declares no pool of that name",
    "bad/other_pool.ts",
    /declares no pool of that name in the workers, it declares 'another'/,
  ],
  [
    "declares another queue",
    "bad/other_queue.ts",
    /its queue is 'fixture', but .* declares it with queue 'elsewhere'/,
  ],
  ["acts before it declares its tasks", "bad/acts_early.ts", /declared after acts_early\.ts:\d+/],
  [
    "needs code that nobody fetched",
    "bad/uncached.ts",
    /fetch the code before: deno install --config \S+deno\.json --entrypoint \S+uncached\.ts/,
  ],
  [
    "lacks a permission while it is evaluated",
    "bad/reads.ts",
    /ended before it was ready[\s\S]*Requires read access/,
  ],
];

for (const [what, file, pattern] of bad) {
  Deno.test(`start rejects, and leaves no worker, when the entrypoint ${what}`, async () => {
    await using _ = await recordLogs();
    await using made = await makePool({ entrypoint: fixture(file) });
    made.pool.task("first", () => "first");
    const error = await assertRejects(() => made.pool.start(), StartError);
    assertMatch(error.message, pattern);
    assertEquals(made.pool.workers, []);
  });
}

Deno.test("start rejects when the entrypoint serves for ever, and says what runs in every worker", async () => {
  await using _ = await recordLogs();
  await using made = await makePool({
    entrypoint: fixture("bad/serves.ts"),
    startTimeout: { seconds: 2 },
  });
  const error = await assertRejects(() => made.pool.start(), StartError);
  assertMatch(
    error.message,
    /Worker 0 not ready within startTimeout \(2 s\)[\s\S]*import\.meta\.main/,
  );
});

Deno.test("start names the limit when the broker stays away, with the password hidden", async () => {
  await using _ = await recordLogs();
  const pool = new Pool({
    name: "unreachable",
    brokerUrl: "redis://user:hunter2@127.0.0.1:1",
    databaseUrl: "sqlite:/tmp/agentexec-unreachable.db",
    connectTimeout: { milliseconds: 600 },
  });
  const error = await assertRejects(() => pool.start(), ConnectionError);
  assertMatch(error.message, /redis:\/\/user:\*\*\*@127\.0\.0\.1:1.*connectTimeout/s);
  assertEquals(error.message.includes("hunter2"), false);
  await pool.close();
  await Deno.remove("/tmp/agentexec-unreachable.db").catch(() => {});
});

Deno.test("start refuses a database that has not been migrated, and says what to call", async () => {
  await using _ = await recordLogs();
  await using made = await makePool();
  const fresh = new Pool({
    name: "unmigrated",
    queueName: "fixture",
    brokerUrl: made.redis.url,
    databaseUrl: made.databaseUrl,
    tablePrefix: "other_",
    entrypoint: fixture("pool.ts"),
  });
  const error = await assertRejects(() => fresh.start(), MigrationError);
  assertMatch(error.message, /pool\.migrate\(\)/);
  await fresh.close();
});

Deno.test("options that cannot work are refused when the pool is made, by name and value", () => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ numWorkers: 0 }, /numWorkers.*from 1.*0/],
    [{ numWorkers: -1 }, /numWorkers.*-1/],
    [{ numWorkers: NaN }, /numWorkers.*NaN/],
    [{ concurrency: 1.5 }, /concurrency.*1\.5/],
    [{ queueName: "a b" }, /"a b".*queue/],
    [{ name: "constructor" }, /"constructor".*pool/],
    [{ name: "__proto__" }, /"__proto__".*pool/],
    [{ gracefulShutdownTimeout: 5 }, /gracefulShutdownTimeout.*\{ seconds: 5 \}/],
    [{ gracefulShutdownTimeout: { seconds: -1 } }, /gracefulShutdownTimeout.*seconds.*-1/],
    [{ lease: { milliseconds: 1 } }, /lease.*at least/],
    [{ denoArgs: ["--allow-all"] }, /denoArgs.*--allow-all.*permissions/],
    [{ denoArgs: ["--permission-set=all"] }, /denoArgs.*--permission-set=all.*permissions/],
    [{ interrupted: "drop" }, /interrupted.*"requeue" or "cancel".*"drop"/],
    [{ workers: 3 }, /unknown option 'workers', expected one of brokerUrl/],
    [{ brokerHosts: ["nowhere"] }, /brokerHosts.*host:port.*"nowhere"/],
    [{ tablePrefix: "a-b" }, /tablePrefix.*"a-b"/],
  ];
  for (const [options, pattern] of cases) {
    const error = assertThrows(() => new Pool({ name: "options", ...options } as never), Error);
    assertMatch(error.message, pattern);
  }
});

Deno.test("addresses that cannot be used are refused with the source, the masked value and what is allowed", async () => {
  const cases: [Record<string, string>, RegExp][] = [
    [{ brokerUrl: "amqp://u:secret@h" }, /brokerUrl.*amqp:\/\/u:\*\*\*@h.*rediss:/],
    [{ brokerUrl: "not a url secret" }, /brokerUrl.*redis:/],
    [{ databaseUrl: "sqlite::memory:" }, /databaseUrl.*file/],
    [{ databaseUrl: "mysql://u:secret@h/d" }, /databaseUrl.*mysql:\/\/u:\*\*\*@h\/d.*postgres:/],
  ];
  for (const [urls, pattern] of cases) {
    const error = await assertRejects(async () => {
      const pool = new Pool({
        name: "addresses",
        brokerUrl: "redis://127.0.0.1:1",
        databaseUrl: "sqlite:/tmp/agentexec-addresses.db",
        ...urls,
      });
      try {
        await pool.start();
      } finally {
        await pool.close();
      }
    }, ConfigError);
    assertMatch(error.message, pattern);
    assertEquals(error.message.includes("secret"), false);
  }
});

Deno.test("two pools of one name, two tasks of one name, and a task after the start are refused", async () => {
  await using _ = await recordLogs();
  await using made = await makePool();
  const { pool } = made;
  assertThrows(() => new Pool({ name: "fixture" }), ConfigError);
  pool.task("echo", () => 1);
  assertMatch(
    assertThrows(() => pool.task("echo", () => 2), AgentexecError).message,
    /has a task of that name/,
  );
  await pool.start();
  assertMatch(
    assertThrows(() => pool.task("late", () => 3), AgentexecError).message,
    /has started/,
  );
});
