/**
 * What the command line of `init` says.
 *
 * @module
 */
import { parseArgs } from "node:util";

/** The text of `--help`. */
export const HELP = `Writes a first project with a worker pool into an empty folder.

Usage: deno run --allow-read=. --allow-write=. jsr:@agentexec/core/init [DIRECTORY]

  DIRECTORY      the folder, made where it is missing; the current one where it is left out
  --help         shows this text

Nothing is overwritten: where one of its files is there already, it says which, and writes none.

Exit codes: 0 the project is written, 1 it is not, 2 the command line is wrong.`;

/** What the command line asks for. */
export type InitRequest =
  | { readonly kind: "write"; readonly directory: string | undefined }
  | { readonly kind: "help" }
  | { readonly kind: "wrong"; readonly message: string };

/** Reads the command line. */
export function parseRequest(args: readonly string[]): InitRequest {
  const parsed = parse(args);
  if (typeof parsed === "string") return { kind: "wrong", message: parsed };
  const { values, positionals } = parsed;
  if (values.help) return { kind: "help" };
  if (positionals.length > 1) {
    const message = `Cannot write into ${positionals.length} folders: give one DIRECTORY`;
    return { kind: "wrong", message };
  }
  const [directory] = positionals;
  if (directory === "") {
    return { kind: "wrong", message: "Cannot write into '': DIRECTORY is an empty name" };
  }
  return { kind: "write", directory };
}

/** The parts of the command line, or what is wrong with it. */
function parse(args: readonly string[]) {
  // deno task hands its "--" on. What stands behind it may still be an option of ours.
  const given = args[0] === "--" ? args.slice(1) : [...args];
  try {
    return parseArgs({
      args: given,
      allowPositionals: true,
      options: { help: { type: "boolean", short: "h", default: false } },
    });
  } catch (error) {
    if (error instanceof TypeError) return error.message;
    throw error;
  }
}
