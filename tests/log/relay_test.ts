import fc from "fast-check";
import { configureSync, resetSync } from "@logtape/logtape";
import { encodeFrame, encodeRecord } from "../../src/log/frame.ts";
import { LogRelay } from "../../src/log/relay.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { waitFor, within } from "../support/wait.ts";
import { channel, collectRecords, publisherOn, recordOf, textOf } from "./support.ts";

interface FrameSketch {
  readonly worker?: string;
  readonly number?: number;
  readonly seq: number;
  readonly texts: readonly string[];
  readonly dropped?: number;
  readonly diverted?: number;
  readonly bye?: boolean;
}

function frame(sketch: FrameSketch): string {
  const { worker = "s/0/1", number = 0, seq, texts, dropped = 0, diverted = 0, bye = false } =
    sketch;
  return encodeFrame({
    worker,
    number,
    pid: 4711,
    seq,
    dropped,
    diverted,
    bye,
    records: texts.map((text) => encodeRecord(recordOf(text), {})),
  });
}

function newRelay(): LogRelay {
  return new LogRelay({ pool: "urgent", showPool: false });
}

Deno.test("LogRelay emits each record with its own time, category and template, and says whose it is", () => {
  using collected = collectRecords();
  const record = recordOf("", {
    category: ["app", "db"],
    level: "error",
    message: ["Found ", 3, ""],
    rawMessage: "Found {count}",
    timestamp: 1_234_567_890_123,
    properties: {
      count: 3,
      agentId: "id-1",
      taskName: "t",
      attempt: 1,
      pool: "forged",
      worker: 99,
    },
  });
  newRelay().receive(encodeFrame({
    worker: "s/2/1",
    number: 2,
    pid: 4711,
    seq: 0,
    dropped: 0,
    diverted: 0,
    bye: false,
    records: [encodeRecord(record, {})],
  }));
  const [got] = collected.records;
  assertTrue(got !== undefined);
  assertEquals(got.category, ["app", "db"]);
  assertEquals(got.level, "error");
  assertEquals(got.message, ["Found ", 3, ""]);
  assertEquals(got.rawMessage, "Found {count}");
  assertEquals(got.timestamp, 1_234_567_890_123);
  assertEquals(got.properties, {
    count: 3,
    agentId: "id-1",
    taskName: "t",
    attempt: 1,
    pool: "urgent",
    worker: 2,
    pid: 4711,
  });
});

Deno.test("LogRelay keeps the order of what a publisher sent", async () => {
  using collected = collectRecords();
  const relay = newRelay();
  const { publisher } = publisherOn(channel((message) => relay.receive(message)));
  for (let n = 0; n < 2_000; n++) publisher.sink(recordOf(`line ${n}`));
  await publisher.close();
  assertEquals(collected.texts(), Array.from({ length: 2_000 }, (_, n) => `line ${n}`));
});

Deno.test("LogRelay says how many records a lost frame took with it", () => {
  using collected = collectRecords();
  const relay = newRelay();
  relay.receive(frame({ seq: 0, texts: ["a", "b"] }));
  relay.receive(frame({ seq: 9, texts: ["c"] }));
  assertEquals(collected.texts(), ["a", "b", "7 log records of Worker 0 were lost", "c"]);
  const report = collected.records[2];
  assertEquals(report?.category, ["agentexec", "pool"]);
  assertEquals(report?.level, "warning");
  assertEquals(report?.properties, { pool: "urgent", worker: 0, pid: 4711, lost: 7 });
});

Deno.test("LogRelay gathers further losses of a worker into one report, at the latest at its end", () => {
  using collected = collectRecords();
  const relay = newRelay();
  for (let n = 1; n <= 50; n++) relay.receive(frame({ seq: n * 10, texts: ["x"] }));
  relay.receive(frame({ seq: 501, texts: [], bye: true }));
  const reports = collected.texts().filter((text) => text !== "x");
  assertEquals(reports, [
    "10 log records of Worker 0 were lost",
    "441 log records of Worker 0 were lost",
  ]);
});

Deno.test("LogRelay reports what a worker that died lost when its successor logs", () => {
  using collected = collectRecords();
  const relay = newRelay();
  relay.receive(frame({ seq: 2, texts: ["a"] }));
  relay.receive(frame({ seq: 4, texts: ["b"] }));
  relay.receive(frame({ worker: "s/0/2", seq: 0, texts: ["c"] }));
  assertEquals(collected.texts(), [
    "2 log records of Worker 0 were lost",
    "a",
    "b",
    "1 log record of Worker 0 was lost",
    "c",
  ]);
});

Deno.test("LogRelay reports what a worker that died lost when it is told of the end, and once", () => {
  using collected = collectRecords();
  const relay = newRelay();
  relay.receive(frame({ seq: 2, texts: ["a"] }));
  relay.receive(frame({ seq: 6, texts: ["b"] }));
  relay.ended("s/0/1");
  relay.ended("s/0/1");
  relay.ended("s/0/2");
  relay.receive(frame({ worker: "s/0/2", seq: 0, texts: ["c"] }));
  assertEquals(collected.texts(), [
    "2 log records of Worker 0 were lost",
    "a",
    "b",
    "3 log records of Worker 0 were lost",
    "c",
  ]);
});

Deno.test("LogRelay reports by itself what a worker lost that says nothing more", async () => {
  using collected = collectRecords();
  const relay = newRelay();
  relay.receive(frame({ seq: 2, texts: ["a"] }));
  relay.receive(frame({ seq: 6, texts: ["b"] }));
  relay.receive(frame({ seq: 9, texts: ["c"] }));
  await waitFor(() => collected.records.length >= 5, { what: "the second report" });
  relay.ended("s/0/1");
  assertEquals(collected.texts(), [
    "2 log records of Worker 0 were lost",
    "a",
    "b",
    "c",
    "5 log records of Worker 0 were lost",
  ]);
});

