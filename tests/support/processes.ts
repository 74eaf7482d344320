/**
 * Programs under test as real processes: their output awaited line by line, signals sent to them, keys
 * typed on their terminal, and nothing of them left behind.
 *
 * @module
 */

import { noteProgram } from "./pending.ts";
import { childrenOf, signalProcess } from "./process_table.ts";
import { waitFor, type WaitOptions, within } from "./wait.ts";

export { alive, childrenOf, groupOf, signalProcess } from "./process_table.ts";

/** How a program ended. */
export interface ProgramExit {
  /** Its exit code; 128 and the signal's number where a signal ended it. */
  readonly code: number;
  /** The signal that ended it. On a terminal it is in the code alone. */
  readonly signal: Deno.Signal | null;
}

/** What {@linkcode runCommand} may be told. */
export interface CommandOptions {
  /** Variables added to those of the test. */
  readonly env?: Readonly<Record<string, string>>;
  /** Starts with no variables but `env`. */
  readonly clearEnv?: boolean;
  /** Its folder. */
  readonly cwd?: string | URL;
  /** Gives it a terminal of its own: it leads the foreground group, and `type("\x03")` is Ctrl+C. */
  readonly tty?: boolean;
}

/** What {@linkcode runProgram} may be told. */
export interface ProgramOptions extends CommandOptions {
  /** Arguments of the program. */
  readonly args?: readonly string[];
  /** Flags of `deno run`: {@linkcode PROGRAM_FLAGS} where none are given. */
  readonly flags?: readonly string[];
}

/** What {@linkcode Program.waitForLine} may be told. */
export interface WaitForLineOptions {
  /** How many lines have to match; the last of them is returned. 1 where it is not given. */
  readonly count?: number;
  /** The end of patience. */
  readonly timeoutMs?: number;
}

/** The flags of a program with a pool: it may reach loopback, know its surroundings and start workers. */
export const PROGRAM_FLAGS: readonly string[] = [
  "--no-prompt",
  "--allow-env",
  "--allow-net=127.0.0.1",
  "--allow-read",
  "--allow-run=deno",
  "--allow-sys",
];

/** Starts a program of `tests/fixtures/`, or one anywhere by its absolute path or `file:` URL. */
export function runProgram(file: string | URL, options: ProgramOptions = {}): Promise<Program> {
  const { args = [], flags = PROGRAM_FLAGS, ...rest } = options;
  const path = new URL(file, new URL("../fixtures/", import.meta.url)).pathname;
  return runCommand(["deno", "run", ...flags, path, ...args], rest);
}

