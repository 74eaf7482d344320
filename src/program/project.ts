/**
 * The program that this process runs: its main module, and the project that this stands in.
 *
 * @module
 */
import { statSync } from "node:fs";
import process from "node:process";
import { ConfigError } from "../errors.ts";
import { fromFileUrl, toFileUrl } from "./file_url.ts";

/** The names of Deno's configuration file. */
export const CONFIG_NAMES: readonly string[] = ["deno.json", "deno.jsonc"];

/** Whether the program is a binary of `deno compile`. Asked by name, since Node.js has no such global. */
export function isCompiled(): boolean {
  const deno: unknown = Reflect.get(globalThis, "Deno");
  const build: unknown = deno instanceof Object ? Reflect.get(deno, "build") : undefined;
  return build instanceof Object && Reflect.get(build, "standalone") === true;
}

/** The URL of the main module where it is a file; undefined for a remote one and for a compiled binary. */
export function mainModule(): URL | undefined {
  const path = process.argv[1];
  return isCompiled() || path === undefined || !path.startsWith("/") ? undefined : toFileUrl(path);
}

/** What a path leads to, as far as this process may know. */
export type Found = "there" | "not there" | "may not look";

/** Whether a path leads to a file. */
export function lookForFile(path: string): Found {
  try {
    return statSync(path).isFile() ? "there" : "not there";
  } catch (error) {
    if (mayNot(error)) return "may not look";
    if (error instanceof Error && NOT_THERE.includes(codeOf(error))) return "not there";
    throw error;
  }
}

const NOT_THERE = ["ENOENT", "ENOTDIR"];

/** Not granted to this process by Deno, or not allowed to its user by the system. */
export function mayNot(error: unknown): boolean {
  return error instanceof Error &&
    (error.name === "NotCapable" || error.name === "PermissionDenied" ||
      ["EACCES", "EPERM"].includes(codeOf(error)));
}

function codeOf(error: Error): string {
  return String(Reflect.get(error, "code"));
}

/** How {@linkcode findConfig} searches. */
export interface FindConfigOptions {
  /** What else the user can do where a folder may not be read. */
  readonly instead: string;
  /**
   * Whether folders above that this process may not look into are an error too, or the end of the search.
   *
   * @default {false}
   */
  readonly toTheRoot?: boolean;
}

/**
 * The nearest `deno.json` or `deno.jsonc` above a module; undefined where there is none, or the module is remote.
 *
 * @throws {ConfigError} If this process may not look where it has to.
 */
export function findConfig(
  entrypoint: URL,
  { instead, toTheRoot = false }: FindConfigOptions,
): string | undefined {
  if (entrypoint.protocol !== "file:") return undefined;
  const own = fromFileUrl(new URL(".", entrypoint).href);
  for (let folder = own;; folder = folder.replace(/[^/]+\/$/, "")) {
    for (const name of CONFIG_NAMES) {
      const found = lookForFile(`${folder}${name}`);
      if (found === "there") return `${folder}${name}`;
      if (found === "may not look" && folder !== own && !toTheRoot) return undefined;
      if (found === "may not look") {
        throw new ConfigError(
          `Cannot look for the deno.json of ${entrypoint}: this process may not read ${folder}; start it with ` +
            `--allow-read=${folder}, or ${instead}`,
        );
      }
    }
    if (folder === "/") return undefined;
  }
}
