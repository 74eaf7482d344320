import { configureSync, getConfig, getLogger, type LogRecord, resetSync } from "@logtape/logtape";
import fc from "fast-check";
import { consoleSink, ensureDefaultConfig } from "../../src/log/console_sink.ts";
import { supervisorLogger } from "../../src/log/loggers.ts";
import { LogRelay } from "../../src/log/relay.ts";
import { declaredPools, declarePool } from "../../src/task/declared.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { runCommand, runProgram } from "../support/processes.ts";
import { channel, publisherOn, recordOf } from "./support.ts";

/** What the default sink writes of what `log` logs. */
function written(log: () => void, colour = false): string {
  let text = "";
  configureSync({
    reset: true,
    sinks: { console: consoleSink({ write: (line) => text += line, colour }) },
    loggers: [
      { category: [], sinks: ["console"], lowestLevel: "trace" },
      { category: ["logtape", "meta"], lowestLevel: "warning" },
    ],
  });
  try {
    log();
  } finally {
    resetSync();
  }
  return text;
}

function relayed(showPool: boolean, records: readonly LogRecord[]): () => Promise<void> {
  return async () => {
    const relay = new LogRelay({ pool: "urgent", showPool });
    const { publisher } = publisherOn(channel((message) => relay.receive(message)));
    for (const record of records) publisher.sink(record);
    await publisher.close();
  };
}

/** As {@linkcode written}, for what goes by a publisher and a relay. */
async function writtenOf(records: readonly LogRecord[], showPool = false): Promise<string> {
  let text = "";
  configureSync({
    reset: true,
    sinks: { console: consoleSink({ write: (line) => text += line, colour: false }) },
    loggers: [
      { category: [], sinks: ["console"], lowestLevel: "trace" },
      { category: ["logtape", "meta"], lowestLevel: "warning" },
    ],
  });
  try {
    await relayed(showPool, records)();
  } finally {
    resetSync();
  }
  return text;
}

Deno.test("the default sink writes a worker's lines as the worker's", async () => {
  assertEquals(
    await writtenOf([
      recordOf("Processing task: research_company"),
      recordOf("Task failed: TypeError: x", { level: "error" }),
      recordOf("said", { category: ["agentexec", "console"], level: "error" }),
      recordOf("noted", { category: ["agentexec", "task"], level: "warning" }),
      recordOf("queried", { category: ["app", "db"], level: "debug" }),
    ]),
    "[Worker 0] Processing task: research_company\n" +
      "[Worker 0] Task failed: TypeError: x\n" +
      "[Worker 0] said\n" +
      "[Worker 0] warning: noted\n" +
      "[Worker 0] app.db: queried\n",
  );
});

Deno.test("the default sink names the pool where there are several", async () => {
  assertEquals(
    await writtenOf([recordOf("Task completed: x")], true),
    "[urgent Worker 0] Task completed: x\n",
  );
});

Deno.test("the default sink writes the supervisor's own lines as the pool's, by name where there are two", () => {
  assertEquals(
    written(() => supervisorLogger("urgent").warn("careful")),
    "[Pool] warning: careful\n",
  );
  for (const name of ["urgent", "background"]) {
    if (!declaredPools().has(name)) declarePool({ name, queueName: name, tasks: new Map() });
  }
  assertEquals(written(() => supervisorLogger("urgent").info("hello")), "[urgent] hello\n");
});

Deno.test("the default sink writes the program's own loggers with their category", () => {
  assertEquals(written(() => getLogger(["app"]).error("broke")), "app: error: broke\n");
});

Deno.test("the default sink shows values in place, an error with its stack", () => {
  const text = written(() =>
    getLogger("app").info("{what} and {error}", { what: [1], error: new TypeError("x") })
  );
  assertMatch(text, /^app: \[ 1 \] and TypeError: x\n {4}/);
});

