import { Buffer } from "node:buffer";
import { getLogger, type LogRecord } from "@logtape/logtape";
import fc from "fast-check";
import {
  decodeFrame,
  decodeRecord,
  encodeFrame,
  encodeRecord,
  MAX_RECORD_BYTES,
} from "../../src/log/frame.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { collectRecords, recordOf, textOf } from "./support.ts";

const HEAD = { worker: "s/0/1", number: 0, pid: 7, seq: 3, dropped: 0, diverted: 0, bye: false };

function frameOf(...records: LogRecord[]): string {
  return encodeFrame({ ...HEAD, records: records.map((record) => encodeRecord(record, {})) });
}

/** What `log` makes LogTape emit, and what is left of it on the other side. */
function overTheWire(log: () => void): { readonly sent: LogRecord; readonly got: LogRecord } {
  using collected = collectRecords();
  log();
  const [sent] = collected.records;
  assertTrue(sent !== undefined);
  const got = decodeRecord(encodeRecord(sent, {}));
  assertTrue(got !== undefined);
  return { sent, got };
}

Deno.test("a frame comes back as it was sent", () => {
  const record = recordOf("hello", { properties: { company: "Acme" }, level: "warning" });
  assertEquals(decodeFrame(frameOf(record)), { ...HEAD, records: [record] });
  assertEquals(
    decodeFrame(encodeFrame({ ...HEAD, dropped: 2, diverted: 5, bye: true, records: [] })),
    { ...HEAD, dropped: 2, diverted: 5, bye: true, records: [] },
  );
});

Deno.test("a record keeps its template, its values and its properties, not only its text", () => {
  const { sent, got } = overTheWire(() =>
    getLogger(["app", "db"]).warn("Found {count} of {what}", { count: 3, what: { kind: "x" } })
  );
  assertEquals(got.message, sent.message);
  assertEquals(got.rawMessage, "Found {count} of {what}");
  assertEquals(got.properties, { count: 3, what: { kind: "x" } });
  assertEquals(got.category, ["app", "db"]);
  assertEquals(got.timestamp, sent.timestamp);
});

Deno.test("a record made by a template literal keeps its strings", () => {
  const { got } = overTheWire(() => getLogger("app").info`Found ${3} of ${"x"}`);
  assertEquals([...got.rawMessage], ["Found ", " of ", ""]);
  assertEquals([...(got.rawMessage as TemplateStringsArray).raw], ["Found ", " of ", ""]);
  assertEquals(got.message, ["Found ", 3, " of ", "x", ""]);
});

Deno.test("encodeRecord() bears with a message and properties that throw when they are read", () => {
  const record = recordOf("x");
  const trap = (key: string) =>
    Object.defineProperty({ ...record }, key, {
      get() {
        throw new TypeError("trap");
      },
    });
  const message = decodeRecord(encodeRecord(trap("message"), {}));
  assertEquals(message && textOf(message), "[log message that could not be made: trap]");
  const properties = decodeRecord(encodeRecord(trap("properties"), { agentId: "a" }));
  assertEquals(properties?.properties, {
    problem: "[properties that could not be made: trap]",
    agentId: "a",
  });
});

Deno.test("encodeRecord() keeps the facts of the run over what the program says", () => {
  const record = recordOf("x", { properties: { agentId: "forged", mine: "y".repeat(200_000) } });
  const got = decodeRecord(encodeRecord(record, { agentId: "true" }));
  assertEquals(got?.properties["agentId"], "true");
});

Deno.test("encodeRecord() stays within its bytes, also where each character takes six", () => {
  for (const text of ["x", "漢", "\u0000", "\u001b", "👩"]) {
    const record = recordOf(text.repeat(200_000), { properties: { a: text.repeat(200_000) } });
    const json = encodeRecord(record, { agentId: "a" });
    assertTrue(Buffer.byteLength(json) <= MAX_RECORD_BYTES, text);
    assertTrue(decodeRecord(json) !== undefined, text);
  }
});

Deno.test("decodeFrame() refuses another version, wrong types, too much, and what is no JSON", () => {
  const good: Record<string, unknown> = JSON.parse(frameOf(recordOf("x")));
  const record = (good["records"] as Record<string, unknown>[])[0];
  const bad: unknown[] = [
    { ...good, v: 2 },
    { ...good, v: undefined },
    { ...good, worker: "" },
    { ...good, worker: "w".repeat(300) },
    { ...good, number: -1 },
    { ...good, pid: "7" },
    { ...good, seq: 1.5 },
    { ...good, dropped: null },
    { ...good, bye: "yes" },
    { ...good, records: {} },
    { ...good, records: [null] },
    { ...good, records: [{ ...record, level: "loud" }] },
    { ...good, records: [{ ...record, category: "app" }] },
    { ...good, records: [{ ...record, category: [1] }] },
    { ...good, records: [{ ...record, message: [] }] },
    { ...good, records: [{ ...record, message: "x" }] },
    { ...good, records: [{ ...record, raw: 5 }] },
    { ...good, records: [{ ...record, properties: [] }] },
    { ...good, records: [{ ...record, timestamp: "now" }] },
    [],
    null,
    "text",
  ];
  for (const each of bad) assertEquals(decodeFrame(JSON.stringify(each)), undefined);
  for (const text of ["", "{", "READY", "[".repeat(500_000), `"${"x".repeat(1024 * 1024)}"`]) {
    assertEquals(decodeFrame(text), undefined);
  }
  assertEquals(decodeFrame(JSON.stringify({ ...good, filler: "漢".repeat(400_000) })), undefined);
});

Deno.test("decodeFrame() never throws, whatever is received", () => {
  const key = fc.constantFrom(
    "v",
    "worker",
    "number",
    "pid",
    "seq",
    "records",
    "dropped",
    "bye",
    "~",
  );
  const inner = fc.dictionary(
    fc.constantFrom("level", "category", "message", "raw", "properties", "timestamp", "~", "value"),
    fc.oneof(fc.constantFrom("info", "error", "bigint", "date"), fc.jsonValue()),
  );
  const almost = fc.record({
    v: fc.constant(1),
    worker: fc.oneof(fc.constant("s/0/1"), fc.jsonValue()),
    number: fc.oneof(fc.nat(), fc.jsonValue()),
    pid: fc.nat(),
    seq: fc.oneof(fc.nat(), fc.double()),
    records: fc.array(inner),
  });
  const anything = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.dictionary(key, fc.jsonValue()).map((value) => JSON.stringify(value)),
    almost.map((value) => JSON.stringify(value)),
    fc.tuple(fc.nat(400), fc.string()).map(([at, text]) => {
      const good = frameOf(recordOf("x"));
      return good.slice(0, at) + text + good.slice(at + text.length);
    }),
  );
  fc.assert(
    fc.property(anything, (message) => {
      const frame = decodeFrame(message);
      assertTrue(frame === undefined || Array.isArray(frame.records));
    }),
    { numRuns: 10_000 },
  );
});
