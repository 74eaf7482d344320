import { Buffer } from "node:buffer";
import { decodeFrame, MAX_FRAME_BYTES } from "../../src/log/frame.ts";
import { runAsCurrentTask } from "../../src/task/current.ts";
import type { TaskRun } from "../../src/task/context.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { waitFor } from "../support/wait.ts";
import { type Channel, channel, publisherOn, recordOf, textOf } from "./support.ts";

function textsIn({ frames }: Channel): string[] {
  return frames.flatMap((frame) => decodeFrame(frame)?.records.map(textOf) ?? []);
}

Deno.test("LogPublisher sends a lone record at once and in its order what comes meanwhile", async () => {
  const wire = channel();
  wire.state = "hangs";
  const { publisher } = publisherOn(wire);
  publisher.sink(recordOf("first"));
  await waitFor(() => wire.tries === 1, { what: "the first publish" });
  for (let n = 0; n < 100; n++) publisher.sink(recordOf(`later ${n}`));
  assertEquals(wire.tries, 1);
  wire.release();
  await publisher.close();
  assertEquals(textsIn(wire), ["first", ...Array.from({ length: 100 }, (_, n) => `later ${n}`)]);
  assertEquals(wire.frames.length, 3, "one alone, one with all that gathered, one that says bye");
  assertEquals(wire.frames.map((frame) => decodeFrame(frame)?.seq), [0, 1, 101]);
});

Deno.test("LogPublisher makes no frame larger than 64 KiB", async () => {
  const wire = channel();
  const { publisher } = publisherOn(wire);
  for (let n = 0; n < 500; n++) publisher.sink(recordOf(`${n} ${"漢".repeat(n * 10)}`));
  await publisher.close();
  assertTrue(wire.frames.every((frame) => Buffer.byteLength(frame) <= MAX_FRAME_BYTES));
  assertEquals(textsIn(wire).length + (decodeFrame(wire.frames.at(-1) ?? "")?.dropped ?? 0), 500);
});

Deno.test("LogPublisher bounds a flood: the oldest records go, and the next frame says how many", async () => {
  const wire = channel();
  wire.state = "hangs";
  const { publisher, stderr } = publisherOn(wire, { maxBufferedBytes: 20_000 });
  publisher.sink(recordOf("first"));
  await waitFor(() => wire.tries === 1, { what: "the first publish" });
  for (let n = 0; n < 10_000; n++) publisher.sink(recordOf(`line ${n}`));
  wire.release();
  await publisher.close();
  const second = decodeFrame(wire.frames[1] ?? "");
  assertTrue(second !== undefined && second.dropped > 9_000);
  const texts = textsIn(wire);
  assertEquals(texts.length + second.dropped, 10_001);
  assertEquals(texts[0], "first");
  assertEquals(texts.at(-1), "line 9999", "the newest survive");
  assertEquals(second.seq, 1 + second.dropped);
  assertEquals(stderr, []);
});

Deno.test("LogPublisher tries again briefly, and a short failure costs and repeats nothing", async () => {
  const wire = channel();
  wire.state = "refuses";
  const { publisher, stderr } = publisherOn(wire);
  publisher.sink(recordOf("one"));
  await waitFor(() => wire.tries === 2, { what: "the second try" });
  wire.state = "up";
  await publisher.close();
  assertEquals(textsIn(wire), ["one"]);
  assertEquals(stderr, []);
});

Deno.test("LogPublisher writes to standard error while the broker is away, and returns to it", async () => {
  const wire = channel();
  wire.state = "refuses";
  const { publisher, stderr } = publisherOn(wire);
  publisher.sink(
    recordOf("one\n[Worker 1] forged", { properties: { taskName: "t", agentId: "a" } }),
  );
  publisher.sink(recordOf("two", { level: "error" }));
  await publisher.flush();
  assertEquals(stderr, ["info: one\n    [Worker 1] forged (t a)", "error: two"]);
  wire.state = "up";
  publisher.sink(recordOf("three"));
  await publisher.close();
  assertEquals(textsIn(wire), ["three"]);
  assertEquals(decodeFrame(wire.frames[0] ?? "")?.diverted, 2);
  assertEquals(decodeFrame(wire.frames[0] ?? "")?.seq, 2);
});

