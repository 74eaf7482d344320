import { assertEquals, assertMatch, assertTrue } from "./support/assert.ts";
import {
  makeRegistryProject,
  runFromRegistry,
  startRegistry,
  withFullSpecifiers,
} from "./support/registry.ts";

const PROGRAM = `
import { defineTask } from "jsr:@agentexec/core";
import { z } from "npm:zod@4";

const task = defineTask("greet", { context: z.object({ name: z.string() }) });
console.log("declared", task.name, new URL(import.meta.url).protocol);
`;

Deno.test("a program in an empty folder imports the package by its JSR name, offline the second time", async () => {
  await using registry = await startRegistry();
  await using project = await makeRegistryProject(registry, { "main.ts": PROGRAM });

  await using first = await project.run();
  assertEquals(await first.exit, { code: 0, signal: null }, first.output);
  assertEquals(first.stdout, ["declared greet file:"]);
  assertTrue(registry.requests.includes("/@agentexec/core/meta.json"));

  await registry.stop();
  await using second = await project.run({ denoArgs: ["--cached-only", "--no-prompt"] });
  assertEquals((await second.exit).code, 0, second.output);
  assertEquals(second.stdout, ["declared greet file:"]);
});

Deno.test("the package from the registry needs no permission to be imported", async () => {
  await using registry = await startRegistry();
  const { code, stderr } = await runFromRegistry({
    registry,
    files: { "main.ts": PROGRAM },
    denoArgs: ["--no-prompt"],
  });
  assertEquals(code, 0, stderr.join("\n"));
});

Deno.test("the registry serves what is published and nothing else", async () => {
  await using registry = await startRegistry();
  const meta = await (await fetch(`${registry.url}@agentexec/core/meta.json`)).json();
  const version = await fetch(`${registry.url}@agentexec/core/${meta.latest}_meta.json`);
  const paths = Object.keys((await version.json()).manifest);
  for (const path of ["/mod.ts", "/deno.json", "/README.md", "/LICENSE"]) {
    assertTrue(paths.includes(path), `${path} is published`);
  }
  assertEquals(paths.filter((path) => /^\/(tests|tools|examples|bench)\//.test(path)), []);
  const missing = await fetch(
    `${registry.url}@agentexec/core/${meta.latest}/tests/registry_test.ts`,
  );
  await missing.body?.cancel();
  assertEquals(missing.status, 404);
});

Deno.test("withFullSpecifiers() writes out the names of the import map wherever one is imported", () => {
  const manifest = {
    name: "@agentexec/core",
    version: "1.0.0",
    exports: "./mod.ts",
    imports: { "zod": "npm:zod@4.6.7", "@types/pg": "npm:@types/pg@8.0.0", "pg": "npm:pg@8.23.1" },
  };
  const source = [
    `import { z } from "zod";`,
    `import type { z as v } from "zod/v4";`,
    `// @ts-types="@types/pg"`,
    `import pg from "pg";`,
    `export { x } from "./x.ts";`,
    `const late = () => import("zod");`,
    ` * import { Pool } from "@agentexec/core";`,
  ].join("\n");
  const written = withFullSpecifiers(source, manifest);
  assertMatch(written, /import \{ z \} from "npm:zod@4\.6\.7";/);
  assertMatch(written, /from "npm:zod@4\.6\.7\/v4";/);
  assertMatch(written, /@ts-types="npm:@types\/pg@8\.0\.0"/);
  assertMatch(written, /import pg from "npm:pg@8\.23\.1";/);
  assertMatch(written, /from "\.\/x\.ts";/);
  assertMatch(written, /import\("npm:zod@4\.6\.7"\)/);
  assertMatch(written, / \* import \{ Pool \} from "@agentexec\/core";/);
});
