/**
 * Names long files and functions. It is advice: a long file that is one idea is better than three that
 * are none, so this never fails.
 *
 * Run: `deno run --allow-read=. tools/advice.ts`
 *
 * @module
 */

const LONG_FILE = 300;
const LONG_FUNCTION = 60;

/** Something longer than most. */
export interface LongPart {
  /** What it is, with its place. */
  readonly name: string;
  /** Its lines. */
  readonly lines: number;
}

/** The long functions of a source text that `deno fmt` has laid out, found by their indentation. */
export function longFunctions(source: string, limit = LONG_FUNCTION): LongPart[] {
  const lines = source.split("\n");
  const found: LongPart[] = [];
  for (const [start, line] of lines.entries()) {
    const match = FUNCTION_START.exec(line);
    const name = match?.[2] ?? match?.[3];
    if (match === null || name === undefined || KEYWORDS.has(name)) continue;
    const end = endOf(lines, start, match[1] ?? "");
    if (end !== null && end - start + 1 > limit) {
      found.push({ name: `${name}() at line ${start + 1}`, lines: end - start + 1 });
    }
  }
  return found;
}

// A declaration, or a method of a class or an object: "  async #name(", "  static of<T>(".
const FUNCTION_START =
  /^( *)(?:(?:export )?(?:async )?function\*? ([\w$]+)|(?:static )?(?:override )?(?:async )?(?:get |set )?\*?([#\w$]+)(?:<.*>)?\((?!.*;$))/;

const KEYWORDS = new Set(["if", "for", "while", "switch", "catch", "return", "await", "super"]);

/** The line that closes the body at the function's own indentation; null where there is no body. */
function endOf(lines: readonly string[], start: number, indentation: string): number | null {
  const inside = new RegExp(`^(${indentation} |$)`);
  for (let index = start + 1; index < lines.length; index++) {
    const line = lines[index] ?? "";
    if (inside.test(line)) continue;
    if (!line.startsWith(`${indentation}}`) && !line.startsWith(`${indentation})`)) return null;
    // "}" ends the body, "): Promise<void> {" only the parameters.
    if (!line.endsWith("{")) return line.startsWith(`${indentation}}`) ? index : null;
  }
  return null;
}

async function* sources(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) yield* sources(path);
    else if (entry.name.endsWith(".ts")) yield path;
  }
}

async function main(): Promise<void> {
  const long: LongPart[] = [];
  for await (const path of sources("src")) {
    const source = await Deno.readTextFile(path);
    const lines = source.split("\n").length - 1;
    if (lines > LONG_FILE) long.push({ name: path, lines });
    for (const part of longFunctions(source)) {
      long.push({ name: `${path}: ${part.name}`, lines: part.lines });
    }
  }
  if (long.length === 0) return;
  console.log(`Advice: files over ${LONG_FILE} lines and functions over ${LONG_FUNCTION}`);
  for (const { name, lines } of long.sort((a, b) => b.lines - a.lines)) {
    console.log(`  ${String(lines).padStart(4)}  ${name}`);
  }
}

if (import.meta.main) await main();