Deno.test("the default sink colours the level where it may, and nothing else is a control character", () => {
  const text = written(() => getLogger([]).warn("careful \u001b[2J"), true);
  assertEquals(text, "\u001b[33mwarning: careful \\u001b[2J\u001b[0m\n");
});

Deno.test("no text makes a line that begins like another worker's", async () => {
  const nasty = fc.array(
    fc.constantFrom("\n", "\r", "\u2028", "[Worker 1] ", "Task completed", "\u001b[1A"),
  );
  await fc.assert(
    fc.asyncProperty(nasty, nasty, async (text, category) => {
      const record = recordOf(text.join(""), { category: ["app", category.join("")] });
      const lines = (await writtenOf([record])).split("\n").slice(0, -1);
      assertTrue(lines[0]?.startsWith("[Worker 0] ") ?? false);
      assertTrue(lines.slice(1).every((line) => line.startsWith("    ")));
    }),
    { numRuns: 200 },
  );
});

Deno.test("ensureDefaultConfig() leaves a program's own configuration alone", async () => {
  configureSync({
    sinks: {},
    loggers: [{ category: ["logtape", "meta"], lowestLevel: "error" }],
  });
  const before = getConfig();
  try {
    const undo = await ensureDefaultConfig();
    assertEquals(getConfig() === before, true);
    await undo();
    assertEquals(getConfig() === before, true);
  } finally {
    resetSync();
  }
});

Deno.test("ensureDefaultConfig() is shared by pools and gone with the last of them", async () => {
  assertEquals(getConfig(), null);
  const undos = await Promise.all([ensureDefaultConfig(), ensureDefaultConfig()]);
  assertTrue(getConfig() !== null);
  await undos[0]?.();
  await undos[0]?.();
  assertTrue(getConfig() !== null, "the second still needs it");
  await undos[1]?.();
  assertEquals(getConfig(), null);
});

Deno.test("ensureDefaultConfig() undone leaves what the program has put in its place", async () => {
  const undo = await ensureDefaultConfig();
  configureSync({
    reset: true,
    sinks: {},
    loggers: [{ category: ["logtape", "meta"], lowestLevel: "error" }],
  });
  const own = getConfig();
  try {
    await undo();
    assertEquals(getConfig() === own, true);
  } finally {
    resetSync();
  }
});

function fixture(name: string): URL {
  return new URL(`./fixtures/${name}`, import.meta.url);
}

Deno.test("a program without LogTape configuration prints its workers' lines and ends by itself", async () => {
  await using program = await runProgram(fixture("supervisor.ts"), { args: ["default"] });
  await program.exit;
  assertEquals(program.stdout.filter((line) => line !== ""), [
    "[Pool] Starting",
    "[Worker 0] Processing task: research_company",
    "[Worker 0] Task completed: research_company",
    "[Worker 0] raw line",
  ]);
});

Deno.test("a program that configured a JSON sink gets each record once, and nothing else is printed", async () => {
  await using program = await runProgram(fixture("supervisor.ts"), { args: ["json"] });
  await program.exit;
  const records = program.stdout.filter((line) => line !== "").map((line) => JSON.parse(line));
  assertEquals(records.map(({ message }) => message), [
    "Starting",
    "Processing task: research_company",
    "Task completed: research_company",
    "raw line",
  ]);
  assertEquals(records[1].properties, {
    taskName: "research_company",
    agentId: "id-1",
    attempt: 1,
    pool: "pool",
    worker: 0,
    pid: 4711,
  });
});

/** Who has the other end of the program's standard output. */
const readers = { "is closed": "true", "nobody reads": "tail -f /dev/null" };

for (const [how, reader] of Object.entries(readers)) {
  Deno.test(`a program whose standard output ${how} goes on, its log notwithstanding`, async () => {
    const program = `deno run ${fixture("blocked_output.ts").pathname}`;
    await using pipeline = await runCommand(["sh", "-c", `${program} | ${reader}`]);
    await pipeline.waitForLine(/^the event loop went on$/);
    await pipeline.waitForLine(/^the configuration is taken back$/);
  });
}
