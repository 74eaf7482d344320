/**
 * What the demo shows: on a terminal the lines of the log with a progress bar below them, elsewhere plain
 * lines.
 *
 * @module
 */
import { configure, type LogRecord, reset } from "@logtape/logtape";
import type { RunProgress } from "./run.ts";

const CLEAR_LINE = "\r\u001b[K";
/** What the bar's text takes. */
const MARGIN = 30;
/** Where the terminal does not say how wide it is. */
const USUAL_COLUMNS = 80;

/** Standard output. Nothing is lost or out of order, and a terminal that is paused stops no task. */
export class Screen implements AsyncDisposable {
  readonly #isTerminal = Deno.stdout.isTerminal();
  readonly #encoder = new TextEncoder();
  #writing = Promise.resolve();
  #bar = "";

  /** Shows a screen; on a terminal it takes over the log. */
  static async open(): Promise<Screen> {
    const screen = new Screen();
    // Elsewhere the library's own console output does what is needed.
    if (screen.#isTerminal) await screen.#showLog();
    return screen;
  }

  /** Shows lines above the bar. */
  print(text: string): void {
    this.#write(this.#bar === "" ? `${text}\n` : `${CLEAR_LINE}${text}\n${this.#bar}`);
  }

  /** Shows how far the run is, on a terminal. */
  showProgress({ done, all }: RunProgress): void {
    if (!this.#isTerminal) return;
    const columns = Deno.consoleSize().columns || USUAL_COLUMNS;
    const width = Math.max(10, columns - MARGIN);
    const share = all === 0 ? 1 : done / all;
    const full = Math.floor(share * width);
    const bar = `${"#".repeat(full)}${".".repeat(width - full)}`;
    this.#bar = `[${bar}] ${Math.floor(share * 100)} % of ${all} files`.slice(0, columns - 1);
    this.#write(`${CLEAR_LINE}${this.#bar}`);
  }

  /** Takes the bar away. */
  hideProgress(): void {
    if (this.#bar === "") return;
    this.#bar = "";
    this.#write(CLEAR_LINE);
  }

  /** Leaves the terminal as it was, once all has been written. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.hideProgress();
    await this.#writing;
    if (this.#isTerminal) await reset();
  }

  async #showLog(): Promise<void> {
    await configure({
      sinks: { screen: (record: LogRecord) => this.print(lineOf(record)) },
      loggers: [
        { category: [], sinks: ["screen"], lowestLevel: "info" },
        { category: ["logtape", "meta"], sinks: ["screen"], lowestLevel: "warning" },
      ],
    });
  }

  #write(text: string): void {
    const bytes = this.#encoder.encode(text);
    this.#writing = this.#writing.then(async () => {
      for (let written = 0; written < bytes.length;) {
        written += await Deno.stdout.write(bytes.subarray(written));
      }
    });
  }
}

/** Makes visible what could move the cursor or hide text: the names of files may hold anything. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

function lineOf({ message, level, properties }: LogRecord): string {
  const { worker } = properties;
  const who = typeof worker === "number" ? `Worker ${worker}` : "Pool";
  const text = message.map((part) => typeof part === "string" ? part : Deno.inspect(part)).join("");
  return `[${who}] ${level === "info" ? "" : `${level}: `}${printable(text.trimEnd())}`;
}
