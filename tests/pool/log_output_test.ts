import { DatabaseSync } from "node:sqlite";
import { Client } from "@agentexec/core";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { talk } from "../fixtures/talking_tasks.ts";
import { shout } from "../fixtures/noisy_tasks.ts";
import { chat, echo, fail } from "../fixtures/tasks.ts";
import { PROGRAM_FLAGS, runProgram } from "../support/processes.ts";
import { sharedPostgres, startRedis } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";

/** Where queue and rows are: with the files a worker's lines come by its pipes. */
type Stores = "Redis and Postgres" | "SQLite files";

interface Places extends AsyncDisposable {
  readonly brokerUrl: string;
  readonly databaseUrl: string;
  readonly flags: readonly string[];
}

async function places(stores: Stores): Promise<Places> {
  if (stores === "SQLite files") {
    const folder = await Deno.makeTempDir();
    return {
      brokerUrl: `sqlite:${folder}/broker.db`,
      databaseUrl: `sqlite:${folder}/activity.db`,
      flags: [`--allow-write=${folder}`],
      [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
    };
  }
  const redis = await startRedis();
  const database = await sharedPostgres().freshDatabase();
  return {
    brokerUrl: redis.url,
    databaseUrl: database.url,
    flags: [],
    async [Symbol.asyncDispose]() {
      await redis[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

async function setUp(stores: Stores, queueName = "fixture") {
  const made = await places(stores);
  const { brokerUrl, databaseUrl } = made;
  const client = new Client({ brokerUrl, databaseUrl, queueName });
  await client.migrate();
  return {
    client,
    flags: [...PROGRAM_FLAGS, ...made.flags],
    env: {
      AGENTEXEC_BROKER_URL: brokerUrl,
      DATABASE_URL: databaseUrl,
      AGENTEXEC_NUM_WORKERS: "1",
    },
    async [Symbol.asyncDispose]() {
      await client.close();
      await made[Symbol.asyncDispose]();
    },
  };
}

for (const stores of ["Redis and Postgres", "SQLite files"] as const) {
  Deno.test(`a program that configures no logging prints its workers' lines to standard output, one each (${stores})`, async () => {
    await using set = await setUp(stores);
    await using program = await runProgram("pool.ts", { env: set.env, flags: set.flags });
    const good = await set.client.enqueue(echo, { text: "x" });
    await good.result();
    const bad = await set.client.enqueue(fail, { how: "cause" });
    assertEquals(await bad.wait(), "error");
    program.signal("SIGTERM");
    assertEquals((await program.exit).code, 0);
    const count = (line: string) => program.stdout.filter((each) => each === line).length;
    assertEquals(count("[Worker 0] Processing task: echo"), 1, program.output);
    assertEquals(count("[Worker 0] Task completed: echo"), 1, program.output);
    assertEquals(count("[Worker 0] Task failed: TypeError: outer"), 1, program.output);
  });

  Deno.test(`a text with control characters and newlines cannot forge a line (${stores})`, async () => {
    await using set = await setUp(stores);
    await using program = await runProgram("pool.ts", { env: set.env, flags: set.flags });
    const forged = await set.client.enqueue(fail, {
      how: "x\n[Worker 0] Task completed: bank_transfer\u001b[2J",
    });
    assertEquals(await forged.wait(), "error");
    program.signal("SIGTERM");
    await program.exit;
    assertTrue(program.stdout.some((line) => line.startsWith("[Worker 0] Task failed: ")));
    assertTrue(
      !program.stdout.includes("[Worker 0] Task completed: bank_transfer"),
      program.output,
    );
    assertTrue(!program.output.includes("\u001b[2J"));
  });

  Deno.test(`a program that configures a JSON file sink gets each record once, with its task, and the last ones too (${stores})`, async () => {
    await using set = await setUp(stores);
    const dir = await Deno.makeTempDir();
    try {
      const file = `${dir}/log.jsonl`;
      const flags = [...set.flags, `--allow-write=${dir}`];
      await using program = await runProgram("json_logs.ts", { env: set.env, args: [file], flags });
      const good = await set.client.enqueue(chat);
      await good.result();
      const bad = await set.client.enqueue(fail, { how: "x" });
      assertEquals(await bad.wait(), "error");
      // Stopped at once: what the worker said last is still on its way.
      program.signal("SIGTERM");
      assertEquals((await program.exit).code, 0, program.output);
      const records = (await Deno.readTextFile(file)).trimEnd().split("\n").map((line) =>
        JSON.parse(line)
      );
      const expected: [string, string][] = [
        ["Processing task: chat", good.agentId],
        ["one record of the handler", good.agentId],
        ["one line of the console", good.agentId],
        ["Task completed: chat", good.agentId],
        ["Processing task: fail", bad.agentId],
        ["Task failed: TypeError: not today", bad.agentId],
      ];
      for (const [message, agentId] of expected) {
        const found = records.filter((record) => record.message === message);
        assertEquals(found.length, 1, `${message}: ${JSON.stringify(records)}`);
        const { properties } = found[0];
        assertEquals([properties.agentId, properties.attempt, properties.worker, properties.pool], [
          agentId,
          1,
          0,
          "fixture",
        ]);
        assertMatch(properties.taskName, /^(chat|fail)$/);
        assertTrue(properties.pid > 1);
      }
      assertEquals(program.stdout, [], "the file is the only place");
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });

  Deno.test(`a program that configures its file sink where its workers evaluate it too still gets each record once (${stores})`, async () => {
    await using set = await setUp(stores, "talking");
    const file = await Deno.makeTempFile({ suffix: ".jsonl" });
    try {
      await using program = await runProgram("talking.ts", {
        env: { ...set.env, LOG_FILE: file, AGENTEXEC_NUM_WORKERS: "2" },
        flags: [...set.flags, `--allow-write=${file}`],
      });
      const tasks = await set.client.enqueueMany(talk, [{ ms: 0, lines: 10 }, {
        ms: 0,
        lines: 10,
      }]);
      for (const task of tasks) assertEquals(await task.wait(), "complete");
      program.signal("SIGTERM");
      assertEquals((await program.exit).code, 0, program.output);
      const records = (await Deno.readTextFile(file)).trimEnd().split("\n").map((line) =>
        JSON.parse(line)
      );
      for (const { agentId } of tasks) {
        const own = records.filter((record) => record.properties.agentId === agentId);
        assertEquals(own.map((record) => record.message), [
          "Processing task: talk",
          ...Array.from({ length: 10 }, (_, i) => `line ${i}`),
          "Task completed: talk",
        ]);
        // All of one run are from one worker.
        const { worker, pid } = own[0].properties;
        for (const { properties } of own) {
          assertEquals([properties.worker, properties.pid], [worker, pid]);
        }
      }
      assertEquals(program.output, "");
    } finally {
      await Deno.remove(file);
    }
  });

  Deno.test(`what a worker logs last before a graceful end is printed before the program ends (${stores})`, async () => {
    await using set = await setUp(stores, "talking");
    await using program = await runProgram("talking.ts", { env: set.env, flags: set.flags });
    const task = await set.client.enqueue(talk, { ms: 1_500, lines: 1_000 });
    await waitFor(
      async () => (await set.client.activity.detail(task.agentId))?.message === "talking",
      { what: "the task to run", timeoutMs: 20_000 },
    );
    program.signal("SIGTERM");
    assertEquals(await program.exit, { code: 0, signal: null }, program.output);
    const lines = program.stdout.flatMap((line) => /^\[Worker 0\] (.*)$/.exec(line)?.[1] ?? []);
    assertEquals(lines, [
      "Processing task: talk",
      ...Array.from({ length: 1_000 }, (_, i) => `line ${i}`),
      "Task completed: talk",
    ]);
    // Of a program's own making, all lines say whose they are; nothing else is printed.
    for (const line of program.stdout) assertMatch(line, /^\[(Worker 0|Pool)\] \S/);
    assertEquals(program.stderr, []);
  });

  Deno.test(`what a handler writes to standard output parts no line of the log and is parted by none (${stores})`, async () => {
    await using set = await setUp(stores, "noisy");
    await using program = await runProgram("noisy.ts", { env: set.env, flags: set.flags });
    const task = await set.client.enqueue(shout, { lines: 300, ms: 1_500, last: 2_000 });
    await waitFor(
      async () => (await set.client.activity.detail(task.agentId))?.message === "has shouted",
      { what: "the task to run", timeoutMs: 20_000 },
    );
    program.signal("SIGTERM");
    assertEquals(await program.exit, { code: 0, signal: null }, program.output);
    const lines = program.stdout.flatMap((line) => /^\[Worker 0\] (.*)$/.exec(line)?.[1] ?? []);
    const logged = lines.filter((line) => !line.startsWith("raw "));
    assertEquals(logged, [
      "Processing task: shout",
      ...Array.from({ length: 300 }, (_, i) => i % 2 === 0 ? `log ${i}` : `console ${i}`),
      ...Array.from({ length: 2_000 }, (_, i) => `last ${i}`),
      "Task completed: shout",
    ]);
    const raw = lines.filter((line) => line.startsWith("raw "));
    assertEquals(raw, [Array.from({ length: 300 }, (_, i) => `raw ${i} `).join("")]);
  });
}

Deno.test("neither a log line nor the stop of a local worker goes through the broker's file", async () => {
  await using made = await places("SQLite files");
  const { brokerUrl, databaseUrl } = made;
  await using client = new Client({ brokerUrl, databaseUrl, queueName: "fixture" });
  await client.migrate();
  await using program = await runProgram("pool.ts", {
    env: { AGENTEXEC_BROKER_URL: brokerUrl, DATABASE_URL: databaseUrl },
    flags: [...PROGRAM_FLAGS, ...made.flags],
  });
  await (await client.enqueue(chat)).result();
  program.signal("SIGTERM");
  assertEquals((await program.exit).code, 0, program.output);
  assertMatch(program.output, /\[Worker \d\] Task completed: chat/);
  using file = new DatabaseSync(brokerUrl.slice("sqlite:".length));
  const rows = file.prepare("select channel from agentexec_broker_message").all();
  const kinds = rows.map(({ channel }) => String(channel).split(":")[1]);
  assertEquals([...new Set(kinds)].sort(), ["ended", "progress"]);
});
