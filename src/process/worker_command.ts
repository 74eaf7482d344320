/**
 * The arguments of `deno run` that make a worker of a program's module.
 *
 * @module
 */
import { ConfigError } from "../errors.ts";
import { fromFileUrl, toFileUrl } from "./file_url.ts";

/** What a worker's command line is made of. */
export interface WorkerCommand {
  /** The module that declares the tasks, a URL. */
  readonly entrypoint: string;
  /** The configuration file, if there is one. */
  readonly config?: string;
  /** Whether a lock file stands beside it. */
  readonly locked: boolean;
  /** The permissions. */
  readonly flags: readonly string[];
  /** Further flags. */
  readonly denoArgs: readonly string[];
  /** The library's module that takes the worker's marker away. */
  readonly markerModule: string;
  /** The library's main module of a worker. */
  readonly workerMain: string;
}

/**
 * The arguments. The program's module is preloaded, so that in it `import.meta.main` is false, and the library's
 * own is the main module (measured on Deno 2.9.6: preloads run in order, and need no read permission).
 */
export function workerArguments(command: WorkerCommand): string[] {
  const { entrypoint, config, locked, flags, denoArgs, markerModule, workerMain } = command;
  return [
    "run",
    "--cached-only",
    ...(config === undefined ? ["--no-config"] : ["--config", config]),
    // A worker never writes a lock file: it checks the one there is, or does without.
    locked ? "--frozen" : "--no-lock",
    ...flags,
    ...denoArgs,
    "--preload",
    markerModule,
    "--preload",
    entrypoint,
    workerMain,
  ];
}

/**
 * The nearest `deno.json` or `deno.jsonc` above a module; undefined where there is none, or the module is remote. The
 * search ends where this process may not read on.
 *
 * @throws {ConfigError} If this process may not even look into the module's own folder.
 */
export async function findConfig(entrypoint: URL): Promise<string | undefined> {
  if (entrypoint.protocol !== "file:") return undefined;
  const own = fromFileUrl(new URL(".", entrypoint).href);
  for (let folder = own;; folder = folder.replace(/[^/]+\/$/, "")) {
    for (const name of ["deno.json", "deno.jsonc"]) {
      const found = await look(`${folder}${name}`);
      if (found === "there") return `${folder}${name}`;
      if (found === "may not look" && folder !== own) return undefined;
      if (found === "may not look") {
        throw new ConfigError(
          `Cannot look for the workers' deno.json: this process may not read ${folder}; start it with ` +
            `--allow-read=${folder}, or name the file in the option 'config'`,
        );
      }
    }
    if (folder === "/") return undefined;
  }
}

/** Whether the configuration has a lock file: the one it names, or `deno.lock` beside it. */
export async function hasLock(config: string): Promise<boolean> {
  const lock = lockField(await Deno.readTextFile(config));
  if (lock === false) return false;
  const path = fromFileUrl(
    new URL(lock ?? "deno.lock", toFileUrl(config)).href,
  );
  return await look(path) === "there";
}

/** A file of comments and trailing commas is still read for this one field. */
function lockField(text: string): string | false | undefined {
  if (/"lock"\s*:\s*false/.test(text)) return false;
  return /"lock"\s*:\s*"([^"]+)"/.exec(text)?.[1] ??
    /"lock"\s*:\s*\{[^}]*"path"\s*:\s*"([^"]+)"/.exec(text)?.[1];
}

async function look(path: string): Promise<"there" | "not there" | "may not look"> {
  try {
    return (await Deno.stat(path)).isFile ? "there" : "not there";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "not there";
    if (error instanceof Deno.errors.NotCapable) return "may not look";
    throw error;
  }
}