Deno.test("LogPublisher never makes a handler wait: a sink returns while publishes hang", async () => {
  const wire = channel();
  wire.state = "hangs";
  const { publisher } = publisherOn(wire);
  for (let n = 0; n < 1_000; n++) publisher.sink(recordOf(`line ${n}`));
  assertEquals(wire.tries, 0, "nothing was even tried before the handler went on");
  await waitFor(() => wire.tries === 1, { what: "the first publish" });
  wire.release();
  await publisher.close();
  assertEquals(textsIn(wire).length, 1_000);
});

Deno.test("close() says bye last, may be called twice, and leaves later records to standard error", async () => {
  const wire = channel();
  const { publisher, stderr } = publisherOn(wire);
  publisher.sink(recordOf("one"));
  await Promise.all([publisher.close(), publisher.close()]);
  await publisher.close();
  publisher.sink(recordOf("late"));
  const last = decodeFrame(wire.frames.at(-1) ?? "");
  assertEquals(wire.frames.filter((frame) => decodeFrame(frame)?.bye).length, 1);
  assertEquals([last?.bye, last?.seq, last?.records.length], [true, 1, 0]);
  assertEquals(stderr, ["info: late"]);
});

Deno.test("close() of a broker that never answers ends, and standard error has every line", async () => {
  const wire = channel();
  wire.state = "hangs";
  const { publisher, stderr } = publisherOn(wire);
  publisher.sink(recordOf("one"));
  await waitFor(() => wire.tries === 1, { what: "the first publish" });
  publisher.sink(recordOf("two"));
  await publisher.close();
  assertEquals(stderr, ["info: one", "info: two"]);
});

Deno.test("close() without a record says bye alone", async () => {
  const wire = channel();
  await publisherOn(wire).publisher.close();
  assertEquals(wire.frames.map((frame) => decodeFrame(frame)?.bye), [true]);
});

Deno.test("spill() writes what was not sent at once, each record once", async () => {
  const wire = channel();
  const { publisher, stderr } = publisherOn(wire);
  publisher.sink(recordOf("one"));
  publisher.sink(recordOf("two"));
  publisher.spill();
  assertEquals(stderr, ["info: one", "info: two"]);
  await publisher.close();
  assertEquals(textsIn(wire), []);
  assertEquals(stderr.length, 2);
});

Deno.test("a fallback that throws ends nothing", async () => {
  const wire = channel();
  wire.state = "refuses";
  const { publisher } = publisherOn(wire, {
    fallback: () => {
      throw new TypeError("no pipe");
    },
  });
  publisher.sink(recordOf("one"));
  await publisher.flush();
  await publisher.close();
});

Deno.test("a publish that throws instead of rejecting is a failed publish", async () => {
  const { publisher, stderr } = publisherOn({
    publish: () => {
      throw new TypeError("not connected");
    },
  });
  publisher.sink(recordOf("one"));
  await publisher.close();
  assertEquals(stderr, ["info: one"]);
});

Deno.test("the sink attaches the current run to whatever is logged below a handler", async () => {
  const wire = channel();
  const { publisher } = publisherOn(wire);
  const run = { taskName: "research", agentId: "id-1", attempt: 2 } as TaskRun;
  runAsCurrentTask(run, () => publisher.sink(recordOf("inside", { properties: { a: 1 } })));
  publisher.sink(recordOf("outside"));
  await publisher.close();
  const records = decodeFrame(wire.frames[0] ?? "")?.records ?? [];
  assertEquals(records.map((record) => record.properties), [
    { a: 1, taskName: "research", agentId: "id-1", attempt: 2 },
    {},
  ]);
});

Deno.test("publishing happens outside the run whose record caused it", async () => {
  const { currentTaskOrUndefined } = await import("../../src/task/current.ts");
  const seen: unknown[] = [];
  const { publisher } = publisherOn({
    publish: () => {
      seen.push(currentTaskOrUndefined());
      return Promise.resolve();
    },
  });
  const run = { taskName: "research", agentId: "id-1", attempt: 2 } as TaskRun;
  runAsCurrentTask(run, () => publisher.sink(recordOf("inside")));
  await publisher.close();
  assertEquals(seen, [undefined, undefined]);
});

Deno.test("a record too large for one frame is cut and says so", async () => {
  const wire = channel();
  const { publisher } = publisherOn(wire);
  publisher.sink(recordOf("x".repeat(500_000)));
  await publisher.close();
  assertMatch(textsIn(wire)[0] ?? "", /^x+… \(\d+ more characters\)$/);
});
