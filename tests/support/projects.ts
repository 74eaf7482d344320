/**
 * Projects of a user: folders with a `deno.json` that maps the package to this checkout.
 *
 * @module
 */
import { type CommandOptions, type Program, runCommand } from "./processes.ts";

/** This repository. */
export const CHECKOUT = new URL("../../", import.meta.url);

/** A project in a temporary folder. */
export interface Project extends AsyncDisposable {
  /** Its folder, absolute and real. */
  readonly folder: string;
  /** The files of its `.agentexec`, with their sizes; empty where there is none. */
  stores(): Promise<ReadonlyMap<string, Deno.FileInfo>>;
  /** Runs one of its programs in its folder; the test's own variables name no stores. */
  run(file: string, options?: ProjectProgram): Promise<Program>;
}

/** How a program of a project is run. */
export interface ProjectProgram extends CommandOptions {
  /** Arguments of the program. */
  readonly args?: readonly string[];
  /** Flags of `deno run`; {@linkcode EMBEDDED_FLAGS} where none are given. */
  readonly flags?: readonly string[];
  /** The mask of the modes of what it makes, in octal; the test's own where it is not given. */
  readonly umask?: string;
}

/** What a program with an embedded pool needs, run in the folder of its project. */
export const EMBEDDED_FLAGS: readonly string[] = [
  "--no-prompt",
  "--allow-read=.",
  "--allow-write=.agentexec",
  "--allow-env",
  "--allow-run=deno",
];

/** Makes a project of these files, with the tasks of this checkout. */
export async function makeProject(files: Readonly<Record<string, string>>): Promise<Project> {
  const folder = await Deno.realPath(await Deno.makeTempDir({ prefix: "agentexec-project-" }));
  const { imports, tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", CHECKOUT)));
  // With the checkout's own lock file nothing has to be asked of the registry.
  const lock = await Deno.readTextFile(new URL("deno.lock", CHECKOUT));
  const all = {
    "deno.json": JSON.stringify({
      imports: { ...imports, "@agentexec/core": new URL("mod.ts", CHECKOUT).href },
      tasks,
    }),
    "deno.lock": lock,
    ...files,
  };
  for (const [name, text] of Object.entries(all)) {
    await Deno.mkdir(`${folder}/${name}`.replace(/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(`${folder}/${name}`, text);
  }
  return {
    folder,
    stores: () => filesIn(`${folder}/.agentexec`),
    run(file, { args = [], flags = EMBEDDED_FLAGS, env = {}, umask, ...options } = {}) {
      const masked = umask === undefined ? [] : ["sh", "-c", `umask ${umask}; exec "$@"`, "sh"];
      return runCommand([...masked, "deno", "run", ...flags, file, ...args], {
        cwd: folder,
        env: { NO_COLOR: "1", ...env },
        ...options,
      });
    },
    [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }),
  };
}

async function filesIn(folder: string): Promise<ReadonlyMap<string, Deno.FileInfo>> {
  const found = new Map<string, Deno.FileInfo>();
  try {
    for await (const { name } of Deno.readDir(folder)) {
      found.set(name, await Deno.stat(`${folder}/${name}`));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found;
}
