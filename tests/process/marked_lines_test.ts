import fc from "fast-check";
import { LineParser, markedLines } from "../../src/process/marked_lines.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";

const MARK = "6f1c5a3e-mark";

function parserOf(mark?: string) {
  const lines: string[] = [];
  const messages: string[] = [];
  const parser = new LineParser({
    mark,
    onLine: (line) => lines.push(line),
    onMessage: (message) => messages.push(message),
  });
  return { parser, lines, messages };
}

function written(message: string): string {
  return markedLines(MARK, message).map((line) => new TextDecoder().decode(line)).join("");
}

Deno.test("markedLines() makes lines that a pipe takes as one, and cuts no character", () => {
  const most = Deno.build.os === "linux" ? 4096 : 512;
  for (const letter of ["x", "é", "漢", "😀"]) {
    const lines = markedLines(MARK, `1${letter.repeat(10_000)}`);
    assertTrue(lines.length > 2);
    for (const line of lines) {
      assertTrue(line.length <= most);
      const text = new TextDecoder("utf-8", { fatal: true }).decode(line);
      assertTrue(text.startsWith(MARK) && text.endsWith("\n"));
    }
  }
});

Deno.test("a message arrives as it was sent, however the stream is cut, and so does what stands around it", () => {
  const messages = fc.array(fc.string({ unit: "binary", maxLength: 9_000 }), { maxLength: 4 });
  fc.assert(fc.property(messages, fc.integer({ min: 1, max: 5_000 }), (sent, size) => {
    const wanted = sent.map((message) => message.replaceAll("\n", " "));
    const { parser, lines, messages } = parserOf(MARK);
    const stream = wanted.map((message, n) => `before ${n}\n${written(message)}`).join("") + "end";
    for (let at = 0; at < stream.length; at += size) parser.take(stream.slice(at, at + size));
    parser.end();
    assertEquals(messages, wanted.map((message) => message.toWellFormed()));
    assertEquals(lines, [...wanted.map((_, n) => `before ${n}`), "end"]);
  }));
});

Deno.test("a line of ordinary output that a message falls into is whole, long or short, ended or not", () => {
  for (
    const [before, after] of [["x", "yz\n"], ["x".repeat(50_000), "y".repeat(50_000)]] as const
  ) {
    const { parser, lines, messages } = parserOf(MARK);
    const stream = before + written("one") + written("two") + after;
    for (let at = 0; at < stream.length; at += 1_000) parser.take(stream.slice(at, at + 1_000));
    parser.end();
    assertEquals(messages, ["one", "two"]);
    assertEquals(lines.join(""), before + after.trimEnd());
    assertTrue(lines.every((line) => line.length <= 16 * 1024));
    assertEquals(lines.length, Math.ceil((before + after).length / (16 * 1024)));
  }
});

Deno.test("a message that comes in two reads after much output without a newline is none of that output", () => {
  const message = "hello ".repeat(600);
  const stream = (length: number) => `${"x".repeat(length)}${written(message)}after\n`;
  for (let length = 30_000; length < 50_000; length += 499) {
    const { parser, lines, messages } = parserOf(MARK);
    const cut = length + 2_000;
    parser.take(stream(length).slice(0, cut));
    parser.take(stream(length).slice(cut));
    assertEquals(messages, [message]);
    assertEquals(lines.join(""), `${"x".repeat(length)}after`);
  }
});

Deno.test("a stream that ends with a message ends with the line before it", () => {
  const { parser, lines } = parserOf(MARK);
  parser.take(`no newline${written("hello")}`);
  assertEquals(lines, []);
  parser.end();
  assertEquals(lines, ["no newline"]);
});

Deno.test("a line without the mark is no message, and a stream without a mark has none", () => {
  const hostile = written("hello").replaceAll(MARK, "another-mark");
  const marked = parserOf(MARK);
  marked.parser.take(hostile);
  assertEquals([marked.lines, marked.messages], [[hostile.trimEnd()], []]);
  const unmarked = parserOf();
  unmarked.parser.take(written("hello"));
  assertEquals([unmarked.lines, unmarked.messages], [[written("hello").trimEnd()], []]);
});

Deno.test("a message without an end is kept in part only, and the next one arrives", () => {
  const { parser, lines, messages } = parserOf(MARK);
  for (let n = 0; n < 1_000; n++) parser.take(`${MARK}+${"x".repeat(4_000)}\n`);
  parser.take(`${MARK}.\n${written("next")}`);
  assertEquals(messages.length, 2);
  assertTrue(messages[0]!.length < 300_000);
  assertEquals(messages[1], "next");
  assertEquals(lines, []);
});
