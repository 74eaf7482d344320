/**
 * Text before it reaches a terminal: what could move the cursor, hide or reverse other text is made
 * visible, and the lines of one record stay recognisable as one record.
 *
 * @module
 */

/** What every line of a record but its first begins with. */
export const CONTINUATION = "    ";

/**
 * C0 but tab and newline, DEL, C1, the marks and overrides of bidirectional text, the line and paragraph
 * separators, and halves of a surrogate pair.
 */
const UNSAFE =
  // deno-lint-ignore no-control-regex -- control characters are what this is about
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]|\p{Cs}/gu;

/** The text with every unsafe character as its visible code, `\u001b` for escape. Keeps tab and newline. */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, visible);
}

/**
 * The text of one record as it may be printed: unsafe characters visible, every further line indented,
 * no newline at its end. No text can look like the beginning of another record.
 */
export function escapeRecord(text: string): string {
  return escapeControls(text.replaceAll("\r\n", "\n"))
    .replace(/\n+$/, "")
    .replaceAll("\n", `\n${CONTINUATION}`);
}

function visible(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
