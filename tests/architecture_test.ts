import { assertEquals, assertTrue } from "./support/assert.ts";

const ROOT = new URL("../", import.meta.url);

async function readText(path: string): Promise<string> {
  return (await Deno.readTextFile(new URL(path, ROOT))).replaceAll(/\s+/g, " ");
}

/** Whether a file of the project exports a function, a class, a type or a constant of this name. */
async function isExported(name: string, path: string): Promise<boolean> {
  const declared = `export (async )?(function\\*?|class|interface|type|const) ${name}\\b`;
  return new RegExp(declared).test(await readText(path));
}

Deno.test("every path that ARCHITECTURE.md names is there", async () => {
  const page = await readText("ARCHITECTURE.md");
  const paths = [...page.matchAll(/`([\w./]*\/[\w./]+|[\w.]+\.(?:ts|md|json))`/g)]
    .map(([, path = ""]) => path)
    .filter((path) => !path.startsWith("./"));
  assertTrue(paths.length > 30, `${paths.length} paths`);
  const missing = [];
  for (const path of new Set(paths)) {
    const there = await Deno.stat(new URL(path, ROOT)).then(() => true, () => false);
    if (!there) missing.push(path);
  }
  assertEquals(missing, []);
});

Deno.test("every name that ARCHITECTURE.md places in a file is exported there", async () => {
  const page = await readText("ARCHITECTURE.md");
  const places = [...page.matchAll(/`(\w+)(?:\(\))?` in `([^`]+)`/g)];
  assertTrue(places.length > 20, `${places.length} names`);
  const missing = [];
  for (const [place, name = "", path = ""] of places) {
    if (!await isExported(name, path)) missing.push(place);
  }
  assertEquals(missing, []);
  const homeless = [...page.matchAll(/`\w+\(\)`(?! in `)/g)].map(([name]) => name);
  assertEquals(homeless, [], "functions without their file");
});

Deno.test("every change of a task is called where ARCHITECTURE.md says", async () => {
  const page = await Deno.readTextFile(new URL("ARCHITECTURE.md", ROOT));
  const rows = [...page.matchAll(/^\|[^|]+\| `(\w+)\(\)` in `[^`]+`\s*\|([^|]+)\|/gm)];
  assertTrue(rows.length > 10, `${rows.length} changes`);
  const missing = [];
  for (const [, name = "", callers = ""] of rows) {
    for (const [, path = ""] of callers.matchAll(/`([^`]+)`/g)) {
      if (!(await readText(path)).includes(`${name}(`)) missing.push(`${name} in ${path}`);
    }
  }
  assertEquals(missing, []);
});

Deno.test("every exported change of a task's state stands in ARCHITECTURE.md", async () => {
  const page = await readText("ARCHITECTURE.md");
  const files = [];
  for await (const { name } of Deno.readDir(new URL("src/lifecycle/", ROOT))) {
    if (name !== "task_stores.ts") files.push(`src/lifecycle/${name}`);
  }
  assertEquals(files.filter((path) => !page.includes(`\`${path}\``)), []);
});
