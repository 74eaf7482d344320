import { ConfigError } from "../../src/errors.ts";
import { toFileUrl } from "../../src/program/file_url.ts";
import { findConfig } from "../../src/program/project.ts";
import { hasLock, workerArguments, type WorkerCommand } from "../../src/process/worker_command.ts";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";

Deno.test("workerArguments() imports the marker, then the program, then the loop, and never prompts or loads code", () => {
  const args = workerArguments({
    entrypoint: "file:///app/main.ts",
    config: "/app/deno.json",
    locked: true,
    flags: ["--no-prompt", "--ignore-env"],
    denoArgs: ["--v8-flags=--max-old-space-size=512"],
    programArgs: ["--port", "8080"],
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
    "data:text/javascript," + encodeURIComponent(
      'import "file:///lib/role.ts";\nawait import("file:///app/main.ts");\nawait import("file:///lib/main.ts");\n',
    ),
    "--port",
    "8080",
  ]);
  assertTrue(!args.some((each) => each.startsWith("--deny-import")));
});

/** A folder of files, removed in the end. */
async function folderOf(files: Readonly<Record<string, string>>) {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "a folder % # " }));
  for (const [name, text] of Object.entries(files)) {
    await Deno.mkdir(`${path}/${name}`.replace(/[^/]*$/, ""), { recursive: true });
    await Deno.writeTextFile(`${path}/${name}`, text);
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

Deno.test("findConfig() finds the nearest deno.json or deno.jsonc above a module, whatever the folders are called", async () => {
  await using folder = await folderOf({
    "deno.json": "{}",
    "x/deno.jsonc": "{}",
    "x/y/main.ts": "",
  });
  const { path } = folder;
  assertEquals(
    findConfig(toFileUrl(`${path}/x/y/main.ts`), { instead: "give up" }),
    `${path}/x/deno.jsonc`,
  );
  assertEquals(
    findConfig(toFileUrl(`${path}/main.ts`), { instead: "give up" }),
    `${path}/deno.json`,
  );
  assertEquals(
    findConfig(new URL("https://example.com/main.ts"), { instead: "give up" }),
    undefined,
  );
});

Deno.test("hasLock() finds the lock file that a configuration names, or the one beside it", async () => {
  await using folder = await folderOf({
    "none/deno.json": "{}",
    "beside/deno.json": '{ "tasks": { "lock": "deno cache --lock" }, "lock": { "frozen": true } }',
    "beside/deno.lock": "{}",
    "off/deno.jsonc": '{ // https://docs.deno.com\n "lock": false, }',
    "off/deno.lock": "{}",
    "named/deno.json": '{ "lock": "./locks/my.lock" }',
    "named/locks/my.lock": "{}",
    "missing/deno.jsonc": '{ /* "lock": false */ "lock": { "path": "other.lock" } }',
    "missing/deno.lock": "{}",
    "broken/deno.json": "{",
  });
  const answers: [string, boolean | undefined][] = [
    ["none/deno.json", false],
    ["beside/deno.json", true],
    ["off/deno.jsonc", false],
    ["named/deno.json", true],
    ["missing/deno.jsonc", false],
    ["broken/deno.json", undefined],
  ];
  for (const [file, expected] of answers) {
    assertEquals(await hasLock(`${folder.path}/${file}`), expected, file);
  }
  assertEquals(await hasLock(toFileUrl(`${folder.path}/beside/deno.json`).href), true);
  const error = await assertRejects(() => hasLock(`${folder.path}/nowhere.json`), ConfigError);
  assertMatch(error.message, /option 'config'.*nowhere\.json/);
});

Deno.test("hasLock() finds the lock file of a workspace for its member", async () => {
  await using folder = await folderOf({
    "deno.json": '{ "workspace": ["./member"] }',
    "deno.lock": "{}",
    "member/deno.json": "{}",
  });
  assertEquals(await hasLock(`${folder.path}/member/deno.json`), true);
});

const PROGRAM = new URL("fixtures/program/", import.meta.url).href;

/** Runs a program as a worker would be, and gives what it wrote. */
async function runWorker(command: Partial<WorkerCommand> & { readonly entrypoint: string }) {
  const args = workerArguments({
    locked: false,
    flags: ["--no-prompt", "--allow-env=AGENTEXEC_WORKER", "--ignore-env"],
    denoArgs: [],
    programArgs: [],
    markerModule: `${PROGRAM}marker.ts`,
    workerMain: `${PROGRAM}worker_main.ts`,
    ...command,
  });
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    env: { AGENTEXEC_WORKER: "1", NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  return { stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

Deno.test("a worker evaluates a program that it may not read, after its marker is gone, and not as the main module", async () => {
  await using folder = await folderOf({
    "deno.json": '{ "imports": { "lib": "./lib.ts" } }',
    "lib.ts": 'export const said = "library";',
    "main.ts": `import { said } from "lib";
      console.log(said, import.meta.main, Deno.env.get("AGENTEXEC_WORKER"));`,
  });
  const { path } = folder;
  const entrypoint = toFileUrl(`${path}/main.ts`).href;
  for (const config of [`${path}/deno.json`, toFileUrl(`${path}/deno.json`).href]) {
    const { stdout, stderr } = await runWorker({ entrypoint, config });
    assertEquals(stdout, "marker 1\nlibrary false undefined\nworker main false\n", stderr);
  }
});

Deno.test("a worker loads no code that is not in the cache", async () => {
  await using folder = await folderOf({
    "main.ts": 'await import(["https://127.0.0.1:1", "x.ts"].join("/"));',
  });
  const { stderr } = await runWorker({ entrypoint: toFileUrl(`${folder.path}/main.ts`).href });
  assertMatch(stderr, /not found in cache/);
});

Deno.test("a worker's lock file is checked where there is one, and none is written where there is not", async () => {
  await using folder = await folderOf({
    "deno.json": '{ "imports": { "zod": "npm:zod@4.6.7" } }',
    "main.ts": 'import "zod"; console.log("loaded");',
  });
  const config = `${folder.path}/deno.json`;
  const entrypoint = toFileUrl(`${folder.path}/main.ts`).href;
  assertMatch(
    (await runWorker({ entrypoint, config, locked: await hasLock(config) })).stdout,
    /loaded/,
  );
  assertEquals(await hasLock(config), false);
  await Deno.writeTextFile(`${folder.path}/deno.lock`, '{"version":"5"}');
  const { stdout, stderr } = await runWorker({ entrypoint, config, locked: await hasLock(config) });
  assertTrue(!stdout.includes("loaded"), stdout);
  assertMatch(stderr, /lockfile is out of date/);
});

Deno.test("a supervisor that may not read is told to name the configuration, and can then do without reading", async () => {
  await using folder = await folderOf({ "deno.json": "{}", "deno.lock": "{}", "main.ts": "" });
  const program = new URL("fixtures/no_read.ts", import.meta.url).pathname;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", program, folder.path],
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  const { name, message, locked } = JSON.parse(new TextDecoder().decode(stdout));
  assertEquals(name, "ConfigError");
  assertMatch(message, /--allow-read=.*option 'config'/);
  assertEquals(locked, "unknown");
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
