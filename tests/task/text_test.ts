import fc from "fast-check";
import { findUnstorable, findUnstorableJson, sanitizeText } from "../../src/task/text.ts";
import { assertEquals, assertThrows, assertTrue } from "../support/assert.ts";

function bytesOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

Deno.test("sanitizeText() leaves what can be stored as it is", () => {
  for (const text of ["", "plain", "ä 😀 \u2028 \ufeff\ufffd", "\u0001\u007f"]) {
    assertEquals(sanitizeText(text, 100), text);
  }
});

Deno.test("sanitizeText() replaces each NUL and each half of a surrogate pair", () => {
  assertEquals(sanitizeText("a\0b\0", 100), "a\ufffdb\ufffd");
  assertEquals(sanitizeText("\ud83d😀\ude00", 100), "\ufffd😀\ufffd");
});

Deno.test("sanitizeText() cuts between characters, and says that it cut", () => {
  assertEquals(sanitizeText("abcdef", 6), "abcdef");
  assertEquals(sanitizeText("abcdefg", 6), "abc…");
  assertEquals(sanitizeText("ééé", 5), "é…");
  assertEquals(sanitizeText("😀😀", 7), "😀…");
  assertEquals(sanitizeText("😀😀", 6), "…");
});

Deno.test("sanitizeText() of any text is storable, no longer than asked, and the same when done again", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom("\0", "\ud800", "\udc00", "é", "😀"), fc.string())),
      fc.integer({ min: 3, max: 40 }),
      (parts, most) => {
        const text = sanitizeText(parts.join(""), most);
        assertTrue(bytesOf(text) <= most);
        assertTrue(text.isWellFormed() && !text.includes("\0"));
        assertEquals(sanitizeText(text, most), text);
      },
    ),
  );
});

Deno.test("findUnstorable() names the first place that cannot be stored", () => {
  const cases: [unknown, string | undefined][] = [
    ["fine", undefined],
    [{ a: [1, null, true, { b: "😀" }] }, undefined],
    ["\0", "$"],
    [{ a: [0, "x\0"], b: "\0" }, "$.a[1]"],
    [{ a: { b: [{ c: "\ud800" }] } }, "$.a.b[0].c"],
    [[["ok"], ["\udfff"]], "$[1][0]"],
    [{ a: { "k\0": 1 } }, '$.a: the name "k\\u0000"'],
  ];
  for (const [value, path] of cases) {
    assertEquals(findUnstorable(value), path);
    assertEquals(findUnstorableJson(JSON.stringify(value)), path);
  }
});

Deno.test("findUnstorable() reads values nested deeper than calls may be", () => {
  let value: unknown = "\0";
  for (let depth = 0; depth < 20_000; depth++) value = [value];
  assertTrue(findUnstorable(value)?.endsWith("[0]"));
});

Deno.test("findUnstorableJson() takes an escaped backslash for what it is, and refuses what is no JSON", () => {
  assertEquals(findUnstorableJson('"\\\\u0000"'), undefined);
  assertEquals(findUnstorableJson('"\\ud83d\\ude00"'), undefined);
  assertThrows(() => findUnstorableJson('"\\u0000'), SyntaxError);
});
