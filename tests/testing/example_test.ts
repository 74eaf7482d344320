import { assertEquals, assertTrue } from "../support/assert.ts";
import { runCommand } from "../support/processes.ts";
import { makeRegistryProject, startRegistry } from "../support/registry.ts";

/** The program in the documentation of an entry point. */
async function exampleOf(file: string): Promise<string> {
  const text = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
  const [, code] = /^ \* ```ts\n([^]*?)^ \* ```$/m.exec(text) ?? [];
  assertTrue(code !== undefined, `${file} has an example`);
  return code.replaceAll(/^ \* ?/gm, "");
}

const MANIFEST = JSON.stringify({
  imports: { "@agentexec/core": "jsr:@agentexec/core", "zod": "npm:zod@4" },
});

Deno.test("the example of the test kit, pasted into a file, passes under a bare deno test", async () => {
  await using registry = await startRegistry();
  await using project = await makeRegistryProject(registry, {
    "deno.json": MANIFEST,
    "tasks_test.ts": await exampleOf("src/testing/mod.ts"),
  });
  await using program = await runCommand(["deno", "test", "--no-prompt"], {
    cwd: project.dir,
    env: { JSR_URL: registry.url, DENO_DIR: project.denoDir, NO_COLOR: "1" },
  });
  assertEquals((await program.exit).code, 0, program.output);
  const lines = program.stdout.filter((line) => line !== "");
  assertEquals(lines.length, 3, program.output);
  assertTrue(lines[1]?.startsWith("who was welcomed is reminded three days later ... ok"));
  assertTrue(lines[2]?.startsWith("ok | 1 passed | 0 failed"));
  const files = Array.from(Deno.readDirSync(project.dir), ({ name }) => name).sort();
  assertEquals(files.filter((name) => name !== "deno.lock"), ["deno.json", "tasks_test.ts"]);
});
