/**
 * A JSR registry on loopback that serves this package as `deno publish` would upload it, and folders of
 * users who have nothing but Deno and import it by its name.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { type CommandOptions, type Program, PROGRAM_FLAGS, runCommand } from "./processes.ts";

const ROOT = new URL("../../", import.meta.url);

/** A registry that serves this package. */
export interface Registry extends AsyncDisposable {
  /** What `JSR_URL` has to be, with the slash at its end. */
  readonly url: string;
  /** Every path that has been asked for. */
  readonly requests: readonly string[];
  /** Ends it. May be called twice. */
  stop(): Promise<void>;
}

/** The part of `deno.json` that is used here. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: string | Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
}

/** What {@linkcode startRegistry} may be told. */
export interface RegistryOptions {
  /** The package's folder: this project's own where none is given. */
  readonly root?: URL;
}

/** Starts a registry that serves the package as it is in the working tree now. */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const files = await publishedFiles(options.root ?? ROOT);
  const requests: string[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    (request) => {
      const { pathname } = new URL(request.url);
      requests.push(pathname);
      const body = files.get(pathname);
      return body === undefined
        ? new Response("There is no such file\n", { status: 404 })
        : new Response(body, { headers: { "content-type": contentType(pathname) } });
    },
  );
  let stopped: Promise<void> | undefined;
  const stop = () => stopped ??= server.shutdown();
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    requests,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** The paths and contents that a JSR registry has of the package. */
async function publishedFiles(root: URL): Promise<ReadonlyMap<string, Uint8Array<ArrayBuffer>>> {
  const manifest: Manifest = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const { name, version } = manifest;
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  const listed: Record<string, { readonly size: number; readonly checksum: string }> = {};
  const withoutNames = await modulesWithoutNames(root, Object.values(exportsOf(manifest)));
  for (const path of await publishList(root)) {
    const url = new URL(path, root);
    let body = await Deno.readFile(url);
    if (path.endsWith(".ts") && !withoutNames.has(url.href)) {
      body = encode(withFullSpecifiers(new TextDecoder().decode(body), manifest));
    }
    const checksum = `sha256-${createHash("sha256").update(body).digest("hex")}`;
    listed[`/${path}`] = { size: body.length, checksum };
    files.set(`/${name}/${version}/${path}`, body);
  }
  const [scope, packageName] = name.slice(1).split("/");
  const exports = exportsOf(manifest);
  files.set(
    `/${name}/meta.json`,
    encode(JSON.stringify({
      ...{ scope, name: packageName, latest: version },
      // Long ago: Deno may be told to wait before it takes a new version.
      versions: { [version]: { createdAt: "2020-01-01T00:00:00Z" } },
    })),
  );
  files.set(
    `/${name}/${version}_meta.json`,
    encode(JSON.stringify({ manifest: listed, exports })),
  );
  return files;
}

function exportsOf({ exports }: Manifest): Readonly<Record<string, string>> {
  return typeof exports === "string" ? { ".": exports } : exports;
}

/**
 * The modules that import nothing by a name of the import map: what looks like such an import in one of them is in a
 * text, and `deno publish` leaves texts alone.
 */
async function modulesWithoutNames(
  root: URL,
  entries: readonly string[],
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const entry of entries) {
    const { modules } = await denoInfo<ModuleGraph>(new URL(entry, root).pathname, root);
    for (const { specifier, dependencies = [] } of modules) {
      if (dependencies.every((each) => /^(\.|node:)/.test(each.specifier))) found.add(specifier);
    }
  }
  return found;
}

/** What `deno publish` would upload, from the package's root. */
async function publishList(root: URL): Promise<string[]> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["publish", "--dry-run", "--allow-dirty", "--no-check"],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  const paths = [...output.matchAll(/^\s+(file:\S+) \([\d.]+[KMG]?i?B\)$/gm)]
    .map((match) => match[1] ?? "")
    .filter((url) => url.startsWith(root.href))
    .map((url) => decodeURIComponent(url.slice(root.href.length)));
  if (code !== 0 || paths.length === 0) {
    throw new Error(`Cannot tell what deno publish would upload (code ${code}):\n${output}`);
  }
  return paths;
}

/**
 * Writes out the names of the import map, as `deno publish` does: a published file is read without the
 * map.
 */
