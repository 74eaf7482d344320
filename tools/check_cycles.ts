/**
 * Fails where files of `src/` import each other in a circle, imports of types included.
 *
 * Run: `deno run --allow-read=. --allow-run=deno tools/check_cycles.ts`
 *
 * @module
 */

/** Who imports whom: the specifiers of files, as URLs. */
export type ImportGraph = ReadonlyMap<string, readonly string[]>;

/** The part of `deno info --json` that is used here. */
interface ModuleInfo {
  readonly specifier: string;
  readonly error?: string;
  readonly dependencies?: readonly {
    readonly code?: { readonly specifier?: string };
    readonly type?: { readonly specifier?: string };
  }[];
}

/** Who imports whom among the TypeScript files below a folder. */
export async function readImportGraph(folder: URL): Promise<ImportGraph> {
  const graph = new Map<string, readonly string[]>();
  for (const file of await filesBelow(folder)) {
    if (graph.has(file)) continue;
    for (const module of await modulesFrom(file)) {
      if (module.error !== undefined) {
        throw new Error(`Cannot read ${module.specifier}: ${module.error}`);
      }
      if (!module.specifier.startsWith(folder.href)) continue;
      const targets = (module.dependencies ?? [])
        .flatMap(({ code, type }) => [code?.specifier, type?.specifier])
        .filter((target) => target !== undefined && target.startsWith(folder.href));
      graph.set(module.specifier, [...new Set(targets)] as string[]);
    }
  }
  return graph;
}

/**
 * The circles: each a list of files that all reach each other, a file that imports itself included
 * (Tarjan's strongly connected components).
 */
export function findCycles(graph: ImportGraph): string[][] {
  const order = new Map<string, number>();
  const lowest = new Map<string, number>();
  const stack: string[] = [];
  const cycles: string[][] = [];

  function visit(file: string): void {
    order.set(file, order.size);
    lowest.set(file, order.get(file)!);
    stack.push(file);
    for (const target of graph.get(file) ?? []) {
      if (!order.has(target)) visit(target);
      if (stack.includes(target)) {
        lowest.set(file, Math.min(lowest.get(file)!, lowest.get(target)!));
      }
    }
    if (lowest.get(file) !== order.get(file)) return;
    const component = stack.splice(stack.indexOf(file));
    const importsItself = graph.get(file)?.includes(file) ?? false;
    if (component.length > 1 || importsItself) cycles.push(component);
  }

  for (const file of graph.keys()) if (!order.has(file)) visit(file);
  return cycles;
}

async function modulesFrom(file: string): Promise<readonly ModuleInfo[]> {
  const { code, stdout, stderr } = await new Deno.Command("deno", {
    args: ["info", "--json", file],
    stderr: "piped",
  }).output();
  const decoder = new TextDecoder();
  if (code !== 0) throw new Error(`Cannot read the imports of ${file}: ${decoder.decode(stderr)}`);
  return (JSON.parse(decoder.decode(stdout)) as { modules: ModuleInfo[] }).modules;
}

/** The URLs of all TypeScript files below a folder, those that import most coming first by habit. */
async function filesBelow(folder: URL): Promise<string[]> {
  const files: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isDirectory) files.push(...await filesBelow(new URL(`${entry.name}/`, folder)));
    else if (entry.name.endsWith(".ts")) files.push(new URL(entry.name, folder).href);
  }
  // One question about `pool/` or `worker/` answers for most of the rest.
  return files.sort().reverse();
}

if (import.meta.main) {
  const root = new URL("../", import.meta.url);
  const cycles = findCycles(await readImportGraph(new URL("src/", root)));
  for (const cycle of cycles) {
    const files = cycle.map((file) => file.slice(root.href.length));
    console.error(`These files import each other in a circle: ${files.join(", ")}`);
  }
  Deno.exitCode = cycles.length === 0 ? 0 : 1;
}
