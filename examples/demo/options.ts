/**
 * What the command line of the demo says.
 *
 * @module
 */
import { parseArgs } from "node:util";

/** The text of `--help`. */
export const HELP = `Counts lines, words and bytes of all text files of a folder, one task per file.

Usage: deno task demo [options] [DIRECTORY]

  DIRECTORY      the folder to look through, this project where it is left out
  --workers N    how many worker processes, AGENTEXEC_NUM_WORKERS or 4 where it is left out
  --all          reports every file, and not only the ten largest
  --fresh        begins a new run; what is left of an earlier one is canceled
  --help         shows this text

Needs no server: tasks and activities are in .agentexec, in the project's folder. Where REDIS_URL and DATABASE_URL
are set, they are in the Redis and the Postgres that these name. A run that was stopped is finished by the next one.

Exit codes: 0 the report is complete (files that cannot be read are part of it), 1 something failed,
2 the command line is wrong, 130 stopped by a signal before the report.`;

/** What the command line asks for. */
export interface DemoOptions {
  /** The folder, as it was given; undefined for this project. */
  readonly directory: string | undefined;
  /** How many workers; undefined for the environment's choice. */
  readonly numWorkers: number | undefined;
  /** Whether to report every file. */
  readonly all: boolean;
  /** Whether to go on with no earlier run. */
  readonly fresh: boolean;
  /** Whether to show the help and do nothing. */
  readonly help: boolean;
}

/** The command line is wrong; the message says how. */
export class UsageError extends Error {
  /** `"UsageError"` */
  override readonly name = "UsageError";
}

/** Reads the command line. `deno task demo -- DIRECTORY` and `deno task demo DIRECTORY` are the same. */
export function parseOptions(args: readonly string[]): DemoOptions {
  const { values, positionals } = parse(args);
  if (positionals.length > 1) {
    throw new UsageError(`Cannot look through ${positionals.length} folders: give one DIRECTORY`);
  }
  return {
    directory: positionals[0],
    numWorkers: values.workers === undefined ? undefined : workers(values.workers),
    all: values.all,
    fresh: values.fresh,
    help: values.help,
  };
}

function parse(args: readonly string[]) {
  // deno task hands its "--" on. What stands behind it may still be an option of ours.
  const given = args[0] === "--" ? args.slice(1) : [...args];
  try {
    return parseArgs({
      args: given,
      allowPositionals: true,
      options: {
        workers: { type: "string" },
        all: { type: "boolean", default: false },
        fresh: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    if (error instanceof TypeError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

function workers(text: string): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= 1 && number <= 1_000) return number;
  throw new UsageError(
    `Cannot start '${text}' workers: --workers takes a whole number from 1 to 1000`,
  );
}
