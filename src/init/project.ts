/**
 * A first project: its files, and how they get into a folder.
 *
 * @module
 */
import { ENQUEUE, TASKS, TASKS_TEST, WORKER } from "./programs.ts";
import { namesIn, writeFiles, type WriteOutcome } from "./write.ts";

/** Where the project gets its packages from. */
export interface ProjectSources {
  /** The version of this library. */
  readonly version: string;
  /** Where zod comes from: the version that the library itself uses, so that there is one of it. */
  readonly zod: string;
  /** The folder of a checkout of this library, which then stands in for the published package. */
  readonly checkout: string | undefined;
}

/**
 * What shows that the folder is another project's. Beside a deno.json Deno no longer reads a deno.jsonc; beside a
 * package.json it takes packages from node_modules alone.
 */
const OTHER_PROJECTS = ["deno.jsonc", "package.json"];

/**
 * Writes a first project into a folder, which is made where it is missing. Where one of the files is there, or the
 * folder is another project's, nothing is written.
 */
export async function makeProject(
  folder: string,
  sources: ProjectSources,
): Promise<WriteOutcome> {
  const files = projectFiles(sources);
  try {
    // One question for each, where Deno would ask for file after file; what is denied fails below, with the reason.
    for (const name of ["read", "write"] as const) {
      await Deno.permissions.request({ name, path: folder });
    }
    await Deno.mkdir(folder, { recursive: true });
    const names = await namesIn(folder, [...files.keys(), ...OTHER_PROJECTS]);
    if (names.length > 0) return { kind: "occupied", names };
    return await writeFiles(folder, files);
  } catch (error) {
    return { kind: "failed", reason: (error as Error).message };
  }
}

/** The text of each file by its name. */
function projectFiles(sources: ProjectSources): ReadonlyMap<string, string> {
  return new Map([
    ["deno.json", configuration(sources)],
    ["tasks.ts", TASKS],
    ["worker.ts", WORKER],
    ["enqueue.ts", ENQUEUE],
    ["tasks_test.ts", TASKS_TEST],
  ]);
}

/** What the worker and a producer need alike: to find deno.json, and to keep the pool's files. */
const FILES = "--allow-read=. --allow-write=.agentexec";

const COMMANDS = {
  // All variables, for the pool to pass on: to Deno what finds its cache, to workers what they are granted.
  worker: `deno run --allow-env ${FILES} --allow-run=deno worker.ts`,
  // The quotes keep the task's shell from reading "*" as a pattern of files.
  enqueue: "deno run --allow-env='AGENTEXEC_*,REDIS_URL,DATABASE_URL,NODE_ENV' --ignore-env " +
    `${FILES} enqueue.ts`,
  test: "deno test",
};

function configuration({ version, zod, checkout }: ProjectSources): string {
  const content = {
    tasks: COMMANDS,
    imports: { "@agentexec/core": `jsr:@agentexec/core@^${version}`, zod },
    ...(checkout === undefined ? {} : { links: [checkout] }),
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
