import fc from "fast-check";
import { CONTINUATION, escapeControls, escapeRecord } from "../../src/log/escape.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";

Deno.test("escapeControls() makes visible what could move the cursor or reverse text", () => {
  assertEquals(escapeControls("\u001b[2J\u0007"), "\\u001b[2J\\u0007");
  assertEquals(escapeControls("a\u202Eb\u2028c\u0085d\u007f"), "a\\u202eb\\u2028c\\u0085d\\u007f");
  assertEquals(escapeControls("half \ud83d pair"), "half \\ud83d pair");
});

Deno.test("escapeControls() leaves tabs, newlines, letters and emoji alone", () => {
  const text = "a\tb\nc é 漢字 שלום 👩‍💻 🇪🇺";
  assertEquals(escapeControls(text), text);
});

Deno.test("escapeRecord() indents every further line, so that no text forges one", () => {
  assertEquals(
    escapeRecord("[Worker 0] hello\n[Worker 1] Task completed: x\r\nend\n"),
    `[Worker 0] hello\n${CONTINUATION}[Worker 1] Task completed: x\n${CONTINUATION}end`,
  );
  assertEquals(escapeRecord("over\rwritten"), "over\\u000dwritten");
});

Deno.test("escapeRecord() lets no control character through and no line begin unindented", () => {
  const nasty = fc.constantFrom(
    "\n",
    "\r",
    "\r\n",
    "\u001b[2K",
    "\u2028",
    "\u202e",
    "\u0085",
    "\t",
  );
  const text = fc.array(fc.oneof(nasty, fc.string({ unit: "binary" }), fc.string()))
    .map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, (given) => {
      const shown = escapeRecord(given);
      const [, ...further] = shown.split("\n");
      assertTrue(further.every((line) => line.startsWith(CONTINUATION)));
      for (const character of shown) {
        const code = character.codePointAt(0) ?? 0;
        const control = code < 0x20 || (code >= 0x7f && code < 0xa0);
        assertTrue(!control || character === "\n" || character === "\t", `U+${code.toString(16)}`);
        assertTrue(!/[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/u.test(character));
      }
    }),
    { numRuns: 2_000 },
  );
});
