import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { EMBEDDED_FLAGS, makeProject } from "../support/projects.ts";

const PROGRAM = `
import { Pool } from "@agentexec/core";
import "./sdk.ts";
const pool = new Pool({ numWorkers: 5 });
pool.task("greet", () => "hello");
if (import.meta.main) await pool.run();
`;
const ASKS_FOR_HOST = "Deno.hostname();";
const NEEDS_KEY = `
class Client {
  constructor() {
    if (!Deno.env.get("SDK_API_KEY")) {
      throw new Error("Missing credentials. Please pass an apiKey, or set the SDK_API_KEY environment variable.");
    }
  }
}
export const client = new Client();
`;

/** How often the output shows a stack that leads into the SDK. */
function stacks(output: string): number {
  return output.split("\n").filter((line) => /^\s+at .*sdk\.ts:\d+/.test(line)).length;
}

Deno.test("a program that an import ends for want of a permission is told the flag, and what its workers need", async () => {
  await using project = await makeProject({ "main.ts": PROGRAM, "sdk.ts": ASKS_FOR_HOST });
  await using run = await project.run("main.ts");
  assertEquals((await run.exit).code, 1, run.output);
  assertMatch(
    run.output,
    /lacks sys access: start it with --allow-sys=hostname\. .*workers.*permissions: \{ sys: \["hostname"\] \}/,
  );
});

const LISTED = EMBEDDED_FLAGS.map((flag) =>
  flag === "--allow-env" ? "--allow-env=SDK_API_KEY,PATH,HOME,DENO_DIR" : flag
);

for (
  const [what, sdk, flags, pattern] of [
    [
      "a permission",
      ASKS_FOR_HOST,
      [...EMBEDDED_FLAGS, "--allow-sys=hostname"],
      /Cannot start pool 'agentexec_tasks': Worker \d ended before it was ready: exit code 1: NotCapable: Requires sys access to "hostname".*workers need it while the program is imported, grant it with permissions: \{ sys: \["hostname"\] \}/,
    ],
    [
      "a variable",
      NEEDS_KEY,
      EMBEDDED_FLAGS,
      /exit code 1: Error: Missing credentials.*SDK_API_KEY is set here but not granted: permissions: \{ env: \["SDK_API_KEY"\] \}/,
    ],
    [
      "a variable that the program may read and not list",
      NEEDS_KEY,
      [...LISTED, "--ignore-env"],
      /SDK_API_KEY is set here but not granted: permissions: \{ env: \["SDK_API_KEY"\] \}/,
    ],
  ] as const
) {
  Deno.test(`five workers whose import lacks ${what} fail the start at once, which is told once with the grant`, async () => {
    await using project = await makeProject({ "main.ts": PROGRAM, "sdk.ts": sdk });
    await using run = await project.run("main.ts", { flags, env: { SDK_API_KEY: "secret" } });
    assertEquals((await run.exit).code, 1, run.output);
    const lines = run.output.split("\n");
    // One line of the log, and the error that ends the program.
    assertEquals(lines.filter((line) => pattern.test(line)).length, 2, run.output);
    assertTrue(stacks(run.output) >= 1, run.output);
    const perError = stacks(await alone(sdk));
    assertTrue(stacks(run.output) <= perError, `${stacks(run.output)}:\n${run.output}`);
    assertEquals(lines.filter((line) => /Worker \d .*ended/.test(line)).length, 2, run.output);
    assertTrue(!run.output.includes("secret"));
  });
}

/** What the SDK's error looks like by itself. */
async function alone(sdk: string): Promise<string> {
  await using project = await makeProject({ "sdk.ts": sdk });
  await using run = await project.run("sdk.ts", { flags: ["--no-prompt", "--allow-env"] });
  await run.exit;
  return run.output;
}

Deno.test("an import that fails for another reason is tried again, and workers that die of one cause are told once", async () => {
  await using project = await makeProject({
    "main.ts": PROGRAM,
    "sdk.ts": `if (!import.meta.main && Deno.args.length === 0) {
      const { role } = await import("./role.ts");
      if (role() === "worker") throw new TypeError("the weather is bad");
    }`,
    "role.ts": `import { Pool } from "@agentexec/core";
      const probe = new Pool({ name: "probe" });
      export const role = () => probe.role;`,
  });
  await using run = await project.run("main.ts");
  assertEquals((await run.exit).code, 1, run.output);
  const told = run.output.split("\n").filter((line) => line.includes("the weather is bad"));
  // The first death, the third of a worker, the error that ends the program, and what the worker wrote last.
  assertTrue(told.length <= 5, run.output);
  assertMatch(run.output, /StartError: Cannot start pool .*TypeError: the weather is bad/);
});

Deno.test("a worker that misses an import map, as no deno.json is near its program, is told where to name it", async () => {
  await using project = await makeProject({});
  await using elsewhere = await makeProject({ "main.ts": PROGRAM, "sdk.ts": "export {};" });
  await Deno.remove(`${elsewhere.folder}/deno.json`);
  await using run = await elsewhere.run("main.ts", {
    // Up to the root, where the search for one ends.
    flags: ["--config", `${project.folder}/deno.json`, ...EMBEDDED_FLAGS, "--allow-read"].filter(
      (flag) => flag !== "--allow-read=.",
    ),
  });
  assertEquals((await run.exit).code, 1, run.output);
  assertMatch(
    run.output,
    /no deno\.json near .*main\.ts: the workers run without one.*option 'config'/,
  );
  assertMatch(
    run.output,
    /StartError: .*the workers run without a deno\.json.*add one there .*or name the one that this program was started with in the option 'config'/,
  );
});

for (
  const [what, sdk, pattern] of [
    [
      "an await that nothing can end",
      "if (!(await isSupervisor())) await new Promise(() => {});",
      /exit code 1: Top-level await promise never resolved; what stands outside/,
    ],
    [
      "an error",
      "if (!(await isSupervisor())) throw new RangeError('no such thing');",
      /exit code 1: RangeError: no such thing; what stands outside/,
    ],
  ] as const
) {
  Deno.test(`one worker that ends three times of ${what} is told once, with the cause, and then by the error of the start`, async () => {
    await using project = await makeProject({
      "main.ts": PROGRAM.replace("numWorkers: 5", "numWorkers: 1"),
      "sdk.ts": `${sdk}
        async function isSupervisor() {
          return (await Deno.permissions.query({ name: "run", command: "deno" })).state === "granted";
        }`,
    });
    await using run = await project.run("main.ts");
    assertEquals((await run.exit).code, 1, run.output);
    const lines = run.output.split("\n");
    assertEquals(lines.filter((line) => pattern.test(line)).length, 2, run.output);
    assertEquals(lines.filter((line) => line.startsWith("[Worker 0]")), [], run.output);
  });
}

Deno.test("an entrypoint that is not there is told by the name of its option, before a worker starts", async () => {
  await using project = await makeProject({
    "main.ts": PROGRAM.replace("numWorkers: 5", 'numWorkers: 1, entrypoint: "./nowhere.ts"'),
    "sdk.ts": "export {};",
  });
  await using run = await project.run("main.ts");
  assertEquals((await run.exit).code, 1, run.output);
  assertMatch(run.output, /option 'entrypoint': there is no file .*nowhere\.ts/);
  assertEquals(/Worker \d/.test(run.output), false, run.output);
});
