import { assertEquals } from "../support/assert.ts";
import { findCycles, readImportGraph } from "../../tools/check_cycles.ts";

/** A folder with the given files, removed at the end. */
async function folderOf(
  files: Readonly<Record<string, string>>,
): Promise<{ readonly url: URL } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "agentexec-cycles-" });
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(`${path}/${name}`, text);
  }
  return {
    url: new URL(`file://${path}/`),
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

Deno.test("findCycles() finds nothing where imports point downward only", () => {
  assertEquals(findCycles(new Map([["a", ["b", "c"]], ["b", ["c"]], ["c", []]])), []);
});

Deno.test("findCycles() finds every circle, however long, and a file that imports itself", () => {
  const graph = new Map([
    ["a", ["b"]],
    ["b", ["c"]],
    ["c", ["a", "d"]],
    ["d", ["e"]],
    ["e", ["d"]],
    ["f", ["f"]],
  ]);
  const cycles = findCycles(graph).map((cycle) => cycle.sort());
  assertEquals(cycles.sort(), [["a", "b", "c"], ["d", "e"], ["f"]]);
});

Deno.test("readImportGraph() sees imports of types and import() as well", async () => {
  await using folder = await folderOf({
    "a.ts": `import type { B } from "./b.ts";\nexport type A = B;\n`,
    "b.ts": `export type B = string;\nexport function load() {\n  return import("./c.ts");\n}\n`,
    "c.ts": `import type { A } from "./a.ts";\nexport const c: A = "";\n`,
  });
  const graph = await readImportGraph(folder.url);
  assertEquals(graph.get(new URL("a.ts", folder.url).href), [new URL("b.ts", folder.url).href]);
  assertEquals(findCycles(graph).map((cycle) => cycle.length), [3]);
});
