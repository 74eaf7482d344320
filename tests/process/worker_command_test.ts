import { ConfigError } from "../../src/errors.ts";
import { findConfig, hasLock, workerArguments } from "../../src/process/worker_command.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";

Deno.test("workerArguments() preloads the marker, then the program, and never prompts or loads code", () => {
  const args = workerArguments({
    entrypoint: "file:///app/main.ts",
    config: "/app/deno.json",
    locked: true,
    flags: ["--no-prompt", "--ignore-env"],
    denoArgs: ["--v8-flags=--max-old-space-size=512"],
    markerModule: "file:///lib/role.ts",
    workerMain: "file:///lib/main.ts",
  });
  assertEquals(args, [
    "run",
    "--cached-only",
    "--config",
    "/app/deno.json",
    "--frozen",
    "--no-prompt",
    "--ignore-env",
    "--v8-flags=--max-old-space-size=512",
    "--preload",
    "file:///lib/role.ts",
    "--preload",
    "file:///app/main.ts",
    "file:///lib/main.ts",
  ]);
  assertTrue(!args.some((each) => each.startsWith("--deny-import")));
});

Deno.test("findConfig() finds the nearest deno.json or deno.jsonc above a module, whatever the folders are called", async () => {
  const top = await Deno.makeTempDir({ prefix: "a folder % # " });
  try {
    await Deno.mkdir(`${top}/x/y`, { recursive: true });
    await Deno.writeTextFile(`${top}/x/deno.jsonc`, "{}");
    const module = new URL(
      `file://${encodeURIComponent(`${top}/x/y/main.ts`).replaceAll("%2F", "/")}`,
    );
    assertEquals(await findConfig(module), `${top}/x/deno.jsonc`);
    assertEquals(await findConfig(new URL("https://example.com/main.ts")), undefined);
    assertEquals(await hasLock(`${top}/x/deno.jsonc`), false);
    await Deno.writeTextFile(`${top}/x/deno.lock`, "{}");
    assertEquals(await hasLock(`${top}/x/deno.jsonc`), true);
    await Deno.writeTextFile(`${top}/x/deno.jsonc`, '{ "lock": false }');
    assertEquals(await hasLock(`${top}/x/deno.jsonc`), false);
    await Deno.writeTextFile(`${top}/x/deno.jsonc`, '{ "lock": { "path": "other.lock" } }');
    assertEquals(await hasLock(`${top}/x/deno.jsonc`), false);
  } finally {
    await Deno.remove(top, { recursive: true });
  }
});

Deno.test("a process that may start no Deno is told which flag to add", async () => {
  const program = new URL("fixtures/no_run.ts", import.meta.url).pathname;
  const { code, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", program],
  }).output();
  assertEquals(code, 0);
  const { name, message } = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(name, new ConfigError("").name);
  assertTrue(message.includes("--allow-run=deno"), message);
});