export function withFullSpecifiers(source: string, manifest: Manifest): string {
  const positions = /(\bfrom\s+|\bimport\s+|\bimport\(\s*|@ts-types=)(["'])([^"'\n]+)\2/g;
  return source.replace(positions, (whole, before: string, quote: string, specifier: string) => {
    if (specifier === manifest.name) return whole; // Only in examples of doc comments.
    const full = fullSpecifier(specifier, manifest.imports);
    return full === null ? whole : `${before}${quote}${full}${quote}`;
  });
}

function fullSpecifier(specifier: string, imports: Manifest["imports"]): string | null {
  const mapped = imports[specifier];
  if (mapped !== undefined) return mapped;
  // "zod/v4" is "npm:zod@4.6.7/v4" where the map has "zod".
  const name = Object.keys(imports).find((key) => specifier.startsWith(`${key}/`));
  return name === undefined ? null : `${imports[name]}${specifier.slice(name.length)}`;
}

function contentType(path: string): string {
  if (path.endsWith(".ts")) return "text/typescript";
  return path.endsWith(".json") ? "application/json" : "text/plain";
}

function encode(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

/** What {@linkcode RegistryProject.run} may be told. */
export interface RegistryRunOptions extends CommandOptions {
  /** The program's file in the project's folder, `main.ts` where it is not given. */
  readonly main?: string;
  /** Flags of `deno run`: {@linkcode PROGRAM_FLAGS} where none are given. */
  readonly denoArgs?: readonly string[];
  /** Arguments of the program. */
  readonly args?: readonly string[];
}

/** A folder with a program of somebody who has nothing but Deno and what it has downloaded for this. */
export interface RegistryProject extends AsyncDisposable {
  /** The folder, outside of this project. */
  readonly dir: string;
  /** Its own Deno cache. */
  readonly denoDir: string;
  /** Runs a program of the folder. */
  run(options?: RegistryRunOptions): Promise<Program>;
}

/**
 * Makes a folder with the given files and a Deno cache of its own in which there is nothing but the npm
 * packages that this library needs (so that a test run does not download them again and again).
 *
 * @param registry Where the folder's programs get `jsr:` packages from.
 * @param files The text of each file by its name.
 */
export async function makeRegistryProject(
  registry: Pick<Registry, "url">,
  files: Readonly<Record<string, string>>,
): Promise<RegistryProject> {
  const top = await Deno.makeTempDir({ prefix: "agentexec-jsr-" });
  const [dir, denoDir] = [`${top}/project`, `${top}/deno`];
  const remove = () => Deno.remove(top, { recursive: true });
  try {
    await Deno.mkdir(dir);
    for (const [name, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${dir}/${name}`, text);
    }
    await seedNpmPackages(`${denoDir}/npm`);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    dir,
    denoDir,
    run(options = {}) {
      const { main = "main.ts", denoArgs = PROGRAM_FLAGS, args = [], env = {}, ...rest } = options;
      return runCommand(["deno", "run", ...denoArgs, main, ...args], {
        cwd: dir,
        ...rest,
        env: { JSR_URL: registry.url, DENO_DIR: denoDir, NO_COLOR: "1", ...env },
      });
    },
    [Symbol.asyncDispose]: remove,
  };
}

/** What {@linkcode runFromRegistry} may be told. */
export interface RunFromRegistryOptions extends RegistryRunOptions {
  /** Where `jsr:` packages come from. */
  readonly registry: Pick<Registry, "url">;
  /** The text of each file of the program by its name; `main.ts` is run. */
  readonly files: Readonly<Record<string, string>>;
}

/** How a program ended, and what it wrote. */
export interface FinishedProgram {
  /** Its exit code. */
  readonly code: number;
  /** The lines of its standard output. */
  readonly stdout: readonly string[];
  /** The lines of its standard error. */
  readonly stderr: readonly string[];
}

/** Runs a program to its end in a project of its own: {@linkcode makeRegistryProject} for once. */
export async function runFromRegistry(options: RunFromRegistryOptions): Promise<FinishedProgram> {
  const { registry, files, ...rest } = options;
  await using project = await makeRegistryProject(registry, files);
  await using program = await project.run(rest);
  const { code } = await program.exit;
  return { code, stdout: program.stdout, stderr: program.stderr };
}

/** The part of `deno info --json FILE` that is used here. */
interface ModuleGraph {
  readonly modules: readonly {
    readonly specifier: string;
    readonly npmPackage?: string;
    readonly dependencies?: readonly { readonly specifier: string }[];
  }[];
  readonly npmPackages: Readonly<Record<string, NpmPackage>>;
}

interface NpmPackage {
  readonly name: string;
  readonly dependencies: readonly string[];
  readonly localPath: string;
}

/**
 * Copies the npm packages of this library, and no others, out of the cache of this run: a package that
 * only the tests use must be missing where a user would miss it.
 */
async function seedNpmPackages(target: string): Promise<void> {
  const graph = await denoInfo<ModuleGraph>(new URL("mod.ts", ROOT).pathname);
  const ids = new Set(graph.modules.flatMap(({ npmPackage }) => npmPackage ?? []));
  for (const id of ids) {
    const found = graph.npmPackages[id];
    if (found === undefined) continue;
    for (const dependency of found.dependencies) ids.add(dependency);
    await copyPackage(found, target);
  }
}

/**
 * Copies `<cache>/<registry>/<name>/<version>`, with the list of the package's versions where it is there: a cache
 * that was filled by a lock file has none, and the program then gets it from the registry.
 */
async function copyPackage({ name, localPath }: NpmPackage, target: string): Promise<void> {
  const source = localPath.slice(0, localPath.lastIndexOf("/"));
  const host = source.slice(0, -name.length - 1).split("/").at(-1);
  const folder = `${target}/${host}/${name}`;
  await Deno.mkdir(folder, { recursive: true });
  for (const each of [localPath, `${source}/registry.json`]) {
    if (!await exists(each)) continue;
    const { code, stderr } = await new Deno.Command("cp", { args: ["-R", each, `${folder}/`] })
      .output();
    if (code !== 0) throw new Error(`Cannot copy ${each}: ${new TextDecoder().decode(stderr)}`);
  }
}

async function denoInfo<T>(file: string, cwd = ROOT): Promise<T> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["info", "--json", file],
    cwd,
  }).output();
  if (code === 0) return JSON.parse(new TextDecoder().decode(stdout)) as T;
  throw new Error(`Cannot read the imports of ${file}: ${new TextDecoder().decode(stderr)}`);
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
