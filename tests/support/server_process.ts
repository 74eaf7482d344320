/**
 * One server of a test: started on a port of its own with data in a temporary folder, killed, paused and
 * started again at will, and gone with the test run however that ends.
 *
 * @module
 */

import { noteProgram } from "./pending.ts";
import { accepts, freePort } from "./ports.ts";
import { alive, childrenOf, signalProcess } from "./process_table.ts";
import { waitFor, within } from "./wait.ts";

/** How a kind of server is run. */
export interface ServerKind {
  /** Its name in errors and in the name of its folder. */
  readonly name: string;
  /** The command line; `dir` is the server's own folder. */
  command(dir: string, port: number): readonly string[];
  /** What has to be done once before the first start. */
  prepare?(dir: string): Promise<void>;
  /** Writes what depends on the port, before each start. */
  configure?(dir: string, port: number): Promise<void>;
  /** Throws while a server that accepts connections does not serve yet. */
  check?(port: number): Promise<void>;
  /** Ends it in good order. */
  readonly stopSignal: Deno.Signal;
  /** Ends it at once with its children: used by the keeper when the test run is gone. */
  readonly emergencySignal: "KILL" | "QUIT";
}

/**
 * Lives as long as the test run: its standard input closes when the run ends, by whatever means, and
 * then it kills the server and removes the folder. It leads a process group of its own, so that Ctrl+C,
 * which ends the run, does not end it before it has done that.
 */
const KEEPER = `
trap '' INT TERM HUP
cat >/dev/null
if pid=$(cat "$1/pid" 2>/dev/null) && [ -n "$pid" ]; then
  kill -CONT "$pid"
  kill "-$2" "$pid"
  tries=0
  while kill -0 "$pid" && [ "$tries" -lt 30 ]; do sleep 0.1; tries=$((tries + 1)); done
  kill -KILL "$pid"
fi 2>/dev/null
rm -rf "$1"
`;

/** Writes down its process id before it becomes the server, so that the keeper cannot miss one. */
const LAUNCHER = `echo $$ >"$1/pid"; dir=$1; shift; exec "$@" >>"$dir/output" 2>&1`;

const PORTS_TO_TRY = 5;

/** A server that a test owns. */
export class ServerProcess implements AsyncDisposable {
  /** The server's own folder, removed with it. */
  readonly dir: string;
  readonly #kind: ServerKind;
  readonly #keeper: Deno.ChildProcess;
  #port = 0;
  #child: Deno.ChildProcess | null = null;
  #closed = false;
  readonly #forget: () => void;

