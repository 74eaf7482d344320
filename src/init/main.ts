/**
 * A program that writes a first project into an empty folder: a pool with a task, a producer, a test, and the tasks
 * `worker`, `enqueue` and `test` with the permissions that they need. It runs as it stands, without any server.
 *
 * ```sh
 * deno run --allow-read=. --allow-write=. jsr:@agentexec/core/init
 * ```
 *
 * A folder other than the current one is its argument; it is made where it is missing. Nothing is overwritten: where
 * one of the files is there already, or a `deno.jsonc` or `package.json`, the program says which, writes nothing, and
 * ends with 1.
 *
 * In a checkout of this library it is `deno task init`, and the project uses the checkout in place of the published
 * package: its `deno.json` then has the line `links`, and nothing else differs.
 *
 * @module
 */
import manifest from "../../deno.json" with { type: "json" };
import { HELP, parseRequest } from "./options.ts";
import { makeProject } from "./project.ts";

const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** The folder of the checkout that this module stands in; undefined where it was published. */
const CHECKOUT = import.meta.url.startsWith("file:")
  ? decodeURIComponent(new URL("../..", import.meta.url).pathname).slice(0, -1)
  : undefined;

/** Does what the command line says, and gives the exit code. */
async function main(args: readonly string[]): Promise<number> {
  const request = parseRequest(args);
  switch (request.kind) {
    case "help":
      console.log(HELP);
      return EXIT.done;
    case "wrong":
      console.error(`${request.message}\n\n${HELP}`);
      return EXIT.usage;
    case "write":
      return await write(request.directory);
    default:
      return request satisfies never;
  }
}

async function write(directory: string | undefined): Promise<number> {
  const outcome = await makeProject(folderOf(directory), {
    version: manifest.version,
    zod: manifest.imports.zod,
    checkout: CHECKOUT,
  });
  switch (outcome.kind) {
    case "written":
      console.log(success(outcome.names, directory));
      return EXIT.done;
    case "occupied":
      console.error(refusal(directory, `it has ${outcome.names.join(", ")}; nothing is written`));
      return EXIT.failed;
    case "failed":
      console.error(refusal(directory, outcome.reason));
      return EXIT.failed;
    default:
      return outcome satisfies never;
  }
}

/** The folder to write into, as Deno's functions take it. */
function folderOf(directory = "."): string {
  if (directory.startsWith("/")) return directory;
  const called = CHECKOUT === undefined ? undefined : calledIn();
  return called === undefined ? directory : `${called}/${directory}`;
}

/** Where deno task was called, which runs in the checkout; undefined without it, and not worth a question. */
function calledIn(): string | undefined {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "INIT_CWD" });
  return state === "granted" ? Deno.env.get("INIT_CWD") : undefined;
}

function success(names: readonly string[], directory: string | undefined): string {
  return [
    `Wrote ${names.join(", ")} into ${shown(directory)}`,
    "",
    "Next:",
    ...(directory === undefined ? [] : [`  cd ${quoted(directory)}`]),
    "  deno task test       # runs the tasks in the test's own process",
    "  deno task worker     # starts the pool; Ctrl+C ends it",
    "  deno task enqueue    # in another terminal: a task, its progress, its result",
  ].join("\n");
}

function refusal(directory: string | undefined, reason: string): string {
  return `Cannot write a project into ${shown(directory)}: ${reason}`;
}

function shown(directory: string | undefined): string {
  return directory === undefined ? "this folder" : quoted(directory);
}

/** A path as a shell takes it. */
function quoted(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
