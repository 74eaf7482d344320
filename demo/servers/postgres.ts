/**
 * A private Postgres.
 *
 * @module
 */
import { binary } from "../../tests/support/binaries.ts";
import { accepts, freePort } from "../../tests/support/ports.ts";
import { mustRun, runCommand } from "./command.ts";
import type { Place, Server, ServerKind } from "./place.ts";

const PORTS_TO_TRY = 5;

/** Makes the data in one step: a kill halfway leaves nothing that looks finished. Password on standard input. */
const INITIALIZE = `
set -e
umask 077
mkdir -p "$1"
[ -O "$1" ] || { echo "$1 belongs to somebody else"; exit 1; }
rm -rf "$1/new" "$1/data"
cat >"$1/password"
"$2" -D "$1/new" -A scram-sha-256 -U postgres --pwfile="$1/password" -E UTF8 --no-locale
rm "$1/password"
mv "$1/new" "$1/data"
`;

/**
 * Removes the mark of a server that was killed where its process id is that of a process which only waits to be
 * forgotten (in a container without an init) or of another program by now: Postgres takes both for a server.
 */
const FORGET_KILLED = `
pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) || exit 0
if [ -d /proc/self ]; then process=$(cat "/proc/$pid/stat" 2>/dev/null)
else process="($(ps -o comm= -p "$pid" | sed "s|.*/||")) $(ps -o stat= -p "$pid")"; fi
case "$process" in
  *"(postgres) "[!ZX]*) ;;
  *) rm -f "$1/postmaster.pid" ;;
esac
`;

/** Postgres. */
export const postgres: ServerKind = {
  name: "Postgres",

  async findRunning(place) {
    const cluster = await findCluster(place);
    const port = await cluster.runningPort();
    return port === null ? null : cluster.serverAt(port);
  },

  async start(place) {
    const cluster = await findCluster(place);
    if (place.isNew || !(await cluster.exists())) await cluster.initialize();
    for (let attempt = 1;; attempt++) {
      const port = freePort();
      const { success, output } = await cluster.start(port);
      if (success) return cluster.serverAt(port);
      if (attempt < PORTS_TO_TRY && output.includes("Address already in use")) continue;
      throw new Error(
        `Cannot start Postgres: ${output}\nWhere its data cannot be used any more, --fresh makes new data`,
      );
    }
  },
};

/** Data, and the programs that work on it. */
class Cluster {
  readonly #folder: string;
  readonly #programs: string;
  readonly #user: readonly string[];
  readonly #password: string;

  constructor(options: {
    readonly folder: string;
    readonly programs: string;
    readonly user: readonly string[];
    readonly password: string;
  }) {
    this.#folder = options.folder;
    this.#programs = options.programs;
    this.#user = options.user;
    this.#password = options.password;
  }

  async exists(): Promise<boolean> {
    return (await this.#run(["test", "-d", `${this.#folder}/data`])).success;
  }

  async initialize(): Promise<void> {
    const initdb = `${this.#programs}/initdb`;
    await mustRun(
      [...this.#user, "sh", "-c", INITIALIZE, "sh", this.#folder, initdb],
      { input: this.#password },
    );
  }

  /** Waits until it serves; what it says where it does not. It leaves this process's group by itself. */
  async start(port: number): Promise<{ readonly success: boolean; readonly output: string }> {
    const log = `${this.#folder}/log`;
    await this.#run(["rm", "-f", log]);
    await this.#run(["sh", "-c", FORGET_KILLED, "sh", `${this.#folder}/data`]);
    const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''`;
    const started = await this.#control("start", "-w", "-t", "60", "-l", log, "-o", options);
    if (started.success) return started;
    const { output } = await this.#run(["tail", "-n", "20", log]);
    return { success: false, output: `${started.output}\n${output}` };
  }

  /** The port of the server that runs on the data; null where none does. */
  async runningPort(): Promise<number | null> {
    if (!(await this.#control("status")).success) return null;
    const { output } = await this.#run(["sed", "-n", "4p", `${this.#folder}/data/postmaster.pid`]);
    const port = Number(output);
    // The id of a server that was killed may belong to another process by now.
    return Number.isInteger(port) && port > 0 && await accepts(port) ? port : null;
  }

  serverAt(port: number): Server {
    return {
      url: `postgres://postgres:${this.#password}@127.0.0.1:${port}/postgres`,
      stop: async () => {
        // "Fast": does not wait for clients to leave.
        const { success, output } = await this.#control("stop", "-m", "fast", "-w", "-t", "60");
        if (!success) throw new Error(`Cannot stop Postgres: ${output}`);
      },
    };
  }

  #control(action: string, ...args: string[]): ReturnType<typeof runCommand> {
    return this.#run([`${this.#programs}/pg_ctl`, action, "-D", `${this.#folder}/data`, ...args]);
  }

  #run(command: readonly string[]): ReturnType<typeof runCommand> {
    return runCommand([...this.#user, ...command]);
  }
}

/** Postgres refuses to run as root: then it runs as the user `postgres`, in a folder that this user can reach. */
async function findCluster({ folder, password }: Place): Promise<Cluster> {
  const programs = (await binary("initdb")).replace(/\/initdb$/, "");
  const own = `${folder}/postgres`;
  await Deno.mkdir(own, { recursive: true });
  if (Deno.uid() !== 0) return new Cluster({ folder: own, programs, user: [], password });
  const user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"];
  await mustRun(["chown", "postgres:", own]);
  const reachable = (await runCommand([...user, "test", "-x", own])).success;
  return new Cluster({
    folder: reachable ? own : await folderElsewhere(folder),
    programs,
    user,
    password,
  });
}

/** A project in /root, say: nobody but root can reach its data. */
async function folderElsewhere(folder: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(folder));
  return `/var/tmp/agentexec-demo-${new Uint8Array(digest).toHex().slice(0, 16)}`;
}
