/**
 * Messages from a child on its standard output, among whatever else is written there. A message travels in lines
 * that each hold the child's mark, a random text that nothing writes by accident. Without what stands from a mark to
 * the end of its line, the stream is what it would be if nothing had been sent: ordinary output.
 *
 * @module
 */
import process from "node:process";

/**
 * The most bytes of a line with a mark. A pipe takes so many as one (PIPE_BUF), so that what a native library or a
 * program of a handler writes to the same pipe meanwhile cannot fall into the middle of it.
 */
const MARKED_BYTES = process.platform === "linux" ? 4096 : 512;
/** The most characters of a message that are kept; of one that is longer, the rest is not read. */
const LONGEST_MESSAGE = 256 * 1024;
/** The most characters of a line of ordinary output; what is longer comes in pieces. */
const LONGEST_LINE = 16 * 1024;

/** What stands behind the mark: whether more lines of the message follow. */
const MORE = "+";
const LAST = ".";

const encoder = new TextEncoder();

/** The lines of a message, which holds no newline. Each is to be written whole, in one call. */
export function markedLines(mark: string, message: string): readonly Uint8Array[] {
  const head = encoder.encode(`${mark}${MORE}`);
  const room = MARKED_BYTES - head.length - 1;
  const lines: Uint8Array[] = [];
  let start = 0;
  do {
    const line = new Uint8Array(MARKED_BYTES);
    line.set(head);
    // Takes whole characters alone, as many as there is room for.
    const { read, written } = encoder.encodeInto(
      message.slice(start, start + room),
      line.subarray(head.length, -1),
    );
    start += read;
    if (start === message.length) line[head.length - 1] = LAST.charCodeAt(0);
    const end = head.length + written;
    line[end] = "\n".charCodeAt(0);
    lines.push(line.subarray(0, end + 1));
  } while (start < message.length);
  return lines;
}

/** What a {@linkcode LineParser} needs. */
export interface LineParserOptions {
  /** What the lines of messages hold; undefined where the stream has none. */
  readonly mark?: string | undefined;
  /** Called with each line of ordinary output; one longer than 16 KiB comes in pieces. */
  readonly onLine: (line: string) => void;
  /** Called with each message. */
  readonly onMessage?: ((message: string) => void) | undefined;
}

/** Parts the text of a stream into lines of ordinary output and messages. */
export class LineParser {
  readonly #options: LineParserOptions;
  /** What came since the last newline. */
  #rest = "";
  /** The beginning of a line of ordinary output that a message fell into. */
  #open = "";
  /** The beginning of a message. */
  #message = "";

  constructor(options: LineParserOptions) {
    this.#options = options;
  }

  /** Takes the next text of the stream. */
  take(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line);
    if (this.#rest.length > LONGEST_LINE + MARKED_BYTES) {
      // A line of a message that began before these would have ended by now; one that begins in them stays whole.
      const open = this.#rest.slice(-MARKED_BYTES);
      this.#rest = this.#cut(this.#rest.slice(0, -MARKED_BYTES)) + open;
    }
  }

  /** Takes what the stream ended with, where that is no whole line. */
  end(): void {
    if (this.#open + this.#rest !== "") this.#line(this.#rest);
    this.#rest = "";
  }

  #line(line: string): void {
    const { mark, onLine } = this.#options;
    const at = mark === undefined ? -1 : line.indexOf(mark);
    if (mark === undefined || at < 0) return onLine(this.#cut(line));
    this.#open = this.#cut(line.slice(0, at));
    this.#part(line.slice(at + mark.length));
  }

  /** Takes one line of a message, from behind its mark. */
  #part(part: string): void {
    if (this.#message.length < LONGEST_MESSAGE) this.#message += part.slice(1);
    if (part.startsWith(MORE)) return;
    const message = this.#message;
    this.#message = "";
    this.#options.onMessage?.(message);
  }

  /** Goes on with the line of ordinary output: hands on in pieces what is too long for one, gives what is left. */
  #cut(more: string): string {
    const text = this.#open + more;
    this.#open = "";
    let start = 0;
    while (text.length - start > LONGEST_LINE) {
      // A character of two code units stays whole.
      const last = text.charCodeAt(start + LONGEST_LINE - 1);
      const end = start + LONGEST_LINE - (last >= 0xd800 && last <= 0xdbff ? 1 : 0);
      this.#options.onLine(text.slice(start, end));
      start = end;
    }
    return text.slice(start);
  }
}