/** Starts a command in a process group of its own. */
export async function runCommand(
  command: readonly string[],
  options: CommandOptions = {},
): Promise<Program> {
  const { tty = false, env = {}, clearEnv = false, cwd } = options;
  const [name = "", ...args] = tty ? onTerminal(command) : command;
  const child = new Deno.Command(name, {
    args,
    // `script` runs the command by the user's shell, which may be one that knows no `exec`.
    env: tty ? { ...env, SHELL: "/bin/sh" } : { ...env },
    clearEnv,
    ...(cwd === undefined ? {} : { cwd }),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  const keeper = keep(child.pid);
  const program = new Program(child, keeper, command.join(" "));
  if (tty) {
    try {
      await program.findBehindTerminal();
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw error;
    }
  }
  return program;
}

/** A program that a test has started. */
export class Program implements AsyncDisposable {
  /** How it ends; its output is complete by then. */
  readonly exit: Promise<ProgramExit>;
  readonly #child: Deno.ChildProcess;
  readonly #keeper: Deno.ChildProcess;
  readonly #stdout: string[] = [];
  readonly #stderr: string[] = [];
  readonly #all: string[] = [];
  #pid: number;
  #ended: ProgramExit | null = null;
  #stdinOpen = true;
  #disposing: Promise<void> | undefined;
  readonly #forget: () => void;

  /** Wraps a child that leads its own process group; `command` is what it was started by. */
  constructor(child: Deno.ChildProcess, keeper: Deno.ChildProcess, command: string) {
    this.#child = child;
    this.#keeper = keeper;
    this.#pid = child.pid;
    const output = Promise.all([
      this.#collect(child.stdout, this.#stdout),
      this.#collect(child.stderr, this.#stderr),
    ]);
    this.#forget = noteProgram({
      title: `process ${child.pid}, ${command}`,
      output: () => this.output,
      end: () => this[Symbol.asyncDispose](),
    });
    this.exit = child.status.then(async ({ code, signal }) => {
      await output;
      return this.#ended = { code, signal };
    });
  }

  /** The program's process id, also where it sits behind a terminal. */
  get pid(): number {
    return this.#pid;
  }

  /** The lines of its standard output so far; on a terminal all that it shows. */
  get stdout(): readonly string[] {
    return this.#stdout;
  }

  /** The lines of its standard error so far. */
  get stderr(): readonly string[] {
    return this.#stderr;
  }

  /** All lines so far, in the order in which they came, for messages. */
  get output(): string {
    return this.#all.join("\n");
  }

  /** The first line of either output that matches, whether it came before or comes now. */
  async waitForLine(pattern: RegExp, options: WaitForLineOptions = {}): Promise<string> {
    const { count = 1, timeoutMs = 30_000 } = options;
    const matching = () => this.#all.filter((line) => line.search(pattern) >= 0);
    const seen = () => {
      const lines = matching();
      return lines.length >= count || this.#ended !== null ? { lines } : null;
    };
    const what = count === 1 ? `a line like ${pattern}` : `${count} lines like ${pattern}`;
    let found;
    try {
      found = await waitFor(seen, { what, timeoutMs });
    } catch (error) {
      throw new Error(`Waited ${timeoutMs} ms in vain for ${what}:\n${this.output}`, {
        cause: error,
      });
    }
    const line = found.lines[count - 1];
    if (line !== undefined) return line;
    const { code, signal } = await this.exit;
    throw new Error(`Waited for ${what}, but it ended (${signal ?? code}):\n${this.output}`);
  }

  /**
   * The outcome of what takes the program to come about; an error with the program's output where it ends first, or
   * the time is up.
   */
  async brings<T>(promise: Promise<T>, { what, timeoutMs = 60_000 }: WaitOptions): Promise<T> {
    const ended = this.exit.then(({ code, signal }): never => {
      throw new Error(`Waited for ${what}, but the program ended (${signal ?? code})`);
    });
    try {
      return await within(Promise.race([promise, ended]), { what, timeoutMs });
    } catch (error) {
      throw new Error(`${(error as Error).message}:\n${this.output}`, { cause: error });
    } finally {
      // It ends at some time, when nobody waits any more.
      ended.catch(() => {});
    }
  }

  /** Sends a signal to the program alone; nothing where it has ended. */
  signal(signal: Deno.Signal): void {
    if (this.#ended === null) signalProcess(this.#pid, signal);
  }

  /** Types on its terminal, or writes to its standard input. */
  async type(text: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(text));
    writer.releaseLock();
  }

  /** Closes its standard input. */
  async closeStdin(): Promise<void> {
    if (!this.#stdinOpen) return;
    this.#stdinOpen = false;
    try {
      await this.#child.stdin.close();
    } catch (error) {
      // It has ended, and its end of the pipe with it.
      if (!(error instanceof TypeError || error instanceof Deno.errors.BrokenPipe)) throw error;
    }
  }

  /** Kills what is left of it and of all that it started. May be called twice. */
  [Symbol.asyncDispose](): Promise<void> {
    // Not twice: the kernel soon gives the id of an ended process to another.
    return this.#disposing ??= this.#dispose();
  }

  async #dispose(): Promise<void> {
    if (this.#ended === null) {
      // Those below it that lead groups of their own, as workers do, are known only while it lives.
      const below = childrenOf(this.#child.pid);
      for (const pid of [-this.#child.pid, ...below]) signalProcess(pid, "SIGKILL");
    }
    await this.closeStdin();
    await this.exit;
    await dismiss(this.#keeper);
    this.#forget();
  }

  /** Finds the program that the terminal runs. */
  async findBehindTerminal(): Promise<void> {
    const found = await waitFor(() => childrenOf(this.#child.pid)[0] ?? (this.#ended && -1), {
      what: "the program behind the terminal",
    });
    if (found > 0) this.#pid = found; // Else it has ended already, and nobody has its id.
  }

  async #collect(stream: ReadableStream<Uint8Array>, lines: string[]): Promise<void> {
    let rest = "";
    const add = (line: string) => {
      const shown = line.replace(/\r+$/, "");
      lines.push(shown);
      this.#all.push(shown);
    };
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) add(part);
    }
    if (rest !== "") add(rest);
  }
}

/**
 * Starts what kills the process group of `pid` when the test run ends, by whatever means: that closes its
 * standard input. What the program started in other groups is the program's own duty.
 */
export function keep(pid: number): Deno.ChildProcess {
  return new Deno.Command("sh", {
    args: ["-c", `trap '' INT TERM HUP; cat >/dev/null; kill -KILL "-$1"`, "keeper", String(pid)],
    stdin: "piped",
    stdout: "null",
    stderr: "null",
    detached: true,
  }).spawn();
}

/** Ends a keeper whose group has ended: it must not kill who gets the same id next. */
export async function dismiss(keeper: Deno.ChildProcess): Promise<void> {
  signalProcess(-keeper.pid, "SIGKILL"); // Its group: the shell and the `cat` that it waits for.
  await keeper.status;
  await keeper.stdin.close().catch(() => {}); // Nobody reads the pipe any longer.
}

/** The command line that runs a command on a new pseudo-terminal and passes on its exit code. */
function onTerminal(command: readonly string[]): string[] {
  if (Deno.build.os === "darwin") return ["script", "-q", "/dev/null", ...command];
  const quoted = command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(" ");
  return ["script", "-qefc", `exec ${quoted}`, "/dev/null"];
}
