import { configure, getLogger, reset, withContext } from "@logtape/logtape";
import { captureConsole, takeOverLogging } from "../../src/log/capture.ts";
import { decodeFrame } from "../../src/log/frame.ts";
import { runAsCurrentTask } from "../../src/task/current.ts";
import type { TaskRun } from "../../src/task/context.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { runProgram } from "../support/processes.ts";
import { type Channel, channel, collectRecords, publisherOn, textOf } from "./support.ts";

const RUN = { taskName: "research", agentId: "id-1", attempt: 1 } as TaskRun;

function recordsIn({ frames }: Channel) {
  return frames.flatMap((frame) => decodeFrame(frame)?.records ?? []);
}

Deno.test("takeOverLogging() forwards every logger at every level, over the program's configuration", async () => {
  const own: string[] = [];
  await configure({
    sinks: { own: (record) => own.push(textOf(record)) },
    loggers: [
      { category: ["app"], sinks: ["own"], lowestLevel: "error" },
      { category: ["logtape", "meta"], lowestLevel: "warning" },
    ],
  });
  const wire = channel();
  const { publisher } = publisherOn(wire);
  await takeOverLogging(publisher);
  try {
    getLogger(["app"]).trace("trace {n}", { n: 1 });
    getLogger(["library", "deep"]).fatal("fatal");
    await publisher.close();
  } finally {
    await reset();
  }
  assertEquals(own, []);
  assertEquals(
    recordsIn(wire).map(({ category, level, properties }) => [category, level, properties]),
    [[["app"], "trace", { n: 1 }], [["library", "deep"], "fatal", {}]],
    "and LogTape's own announcement of a configuration is not among them",
  );
});

Deno.test("takeOverLogging() bears a sink of the program that fails when it is disposed of", async () => {
  const failing = Object.assign(() => {}, {
    [Symbol.dispose]: () => {
      throw new TypeError("cannot close");
    },
  });
  await configure({
    sinks: { failing },
    loggers: [{ category: [], sinks: ["failing"] }, { category: ["logtape", "meta"] }],
  });
  const wire = channel();
  const { publisher } = publisherOn(wire);
  await takeOverLogging(publisher);
  try {
    await publisher.close();
  } finally {
    await reset();
  }
  const texts = recordsIn(wire).map(textOf);
  assertEquals(texts.length, 1);
  assertMatch(texts[0] ?? "", /^A sink that the program had configured failed: .*cannot close/);
});

Deno.test("takeOverLogging() lets a handler use LogTape's contexts, and the run's facts stay true", async () => {
  const wire = channel();
  const { publisher } = publisherOn(wire);
  await takeOverLogging(publisher);
  try {
    runAsCurrentTask(RUN, () => {
      withContext({ request: "r-1", agentId: "other" }, () => getLogger("app").info("inside"));
    });
    await publisher.close();
  } finally {
    await reset();
  }
  assertEquals(recordsIn(wire)[0]?.properties, { request: "r-1", ...RUN });
});

Deno.test("captureConsole() makes records of what console is told, and gives it back", () => {
  using collected = collectRecords();
  const before = { ...console };
  const restore = captureConsole();
  try {
    console.log("plain %s %d {brace}", "text", 5, { a: [1] });
    console.info("info");
    console.debug("debug");
    console.warn("warn");
    console.error(new TypeError("broke"));
    console.trace("here");
    console.dir({ a: 1 });
    console.table([{ a: 1 }]);
    console.group("outer");
    console.log("in\nside");
    console.groupEnd();
    console.assert(1 + 1 === 3, "arithmetic");
    console.count("c");
  } finally {
    restore();
  }
  const seen = collected.records.map((record) => [record.level, textOf(record)] as const);
  assertEquals(seen[0], ["info", "plain text 5 {brace} { a: [ 1 ] }"]);
  assertEquals(seen.slice(1, 4), [["info", "info"], ["debug", "debug"], ["warning", "warn"]]);
  assertEquals(seen[4]?.[0], "error");
  assertMatch(seen[4]?.[1] ?? "", /^TypeError: broke\n {4}at /);
  assertEquals(seen[5]?.[0], "trace");
  assertMatch(seen[5]?.[1] ?? "", /^Trace: here\n/);
  assertEquals(seen[6], ["info", "{ a: 1 }"]);
  assertMatch(seen[7]?.[1] ?? "", /│ 0 +│ 1 │/);
  assertEquals(seen.slice(8), [
    ["info", "outer"],
    ["info", "  in\n  side"],
    ["error", "Assertion failed: arithmetic"],
    ["info", "c: 1"],
  ]);
  for (const { category } of collected.records) assertEquals(category, ["agentexec", "console"]);
  for (const [name, method] of Object.entries(before)) {
    assertTrue(Reflect.get(console, name) === method, name);
  }
});

Deno.test("captureConsole() throws nothing at a program, whatever it prints", () => {
  using collected = collectRecords();
  const restore = captureConsole();
  try {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    console.log(proxy, "text");
    console.log({
      [Symbol.for("nodejs.util.inspect.custom")]: () => {
        throw new TypeError("trap");
      },
    });
    console.log();
  } finally {
    restore();
  }
  assertEquals(collected.records.length, 3);
});

Deno.test("captureConsole() is no endless loop where a sink of the program writes to console", async () => {
  const printed: unknown[] = [];
  const original = console.log;
  console.log = (...args: unknown[]) => printed.push(args);
  const restore = captureConsole();
  try {
    await configure({
      sinks: { console: (record) => console.log(textOf(record)) },
      loggers: [
        { category: [], sinks: ["console"] },
        { category: ["logtape", "meta"], lowestLevel: "warning" },
      ],
    });
    console.log("hello");
  } finally {
    await reset();
    restore();
    console.log = original;
  }
  assertEquals(printed, [["hello"]]);
});

Deno.test("what console is told below a handler carries the run", async () => {
  const wire = channel();
  const { publisher } = publisherOn(wire);
  await takeOverLogging(publisher);
  const restore = captureConsole();
  try {
    await runAsCurrentTask(RUN, async () => {
      await Promise.resolve();
      console.log("inside");
    });
    await publisher.close();
  } finally {
    restore();
    await reset();
  }
  assertEquals(recordsIn(wire).map(({ properties }) => properties), [{ ...RUN }]);
});

for (
  const [how, code] of [
    ["Deno.exit()", 7],
    ["an unhandled rejection", 1],
    ["an uncaught error", 1],
  ] as const
) {
  Deno.test(`a worker that ends by ${how} leaves its last lines on standard error`, async () => {
    const file = new URL("./fixtures/dying_worker.ts", import.meta.url);
    await using program = await runProgram(file, { args: [how] });
    assertEquals((await program.exit).code, code);
    assertEquals(program.stdout.filter((line) => line !== ""), []);
    assertEquals(program.stderr.filter((line) => line === "info: the last words").length, 1);
    if (code === 1) assertMatch(program.stderr.join("\n"), /boom/);
  });
}