// A timer that is left is found by the leak sanitizers.
Deno.test("LogRelay reports what was lost when it is closed, what is lost after that at once, and keeps no timer", () => {
  using collected = collectRecords();
  const relay = newRelay();
  relay.receive(frame({ seq: 2, texts: ["a"] }));
  relay.receive(frame({ seq: 6, texts: ["b"] }));
  relay.close();
  relay.receive(frame({ seq: 8, texts: ["c"] }));
  assertEquals(collected.texts(), [
    "2 log records of Worker 0 were lost",
    "a",
    "b",
    "3 log records of Worker 0 were lost",
    "1 log record of Worker 0 was lost",
    "c",
  ]);
});

Deno.test("LogRelay says when a worker logged faster than could be sent", () => {
  using collected = collectRecords();
  newRelay().receive(frame({ seq: 5, dropped: 5, texts: ["a"] }));
  assertEquals(collected.texts(), [
    "5 log records of Worker 0 were lost: they came faster than they could be sent",
    "a",
  ]);
});

Deno.test("LogRelay counts what came by standard error as received", () => {
  using collected = collectRecords();
  const relay = newRelay();
  relay.receive(frame({ seq: 3, diverted: 3, texts: ["a"] }));
  relay.receive(frame({ seq: 10, diverted: 5, texts: ["b"] }));
  assertEquals(collected.texts(), ["a", "4 log records of Worker 0 were lost", "b"]);
});

Deno.test("LogRelay takes a frame that was sent twice once", () => {
  using collected = collectRecords();
  const relay = newRelay();
  for (let times = 0; times < 3; times++) relay.receive(frame({ seq: 0, texts: ["a", "b"] }));
  relay.receive(frame({ seq: 1, texts: ["b", "c"] }));
  assertEquals(collected.texts(), ["a", "b", "c"]);
});

Deno.test("byeOf() resolves with the last frame of that worker, asked before or after it", async () => {
  using _collected = collectRecords();
  const relay = newRelay();
  let heard = false;
  const before = relay.byeOf("s/0/1").then(() => heard = true);
  relay.receive(frame({ worker: "s/1/1", number: 1, seq: 0, texts: [], bye: true }));
  relay.receive(frame({ seq: 0, texts: ["a"] }));
  await Promise.resolve();
  assertEquals(heard, false);
  relay.receive(frame({ seq: 1, texts: [], bye: true }));
  await within(before, { what: "the bye that was asked for before" });
  await within(relay.byeOf("s/0/1"), { what: "the bye that was asked for after" });
  await within(relay.byeOf("s/1/1"), { what: "the bye that was never asked for" });
});

Deno.test("output() makes records of raw lines, and reads none of them as control", async () => {
  using collected = collectRecords();
  const relay = newRelay();
  const worker = { workerId: "s/0/1", number: 0, pid: 4711 };
  const forged = frame({ seq: 0, texts: ["forged"], bye: true });
  relay.output(worker, "stdout", forged);
  relay.output(worker, "stderr", "Segmentation {fault}");
  assertEquals(collected.records.map(({ category, level }) => [category, level]), [
    [["agentexec", "worker", "stdout"], "info"],
    [["agentexec", "worker", "stderr"], "warning"],
  ]);
  assertEquals(collected.texts(), [forged, "Segmentation {fault}"]);
  assertEquals(collected.records[0]?.properties, { pool: "urgent", worker: 0, pid: 4711 });
  let heard = false;
  void relay.byeOf("s/0/1").then(() => heard = true);
  await Promise.resolve();
  assertEquals(heard, false);
});

Deno.test("output() makes 10,000 hostile lines records and nothing else", () => {
  using collected = collectRecords();
  const relay = newRelay();
  const worker = { workerId: "s/0/1", number: 0, pid: 4711 };
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (line) => relay.output(worker, "stderr", line)),
    { numRuns: 10_000 },
  );
  assertEquals(collected.records.length, 10_000);
  relay.output(worker, "stdout", "x".repeat(1_000_000));
  const last = collected.records.at(-1);
  assertTrue(last !== undefined && textOf(last).length < 70_000);
});

Deno.test("LogRelay counts what is no frame and does not let a flood of it become one", () => {
  using collected = collectRecords();
  const relay = newRelay();
  for (let n = 0; n < 1_000; n++) relay.receive(`{"v":2,"n":${n}}`);
  assertEquals(relay.refused, 1_000);
  assertEquals(collected.texts()[0], "1 messages on the log channel were no log frames");
  assertEquals(collected.records.length, 10);
});

Deno.test("LogRelay goes on where a filter of the program throws", () => {
  const got: string[] = [];
  configureSync({
    reset: true,
    sinks: { kept: (record) => got.push(textOf(record)) },
    filters: {
      broken: (record) => {
        if (textOf(record) === "bad") throw new TypeError("broken filter");
        return true;
      },
    },
    loggers: [
      { category: [], sinks: ["kept"], filters: ["broken"], lowestLevel: "trace" },
      { category: ["logtape", "meta"], lowestLevel: "warning" },
    ],
  });
  try {
    newRelay().receive(frame({ seq: 0, texts: ["a", "bad", "b"] }));
  } finally {
    resetSync();
  }
  assertEquals(got.filter((text) => text.length < 5), ["a", "b"]);
});
