/**
 * One child process: started in a process group of its own, told its first line, heard to its end.
 *
 * @module
 */
import { stripVTControlCharacters } from "node:util";
import { settlesWithin } from "../clock.ts";
import { type ExitCause, exitCause } from "./exit_cause.ts";
import { LineParser } from "./marked_lines.ts";
import { PIPES_MS } from "../stop_budget.ts";

/** Which of its streams a child wrote to. */
export type OutputStream = "stdout" | "stderr";

/** What a child is started with. */
export interface ChildOptions {
  /** The program. */
  readonly command: string;
  /** Its arguments. */
  readonly args: readonly string[];
  /** Its whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** The first line of its standard input. */
  readonly firstLine: string;
  /** Called with each line that it writes. */
  readonly onOutput: (stream: OutputStream, line: string) => void;
  /** Its messages on its standard output; absent where it sends none there. */
  readonly messages?: ChildMessages | undefined;
}

/** How a child's messages are told from what else it writes to its standard output. */
export interface ChildMessages {
  /** The mark that the child was told. */
  readonly mark: string;
  /** Called with each message. */
  readonly onMessage: (message: string) => void;
}

const TAIL = 4 * 1024;

/** One child process. */
export class ChildProcess {
  /** Resolves when it has ended and what it wrote has been read, or a second later. */
  readonly exited: Promise<ExitCause>;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #encoder = new TextEncoder();
  #stderrTail = "";

  constructor(options: ChildOptions) {
    this.#child = new Deno.Command(options.command, {
      args: [...options.args],
      env: { ...options.env },
      clearEnv: true,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
    this.#stdin = this.#child.stdin.getWriter();
    void this.send(options.firstLine);
    this.exited = this.#live(options);
  }

  /** Its process id, which is that of its group too. */
  get pid(): number {
    return this.#child.pid;
  }

  /** The last 4 KiB that it wrote to its standard error. */
  get stderrTail(): string {
    return this.#stderrTail;
  }

  /** Writes a line to its standard input. False where it does not read any more. */
  async send(line: string): Promise<boolean> {
    try {
      await this.#stdin.write(this.#encoder.encode(`${line}\n`));
      return true;
    } catch {
      // A closed pipe: it has ended, or closed its standard input. Either way the caller knows now.
      return false;
    }
  }

  /** Sends a signal to the process itself, not to its group. One that has ended needs none. */
  kill(signal: Deno.Signal): void {
    try {
      this.#child.kill(signal);
    } catch (error) {
      const ended = error instanceof TypeError || error instanceof Deno.errors.NotFound;
      if (!ended) throw error;
    }
  }

  async #live({ onOutput, messages }: ChildOptions): Promise<ExitCause> {
    const stop = new AbortController();
    // Colours are for a terminal, and this is none: where the line goes to, they would be shown as text.
    const stdout = new LineParser({
      ...messages,
      onLine: (line) => onOutput("stdout", stripVTControlCharacters(line)),
    });
    const stderr = new LineParser({
      onLine: (coloured) => {
        const line = stripVTControlCharacters(coloured);
        this.#stderrTail = `${this.#stderrTail}${line}\n`.slice(-TAIL);
        onOutput("stderr", line);
      },
    });
    const pipes = Promise.all([
      readTo(stdout, this.#child.stdout, stop.signal),
      readTo(stderr, this.#child.stderr, stop.signal),
    ]);
    const status = await this.#child.status;
    await settlesWithin(pipes, PIPES_MS);
    stop.abort();
    await pipes;
    await this.#closeStdin();
    return exitCause(status);
  }

  async #closeStdin(): Promise<void> {
    try {
      await this.#stdin.close();
    } catch {
      // The other end went first.
    }
  }
}

/** Reads a stream until it ends or the signal aborts. */
async function readTo(
  parser: LineParser,
  stream: ReadableStream<Uint8Array>,
  stop: AbortSignal,
): Promise<void> {
  const reader = stream.getReader();
  const cancel = () => void reader.cancel();
  stop.addEventListener("abort", cancel, { once: true });
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parser.take(decoder.decode(value, { stream: true }));
    }
    parser.take(decoder.decode());
    parser.end();
  } finally {
    stop.removeEventListener("abort", cancel);
  }
}
