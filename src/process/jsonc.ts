/**
 * JSON with comments and trailing commas, as a `deno.jsonc` (and a `deno.json`) may be written.
 *
 * @module
 */

const STRING = `"(?:[^"\\\\]|\\\\.)*"`;
const STRING_OR_COMMENT = new RegExp(`${STRING}|//[^\\n]*|/\\*[\\s\\S]*?\\*/`, "g");
const STRING_OR_LAST_COMMA = new RegExp(`${STRING}|,(?=\\s*[}\\]])`, "g");

/**
 * The value of a text.
 *
 * @throws {SyntaxError} If it is no such JSON.
 */
export function parseJsonc(text: string): unknown {
  // What stands in a string stays: "https://…" is no comment.
  const kept = (found: string, instead: string) => found.startsWith('"') ? found : instead;
  const plain = text.replace(/^\ufeff/, "")
    .replace(STRING_OR_COMMENT, (found) => kept(found, " "))
    .replace(STRING_OR_LAST_COMMA, (found) => kept(found, ""));
  return JSON.parse(plain);
}