  private constructor(kind: ServerKind, dir: string) {
    this.#kind = kind;
    this.dir = dir;
    this.#keeper = new Deno.Command("sh", {
      args: ["-c", KEEPER, "keeper", dir, kind.emergencySignal],
      stdin: "piped",
      stdout: "null",
      stderr: "null",
      cwd: "/",
      detached: true,
    }).spawn();
    this.#keeper.unref();
    this.#forget = noteProgram({
      title: `${kind.name} in ${dir}`,
      output: () => this.output().catch((error: Error) => error.message),
    });
  }

  /** Starts a server and waits until it serves. */
  static async start(kind: ServerKind): Promise<ServerProcess> {
    const dir = await Deno.makeTempDir({ prefix: `agentexec-${kind.name}-` });
    await Deno.chmod(dir, 0o755); // A server that runs as another user has to reach its data.
    const server = new ServerProcess(kind, dir);
    try {
      await kind.prepare?.(dir);
      for (let attempt = 1;; attempt++) {
        server.#port = freePort();
        try {
          await server.#launch();
          return server;
        } catch (error) {
          if (attempt === PORTS_TO_TRY) throw error;
        }
      }
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The port on 127.0.0.1, the same after a restart. */
  get port(): number {
    return this.#port;
  }

  /** The process id of the server that runs now. */
  get pid(): number {
    return this.#running().pid;
  }

  /** What the server has written so far. */
  async output(): Promise<string> {
    return await Deno.readTextFile(`${this.dir}/output`);
  }

  /** Ends it with all its children as a power cut would (SIGKILL); its data stays. */
  async kill(): Promise<void> {
    if (this.#child === null) return;
    const pids = [this.#child.pid, ...childrenOf(this.#child.pid)];
    for (const pid of pids) signalProcess(pid, "SIGKILL");
    await this.#gone(pids);
  }

  /** Ends it in good order; its data stays. */
  async stop(): Promise<void> {
    if (this.#child === null) return;
    this.resume();
    const pids = [this.#child.pid, ...childrenOf(this.#child.pid)];
    signalProcess(this.#child.pid, this.#kind.stopSignal);
    await this.#gone(pids);
  }

  /** Starts it again, on the same port and data, after stopping it where it runs. */
  async restart(): Promise<void> {
    if (this.#closed) throw new Error(`Cannot restart ${this.#kind.name}: it has been disposed of`);
    await this.stop();
    // The port may still be held for a moment by what was killed.
    const giveUpAt = performance.now() + 10_000;
    for (;;) {
      try {
        return await this.#launch();
      } catch (error) {
        if (performance.now() > giveUpAt) throw error;
      }
    }
  }

  /** Stops time for it (SIGSTOP): connections stay open and nothing answers. */
  pause(): void {
    const { pid } = this.#running();
    // The server first: it can then start no child that would be missed.
    signalProcess(pid, "SIGSTOP");
    for (const child of childrenOf(pid)) signalProcess(child, "SIGSTOP");
  }

  /** Lets it go on after {@linkcode ServerProcess.pause}. */
  resume(): void {
    const { pid } = this.#running();
    for (const each of [...childrenOf(pid), pid]) signalProcess(each, "SIGCONT");
  }

  /** Ends it and removes its folder. May be called twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#forget();
    await this.stop();
    this.#keeper.ref();
    await this.#keeper.stdin.close();
    await this.#keeper.status;
  }

  #running(): Deno.ChildProcess {
    if (this.#child === null) throw new Error(`Cannot do that: ${this.#kind.name} does not run`);
    return this.#child;
  }

  async #launch(): Promise<void> {
    await this.#kind.configure?.(this.dir, this.#port);
    const child = new Deno.Command("sh", {
      args: ["-c", LAUNCHER, "launcher", this.dir, ...this.#kind.command(this.dir, this.#port)],
      stdin: "null",
      stdout: "null",
      stderr: "null",
      cwd: "/",
      detached: true,
    }).spawn();
    child.unref(); // A test that forgets its server shall fail, not hang.
    this.#child = child;
    let ended: Deno.CommandStatus | null = null;
    child.status.then((status) => ended = status);
    const up = await waitFor(async () => {
      if (ended !== null) return "ended";
      if (!(await accepts(this.#port))) return "";
      await this.#kind.check?.(this.#port);
      return "serving";
    }, { what: `${this.#kind.name} to serve on port ${this.#port}`, timeoutMs: 30_000 });
    // Somebody else may serve on the port while ours has just found it taken.
    if (up === "ended" || ended !== null) {
      this.#child = null;
      await Deno.writeTextFile(`${this.dir}/pid`, "");
      throw new Error(`Cannot start ${this.#kind.name}: it ended\n${await this.output()}`);
    }
  }

  /** Waits until none of the processes lives, then forgets the server. */
  async #gone(pids: readonly number[]): Promise<void> {
    this.#child?.ref();
    if (this.#child !== null) {
      await within(this.#child.status, { what: `${this.#kind.name} to end`, timeoutMs: 30_000 });
    }
    this.#child = null;
    await waitFor(() => !pids.some(alive), {
      what: `the processes ${pids.join(", ")} of ${this.#kind.name} to end`,
      timeoutMs: 30_000,
    });
    // Its id may become somebody else's: the keeper must not know it any longer.
    await Deno.writeTextFile(`${this.dir}/pid`, "");
  }
}
