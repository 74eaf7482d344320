/**
 * The guardian: a tiny process that kills the process groups of workers, on demand, and a second after its
 * supervisor died.
 *
 * A supervisor under `--allow-run=<list>` may not signal a process group, and one that is killed by SIGKILL can do
 * nothing at all: so a process of its own holds the groups.
 *
 * @module
 */
import { after, monotonicMs, settlesWithin, sleep } from "../clock.ts";
import { exitCause } from "./exit_cause.ts";
import { GUARDIAN_ANSWER_MS, GUARDIAN_CLOSE_MS, GUARDIAN_PATIENCE_MS } from "../stop_budget.ts";

/**
 * What the guardian runs: a string, since a file outside a program's module graph is not in the cache of a user of
 * JSR and could not start offline. Lines `add <pgid>`, `del <pgid>` and `kill <pgid>` on its standard input; each
 * kill is answered by `killed <pgid>`. The second after the end of its input is for workers that end by themselves.
 */
const SOURCE = `
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) Deno.addSignalListener(signal, () => {});
const held = new Set();
const encoder = new TextEncoder();
function kill(group) {
  try { Deno.kill(-group, "SIGKILL"); } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) console.error(String(error));
  }
}
let rest = "";
for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + text).split("\\n");
  rest = lines.pop();
  for (const line of lines) {
    const [word, group] = [line.split(" ")[0], Number(line.split(" ")[1])];
    if (!(group > 1)) continue;
    if (word === "add") held.add(group);
    else if (word === "del") held.delete(group);
    else if (word === "kill") {
      kill(group);
      Deno.stdout.writeSync(encoder.encode("killed " + group + "\\n"));
    }
  }
}
if (held.size > 0) await new Promise((resolve) => setTimeout(resolve, ${GUARDIAN_PATIENCE_MS}));
for (const group of held) kill(group);
Deno.exit(0);
`;

/** The same for a compiled program, where there is no `deno`. */
const SHELL_SOURCE = `
trap '' INT TERM HUP
held=' '
while read -r word group; do
  case "$word" in
    add) held="$held$group " ;;
    del) kept=' '; for each in $held; do [ "$each" = "$group" ] || kept="$kept$each "; done; held="$kept" ;;
    kill) kill -s KILL -- "-$group" 2>/dev/null; echo "killed $group" ;;
  esac
done
[ "$held" = ' ' ] || sleep ${GUARDIAN_PATIENCE_MS / 1_000}
for each in $held; do kill -s KILL -- "-$each" 2>/dev/null; done
`;

/** How a guardian is started. */
export interface GuardianOptions {
  /** The program that runs Deno. */
  readonly deno: string;
  /** Whether this is a compiled program: the guardian is then a shell's. */
  readonly standalone: boolean;
  /** Told what an operator should know. */
  readonly warn: (message: string) => void;
}

/** The process that leads a group, for where there is no guardian: only its parent may kill it then. */
export interface GroupLeader {
  /** Sends it a signal; one that has ended needs none. */
  kill(signal: Deno.Signal): void;
}

/** Between two starts of a guardian; doubled each time that it ended at once. */
const RESTART_MS = 100;
const RESTART_MOST_MS = 30_000;
/** A guardian that lived this long did its work. */
const LIVED_MS = 5_000;

/** The guardian of a supervisor, as the supervisor reaches it. */
export class Guardian {
  readonly #options: GuardianOptions;
  readonly #held = new Map<number, GroupLeader>();
  readonly #answers = new Map<number, (() => void)[]>();
  readonly #closing = new AbortController();
  #child: Deno.ChildProcess | undefined;
  #stdin: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #life: Promise<void> = Promise.resolve();

  private constructor(options: GuardianOptions) {
    this.#options = options;
  }

