/**
 * Text that databases can hold: neither NUL nor lone surrogates, and no more than there is room for.
 *
 * @module
 */

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const REPLACEMENT = "\ufffd";

/** The text with what no database holds replaced by U+FFFD, cut to `maxBytes` of UTF-8. Never throws. */
export function sanitizeText(text: string, maxBytes: number): string {
  const clean = text.replaceAll("\0", REPLACEMENT).toWellFormed();
  // No character takes more than three bytes per UTF-16 unit, so most texts need no measuring.
  if (clean.length * 3 <= maxBytes) return clean;
  const bytes = encoder.encode(clean);
  if (bytes.length <= maxBytes) return clean;
  let end = Math.max(0, maxBytes - 3);
  // Not in the middle of a character: continuation bytes begin with 10.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return `${decoder.decode(bytes.subarray(0, end))}…`;
}

/** Whether a string holds neither a NUL nor half a surrogate pair. */
export function isStorable(text: string): boolean {
  return !text.includes("\0") && text.isWellFormed();
}

/**
 * The path of the first string or key in a JSON value that no database can hold, such as `$.items[3].name`;
 * undefined where there is none.
 */
export function findUnstorable(value: unknown): string | undefined {
  // Not recursive: JSON may be nested deeper than the stack.
  const pending: { readonly path: string; readonly value: unknown }[] = [{ path: "$", value }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { path, value } = next;
    if (typeof value === "string" && !isStorable(value)) return path;
    if (typeof value !== "object" || value === null) continue;
    const children = [];
    for (const [key, member] of Object.entries(value)) {
      if (!isStorable(key)) return `${path}: the name ${JSON.stringify(key)}`;
      const place = Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`;
      children.push({ path: place, value: member });
    }
    // The first is looked at first.
    for (const child of children.reverse()) pending.push(child);
  }
  return undefined;
}

/**
 * The same of a value's JSON text, which is read only where something in it may be amiss.
 *
 * @throws {SyntaxError} If it had to be read and is no JSON.
 */
export function findUnstorableJson(json: string): string | undefined {
  if (isStorable(json) && !/\\u(0000|d[89a-f])/i.test(json)) return undefined;
  return findUnstorable(JSON.parse(json));
}
