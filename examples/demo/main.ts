/**
 * The demo: counts lines, words and bytes of all text files of a folder, one task per file, in workers that
 * may read that folder and nothing else.
 *
 * Run: `deno task demo -- DIRECTORY`, which is, in this project's folder,
 *
 * ```sh
 * deno run --no-prompt --allow-read --allow-write=.agentexec --allow-env --allow-net --allow-run=deno \
 *   examples/demo/main.ts DIRECTORY
 * ```
 *
 * It needs no server: tasks and activities are in two files in `.agentexec`. `--allow-read` without a list since
 * any folder may be asked for; `--allow-env` and `--allow-net` since the environment may name a Redis and a
 * Postgres anywhere, without them nothing is connected to. The workers get none of this.
 *
 * @module
 */
import { CONF, Pool } from "@agentexec/core";
import { findFiles, type FoundFiles } from "./files.ts";
import { type DemoOptions, HELP, parseOptions, UsageError } from "./options.ts";
import { formatReport } from "./report_table.ts";
import { countDone, findRun, finishRun, freshRun, queueOf, type Run } from "./run.ts";
import { printable, Screen } from "./screen.ts";
import { POOL_NAME } from "./tasks.ts";

const PROJECT = decodeURIComponent(new URL("../..", import.meta.url).pathname);

/** How long a stop waits for the files that are being read. */
const STOP_TIMEOUT = { seconds: 30 };

const EXIT = { done: 0, failed: 1, usage: 2, stopped: 130 } as const;

/** What the demo works on, and with. */
interface Job {
  readonly pool: Pool;
  readonly directory: string;
  readonly found: FoundFiles;
  readonly screen: Screen;
  readonly options: DemoOptions;
}

/** Runs the demo and gives its exit code. */
async function main(args: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(args);
    if (options.help) {
      console.log(HELP);
      return EXIT.done;
    }
    const directory = await realDirectory(options.directory);
    return await demo(directory, options);
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`${error.message}\n\n${HELP}`);
      return EXIT.usage;
    }
    console.error(error instanceof Error ? `${error.name}: ${error.message}` : error);
    return EXIT.failed;
  }
}

async function demo(directory: string, options: DemoOptions): Promise<number> {
  // From the first moment to the last: whatever a signal meets ends in good order.
  using interrupt = new Interrupt();
  await using screen = await Screen.open();
  const found = await findFiles(directory);
  screen.print(describe(directory, found));
  const queueName = queueOf(directory);
  // The module of the workers declares the pool as well, and finds its queue here.
  Deno.env.set("AGENTEXEC_QUEUE_NAME", queueName);
  await using pool = new Pool({
    name: POOL_NAME,
    queueName,
    entrypoint: new URL("./worker.ts", import.meta.url),
    permissions: { read: [directory] },
    numWorkers: options.numWorkers ?? CONF.numWorkers,
    gracefulShutdownTimeout: STOP_TIMEOUT,
    maxResultBytes: 256 * 1024 * 1024, // The report has a row for every file.
  });
  return await work({ pool, directory, found, screen, options }, interrupt.signal);
}

async function work(job: Job, interrupt: AbortSignal): Promise<number> {
  const { pool, directory, found, screen, options } = job;
  // Asks the broker first: where a database alone is named, no tables are made in it.
  await pool.depth();
  await pool.migrate();
  const run = options.fresh ? await freshRun(pool, directory) : await findRun(pool, directory);
  if (interrupt.aborted) {
    screen.print("Stopped before the workers were started");
    return EXIT.stopped;
  }
  screen.print(
    run.begun ? `Going on with run ${run.generation}` : `Beginning run ${run.generation}`,
  );
  const finishing = finishRun({
    pool,
    run,
    files: found.files,
    signal: interrupt,
    onProgress: (progress) => screen.showProgress(progress),
  });
  const report = await runPoolFor(pool, finishing).catch((error: unknown) => {
    // A call that was under way breaks off with the pool's connections.
    if (interrupt.aborted) return null;
    throw error;
  });
  screen.hideProgress();
  if (report === null) return await sayHowToGoOn(job, run);
  screen.print(`\n${formatReport(report, options)}`);
  return report.failed.every(({ unreadable }) => unreadable) ? EXIT.done : EXIT.failed;
}

/**
 * Runs the pool until the work is done, or as long as it runs: it knows itself what the first Ctrl+C means and
 * what the second.
 */
async function runPoolFor<T>(pool: Pool, work: Promise<T>): Promise<T> {
  const running = pool.run();
  try {
    // A pool that could not be started is what is wrong, not that the work then gets no answer.
    return await Promise.race([work, running.then(() => work)]);
  } finally {
    await pool.shutdown();
    await running;
    await Promise.allSettled([work]);
  }
}

async function sayHowToGoOn({ pool, directory, found, screen }: Job, run: Run): Promise<number> {
  const done = await countDone(pool, run);
  screen.print(
    `Stopped after ${done} of ${found.files.length} files; to go on: deno task demo -- ` +
      printable(directory),
  );
  return EXIT.stopped;
}

/** The folder as the workers' permission has to name it. */
async function realDirectory(given: string | undefined): Promise<string> {
  // deno task runs in the project's folder, and says where it was called.
  const base = Deno.env.get("INIT_CWD") ?? Deno.cwd();
  const path = given === undefined ? PROJECT : given.startsWith("/") ? given : `${base}/${given}`;
  try {
    const directory = await Deno.realPath(path);
    if ((await Deno.stat(directory)).isDirectory) return directory;
  } catch (error) {
    throw new UsageError(`Cannot look through '${path}': ${(error as Error).message}`, {
      cause: error,
    });
  }
  throw new UsageError(`Cannot look through '${path}': it is no folder`);
}

function describe(directory: string, { files, binary, closedFolders }: FoundFiles): string {
  return [
    `${files.length} text files in ${printable(directory)}, ${binary} others left out`,
    ...closedFolders.map((folder) => `${printable(folder)} cannot be read and is left out`),
  ].join("\n");
}

/** The signals that end a program, without their usual effect. */
class Interrupt implements Disposable {
  static readonly #SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  readonly #abort = new AbortController();
  readonly #listener = () =>
    this.#abort.abort(new DOMException("A signal asked the demo to stop", "AbortError"));

  constructor() {
    for (const signal of Interrupt.#SIGNALS) Deno.addSignalListener(signal, this.#listener);
  }

  /** Aborts at the first of them. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  [Symbol.dispose](): void {
    for (const signal of Interrupt.#SIGNALS) Deno.removeSignalListener(signal, this.#listener);
  }
}

if (import.meta.main) {
  // run() may have set a code of its own, for a stop that was forced.
  Deno.exitCode = await main(Deno.args) || Deno.exitCode;
}