  /** Starts a guardian. Where no program for one can be started, the supervisor is told so and does without. */
  static start(options: GuardianOptions): Promise<Guardian> {
    const guardian = new Guardian(options);
    if (guardian.#spawn()) guardian.#life = guardian.#keep();
    return Promise.resolve(guardian);
  }

  /** The guardian's process; undefined where there is none. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Puts a process group under guard. */
  add(group: number, leader: GroupLeader): void {
    this.#held.set(group, leader);
    this.#tell(`add ${group}`);
  }

  /** Takes a process group off again: it is gone, its number may be another's soon. */
  remove(group: number): void {
    this.#held.delete(group);
    this.#tell(`del ${group}`);
  }

  /** Kills all that is left of a process group. Resolves when it is done, or nobody can do it. */
  async killGroup(group: number): Promise<void> {
    // Without a guardian only the process itself can be ended.
    if (this.#child === undefined) return this.#held.get(group)?.kill("SIGKILL");
    const answered = new Promise<void>((resolve) => {
      this.#answers.set(group, [...this.#answers.get(group) ?? [], resolve]);
    });
    this.#tell(`kill ${group}`);
    if (await settlesWithin(answered, GUARDIAN_ANSWER_MS)) return;
    // Nobody waits any more: a later guardian must not be asked for a number that may be another's by then.
    this.#answers.delete(group);
    this.#options.warn(
      `The guardian did not answer: killing process ${group} without what it started`,
    );
    this.#held.get(group)?.kill("SIGKILL");
  }

  /** Ends the guardian. Groups that it still holds are killed by it a second later. */
  async close(): Promise<void> {
    this.#closing.abort();
    const child = this.#child;
    const cancel = after(
      GUARDIAN_CLOSE_MS,
      () => child === undefined ? undefined : killProcess(child),
    );
    try {
      await this.#stdin?.close();
    } catch {
      // It ended first.
    }
    await this.#life;
    cancel();
  }

  #command(): { command: string; args: string[] } {
    if (this.#options.standalone) return { command: "sh", args: ["-c", SHELL_SOURCE] };
    const module = `data:application/javascript;base64,${btoa(SOURCE)}`;
    const flags = [
      "--no-config",
      "--no-lock",
      "--no-prompt",
      "--cached-only",
      "--no-remote",
      "--allow-run",
    ];
    return { command: this.#options.deno, args: ["run", ...flags, module] };
  }

  #spawn(): boolean {
    const { command, args } = this.#command();
    try {
      this.#child = new Deno.Command(command, {
        args,
        clearEnv: true,
        env: guardianEnvironment(),
        stdin: "piped",
        stdout: "piped",
        stderr: "null",
        detached: true,
      }).spawn();
    } catch (error) {
      this.#child = undefined;
      this.#options.warn(
        `Cannot start the guardian by ${command}: ${
          (error as Error).message
        }; programs that handlers start can ` +
          "outlive their worker",
      );
      return false;
    }
    this.#stdin = this.#child.stdin.getWriter();
    for (const group of this.#held.keys()) this.#tell(`add ${group}`);
    for (const group of this.#answers.keys()) this.#tell(`kill ${group}`);
    return true;
  }

  /** Hears the guardian, and starts another when it ends while the supervisor lives. */
  async #keep(): Promise<void> {
    let delay = RESTART_MS / 2;
    for (;;) {
      const child = this.#child;
      if (child === undefined) return;
      const startedAt = monotonicMs();
      await this.#hear(child.stdout);
      const status = await child.status;
      await this.#dropStdin();
      if (this.#closing.signal.aborted) return;
      this.#options.warn(
        `The guardian ended (${exitCause(status).description}): starting another`,
      );
      const lived = monotonicMs() - startedAt >= LIVED_MS;
      delay = lived ? RESTART_MS : Math.min(delay * 2, RESTART_MOST_MS);
      await sleep(delay, { signal: this.#closing.signal });
      if (this.#closing.signal.aborted || !this.#spawn()) return;
    }
  }

  async #hear(stdout: ReadableStream<Uint8Array>): Promise<void> {
    let rest = "";
    for await (const text of stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#answered(Number(/^killed (\d+)$/.exec(line)?.[1]));
    }
  }

  #answered(group: number): void {
    const waiting = this.#answers.get(group) ?? [];
    this.#answers.delete(group);
    for (const resolve of waiting) resolve();
  }

  #tell(line: string): void {
    // A guardian that has just ended is told again by its successor.
    this.#stdin?.write(new TextEncoder().encode(`${line}\n`)).catch(() => {});
  }

  async #dropStdin(): Promise<void> {
    try {
      await this.#stdin?.abort();
    } catch {
      // The pipe broke with the process.
    }
    this.#stdin = undefined;
  }
}

function killProcess(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    // Deno's answer where the process has ended.
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Deno wants to know where its cache is; a shell needs a path for `sleep`. */
function guardianEnvironment(): Record<string, string> {
  const env: Record<string, string> = { DENO_NO_UPDATE_CHECK: "1" };
  for (const name of ["PATH", "HOME", "DENO_DIR", "XDG_CACHE_HOME", "TMPDIR"]) {
    if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") continue;
    const value = Deno.env.get(name);
    if (value !== undefined) env[name] = value;
  }
  return env;
}
