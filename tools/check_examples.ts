/**
 * Every symbol that the package exports has an example in its documentation; `deno doc --lint` does not look for
 * one. That they compile is what `deno check --doc` says.
 *
 * Run: `deno run --allow-run=deno tools/check_examples.ts`
 *
 * @module
 */

interface Documented {
  readonly jsDoc?: { readonly tags?: readonly { readonly kind: string }[] };
}

interface DocSymbol extends Documented {
  readonly name: string;
  readonly declarations?: readonly Documented[];
}

/** The names of the symbols of a module, as `deno doc --json` describes it, that have no example. */
export function withoutExample(symbols: readonly DocSymbol[]): string[] {
  return symbols
    .filter((symbol) => !(symbol.declarations ?? [symbol]).some(hasExample))
    .map(({ name }) => name);
}

function hasExample({ jsDoc }: Documented): boolean {
  return jsDoc?.tags?.some(({ kind }) => kind === "example") ?? false;
}

async function symbolsOf(module: string): Promise<DocSymbol[]> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["doc", "--json", module],
  }).output();
  if (code !== 0) throw new Error(`deno doc failed: ${new TextDecoder().decode(stderr)}`);
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout)) as {
    nodes: Record<string, { symbols: DocSymbol[] }>;
  };
  return Object.values(nodes).flatMap(({ symbols }) => symbols);
}

/** The entry points of the package: the values of `exports` in deno.json. */
const ENTRY_POINTS = ["mod.ts", "src/testing/mod.ts"];

if (import.meta.main) {
  const symbols = (await Promise.all(ENTRY_POINTS.map(symbolsOf))).flat();
  const missing = withoutExample(symbols);
  if (symbols.length === 0 || missing.length > 0) {
    console.error(
      `Exported without an @example: ${missing.join(", ") || "nothing was found to look at"}`,
    );
    Deno.exit(1);
  }
}
