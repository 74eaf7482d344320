/**
 * One child process: started in a process group of its own, told its first line, heard to its end.
 *
 * @module
 */
import { settlesWithin } from "../clock.ts";
import { type ExitCause, exitCause } from "./exit_cause.ts";

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
}

const LONGEST_LINE = 16 * 1024;
const TAIL = 4 * 1024;
/** A grandchild may hold the pipes open; the exit is not kept waiting for it longer. */
const PIPES_MS = 1_000;

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
    this.exited = this.#live(options.onOutput);
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

  async #live(onOutput: ChildOptions["onOutput"]): Promise<ExitCause> {
    const stop = new AbortController();
    const pipes = Promise.all([
      readLines(this.#child.stdout, stop.signal, (line) => onOutput("stdout", line)),
      readLines(this.#child.stderr, stop.signal, (line) => {
        this.#stderrTail = `${this.#stderrTail}${line}\n`.slice(-TAIL);
        onOutput("stderr", line);
      }),
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

/** Reads a stream as lines until it ends or the signal aborts. What is longer than 16 KiB comes in pieces. */
async function readLines(
  stream: ReadableStream<Uint8Array>,
  stop: AbortSignal,
  onLine: (line: string) => void,
): Promise<void> {
  const reader = stream.getReader();
  const cancel = () => void reader.cancel();
  stop.addEventListener("abort", cancel, { once: true });
  const decoder = new TextDecoder();
  let rest = "";
  const take = (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(inPieces(line, onLine));
    rest = inPieces(rest, onLine);
  };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      take(decoder.decode(value, { stream: true }));
    }
    take(decoder.decode());
    if (rest !== "") onLine(rest);
  } finally {
    stop.removeEventListener("abort", cancel);
  }
}

/** Hands on the beginning of what is longer than a line may be; gives what is left. */
function inPieces(text: string, onPiece: (piece: string) => void): string {
  let start = 0;
  while (text.length - start > LONGEST_LINE) {
    // A character of two code units stays whole.
    const last = text.charCodeAt(start + LONGEST_LINE - 1);
    const end = start + LONGEST_LINE - (last >= 0xd800 && last <= 0xdbff ? 1 : 0);
    onPiece(text.slice(start, end));
    start = end;
  }
  return text.slice(start);
}
