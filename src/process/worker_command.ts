/**
 * The arguments of `deno run` that make a worker of a program's module.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { fromFileUrl, toFileUrl } from "../program/file_url.ts";
import { CONFIG_NAMES, lookForFile, mayNot } from "../program/project.ts";
import { parseJsonc } from "./jsonc.ts";

/** What a worker's command line is made of. */
export interface WorkerCommand {
  /** The module that declares the tasks, a URL. */
  readonly entrypoint: string;
  /** The configuration file, a path or a `file:` URL, if there is one. */
  readonly config?: string;
  /** Whether it has a lock file; undefined where nobody knows. */
  readonly locked: boolean | undefined;
  /** The permissions. */
  readonly flags: readonly string[];
  /** Further flags. */
  readonly denoArgs: readonly string[];
  /** The program's arguments, its supervisor's. */
  readonly programArgs: readonly string[];
  /** The library's module that takes the worker's marker away. */
  readonly markerModule: string;
  /** The library's main module of a worker. */
  readonly workerMain: string;
}

/** The arguments. */
export function workerArguments(command: WorkerCommand): string[] {
  const { config, locked, flags, denoArgs, programArgs } = command;
  return [
    "run",
    "--cached-only",
    ...(config === undefined ? ["--no-config"] : ["--config", pathOf(config)]),
    // A worker writes no lock file: it checks the one there is, or does without. Where nobody could look, Deno finds
    // the one that it made for the supervisor.
    ...(locked === undefined ? [] : [locked ? "--frozen" : "--no-lock"]),
    ...flags,
    ...denoArgs,
    mainModule(command),
    // Deno hands on all that stands behind the main module, whatever it begins with.
    ...programArgs,
  ];
}

/**
 * The main module: a text that imports the program's module and, once that has been evaluated, the library's loop.
 * So `import.meta.main` is false in the program, its top-level await is waited for, and timers and connections that
 * it left open are not (measured on Deno 2.9.6: a module of `--preload` has its event loop drained first, which a
 * timer never lets happen). Literal `import()`s stand in the module graph: they need no read permission, and also
 * reach modules of `jsr:` and of `https:` in the cache. Static imports would not wait for one another.
 */
function mainModule({ markerModule, entrypoint, workerMain }: WorkerCommand): string {
  const [marker, program, loop] = [markerModule, entrypoint, workerMain].map((url) =>
    JSON.stringify(url)
  );
  return "data:text/javascript," +
    encodeURIComponent(`import ${marker};\nawait import(${program});\nawait import(${loop});\n`);
}

/**
 * Whether a configuration file has a lock file: the one it names or the one beside it, its own or its workspace's.
 * Undefined where this process may not look, or cannot read what it says.
 *
 * @throws {ConfigError} If the file is not there.
 */
export async function hasLock(config: string): Promise<boolean | undefined> {
  const path = pathOf(config);
  const own = await lockOf(path);
  if (own === "no file") {
    throw new ConfigError(`Cannot use option 'config': there is no file ${path}`);
  }
  if (own !== "not there") return ANSWERS[own];
  // A member of a workspace has its lock file in the folder of the workspace.
  for (let folder = parent(parent(path)); folder !== ""; folder = parent(folder)) {
    for (const name of CONFIG_NAMES) {
      const above = await lockOf(`${folder}${name}`, "workspace");
      if (above !== "no file") return ANSWERS[above];
    }
  }
  return false;
}

const ANSWERS = { "there": true, "not there": false, "unknown": undefined } as const;

/** The absolute path of a file that the option names by a path or a URL. */
function pathOf(config: string): string {
  if (config.startsWith("file:")) return fromFileUrl(config);
  const path = config.startsWith("/") ? config : `${Deno.cwd()}/${config}`;
  return fromFileUrl(toFileUrl(path).href);
}

/** The folder that a path stands in, with its slash; empty above the root. */
function parent(path: string): string {
  return path.replace(/[^/]*\/?$/, "");
}

/** What is known of a configuration's lock file; one without the field asked for counts as no file. */
async function lockOf(
  config: string,
  needed?: "workspace",
): Promise<keyof typeof ANSWERS | "no file"> {
  const content = await contentOf(config);
  if (typeof content === "string") return content;
  if (needed !== undefined && content[needed] === undefined) return "no file";
  const { lock } = content;
  if (lock === false) return "not there";
  const named = typeof lock === "object" && lock !== null && "path" in lock ? lock.path : lock;
  const name = typeof named === "string" ? named : "deno.lock";
  const found = lookForFile(name.startsWith("/") ? name : `${parent(config)}${name}`);
  return found === "may not look" ? "unknown" : found;
}

async function contentOf(config: string): Promise<Record<string, unknown> | "no file" | "unknown"> {
  try {
    const content = parseJsonc(await Deno.readTextFile(config));
    return typeof content === "object" && content !== null ? { ...content } : "unknown";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "no file";
    // Deno itself reads the file for the worker, whatever this process may do, and says what is wrong in it.
    if (mayNot(error) || error instanceof SyntaxError) return "unknown";
    throw error;
  }
}
