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

/** What the project's `.gitignore` names. */
export const IGNORED = ".agentexec/";

const IGNORE_FILE = ".gitignore";

/** What came of making the project. */
export type ProjectOutcome =
  | { readonly kind: "written"; readonly names: readonly string[]; readonly ownIgnoreFile: boolean }
  | Exclude<WriteOutcome, { kind: "written" }>;

/**
 * Writes a first project into a folder, which is made where it is missing. A `.gitignore` that is there stays as it
 * is; where any other of the files is there, nothing is written.
 */
export async function makeProject(
  folder: string,
  sources: ProjectSources,
): Promise<ProjectOutcome> {
  const files = projectFiles(sources);
  try {
    await Deno.mkdir(folder, { recursive: true });
    // A deno.jsonc would be read no longer once there is a deno.json.
    const there = await namesIn(folder, [...files.keys(), "deno.jsonc"]);
    const names = there.filter((name) => name !== IGNORE_FILE);
    if (names.length > 0) return { kind: "occupied", names };
    const ownIgnoreFile = there.includes(IGNORE_FILE);
    if (ownIgnoreFile) files.delete(IGNORE_FILE);
    const outcome = await writeFiles(folder, files);
    if (outcome.kind !== "written") return outcome;
    return { kind: "written", names: [...files.keys()], ownIgnoreFile };
  } catch (error) {
    return { kind: "failed", reason: (error as Error).message };
  }
}

/** The text of each file by its name. */
function projectFiles(sources: ProjectSources): Map<string, string> {
  return new Map([
    ["deno.json", configuration(sources)],
    ["tasks.ts", TASKS],
    ["worker.ts", WORKER],
    ["enqueue.ts", ENQUEUE],
    ["tasks_test.ts", TASKS_TEST],
    [IGNORE_FILE, `${IGNORED}\n`],
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
