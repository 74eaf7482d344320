import { StartError } from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import { fixture, makePool, recordLogs } from "../support/pools.ts";
import { EMBEDDED_FLAGS, makeProject } from "../support/projects.ts";
import { sharedRedisUrl } from "../support/servers.ts";

const GUARDED = `
import { Pool } from "@agentexec/core";
if (import.meta.main) {
  const pool = new Pool({ numWorkers: 1 });
  pool.task("greet", () => "hello");
  await pool.run();
}
`;
const LATE = `
import { Pool } from "@agentexec/core";
async function main() {
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  const pool = new Pool({ numWorkers: 1 });
  pool.task("greet", () => "hello");
  await pool.run();
}
main();
`;

for (
  const [where, text] of [
    ["under `if (import.meta.main)`", GUARDED],
    ["in a function that nobody awaits", LATE],
  ] as const
) {
  Deno.test(`a pool made ${where} fails the start at once, and the error says where to make it`, async () => {
    await using project = await makeProject({ "main.ts": text });
    await using run = await project.run("main.ts");
    assertEquals((await run.exit).code, 1, run.output);
    assertMatch(
      run.output,
      /StartError: Cannot start pool 'agentexec_tasks': \S+main\.ts declares no pool .*it declares none; make the pool at the top level of the module, outside `if \(import\.meta\.main\)` and of functions that nobody awaits/,
    );
  });
}

/** What a program may have left open when its module has been evaluated. */
const OPEN: Readonly<Record<string, string>> = {
  "an interval": `setInterval(() => {}, 60_000);`,
  "a timer of an hour": `setTimeout(() => {}, 3_600_000);`,
  "a connection": `await Deno.connect({ hostname: "127.0.0.1", port: Number(Deno.args[0]) })
    .then((connection) => void connection.read(new Uint8Array(1)));`,
  "a BroadcastChannel": `new BroadcastChannel("news").onmessage = () => {};`,
  "a Redis client": `const { createClient } = await import("@redis/client");
    const redis = createClient({ url: Deno.args[1] });
    await redis.connect();
    await redis.subscribe("news", () => {});`,
  "a server": `Deno.serve({ hostname: "127.0.0.1", port: 0 }, () => new Response());`,
  "a wait that nobody awaits": `void new Promise((resolve) => setTimeout(resolve, 3_600_000));`,
};

function program(left: string): string {
  return `
import { Pool } from "@agentexec/core";
const pool = new Pool({ numWorkers: 1, permissions: { net: ["127.0.0.1"] } });
${left}
await new Promise((resolve) => setTimeout(resolve, 10));
const greet = pool.task("greet", () => "hello from " + pool.role);
if (import.meta.main) {
  await pool.start();
  console.log(await (await pool.enqueue(greet)).result());
  await pool.shutdown();
  Deno.exit();
}
`;
}

/** A server that answers nothing. */
function startSilence() {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open: Deno.Conn[] = [];
  const accepting = (async () => {
    for await (const connection of listener) open.push(connection);
  })();
  return {
    port: listener.addr.port,
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      for (const connection of open) connection.close();
    },
  };
}

for (const [what, left] of Object.entries(OPEN)) {
  Deno.test(`the workers of a program that leaves ${what} open at module level get ready and work`, async () => {
    await using silence = startSilence();
    // A name that a URL, and a URL within a URL, must escape.
    const file = `a b%20 #?ü'"/worker.ts`;
    await using project = await makeProject({ [file]: program(left) });
    await using run = await project.run(file, {
      flags: [...EMBEDDED_FLAGS, "--allow-net=127.0.0.1"],
      args: [String(silence.port), sharedRedisUrl()],
    });
    assertEquals(await run.exit, { code: 0, signal: null }, run.output);
    assertTrue(run.stdout.includes("hello from worker"), run.output);
  });
}

Deno.test("an entrypoint without a pool that leaves a timer open fails the start at once, with the reason", async () => {
  await using _ = await recordLogs();
  await using made = await makePool({
    entrypoint: fixture("bad/timer.ts"),
    startTimeout: { minutes: 10 },
  });
  const error = await assertRejects(() => made.pool.start(), StartError);
  assertMatch(
    error.message,
    /timer\.ts declares no pool of that name in the workers, it declares none/,
  );
});

const UNAWAITED = `
import { Pool } from "@agentexec/core";
const pool = new Pool({ numWorkers: 1 });
const greet = pool.task("greet", () => "hello from " + pool.role);
async function main() {
  await new Promise((resolve) => setTimeout(resolve, Number(Deno.args[0])));
  console.log("main goes on in the " + pool.role);
  await pool.migrate();
  console.log("migrated by the " + pool.role);
  await pool.start();
  console.log("started by the " + pool.role);
  const task = await pool.enqueue(greet);
  console.log(await task.result());
  await pool.shutdown();
}
main();
`;

for (const [when, ms] of [["while a worker connects", 0], ["when its loop runs", 500]] as const) {
  Deno.test(`a main() that nobody awaits, and that goes on ${when}, supervises in the supervisor alone`, async () => {
    await using project = await makeProject({ "main.ts": UNAWAITED });
    await using run = await project.run("main.ts", { args: [String(ms)] });
    assertEquals(await run.exit, { code: 0, signal: null }, run.output);
    assertTrue(run.stdout.includes("hello from worker"), run.output);
    assertTrue(!/(migrated|started) by the worker/.test(run.output), run.output);
  });
}

const ARGUMENTS = [
  "from_arguments",
  "--",
  "-x",
  "--allow-all",
  "",
  "two\nlines",
  "ü 中 🎉",
  `a "quoted" 'one'`,
  "--",
];
const ARGUING = `
import { Pool } from "@agentexec/core";
import process from "node:process";
const pool = new Pool({ queueName: Deno.args[0], numWorkers: 1 });
const hear = pool.task("hear", () => [Deno.args, process.argv.slice(2)]);
if (import.meta.main) {
  await pool.start();
  console.log(JSON.stringify(await (await pool.enqueue(hear)).result()));
  await pool.shutdown();
}
`;

Deno.test("workers get the arguments of their supervisor, whatever they hold", async () => {
  await using project = await makeProject({ "main.ts": ARGUING });
  await using run = await project.run("main.ts", { args: ARGUMENTS });
  assertEquals(await run.exit, { code: 0, signal: null }, run.output);
  const heard = run.stdout.find((line) => line.startsWith("[["));
  assertEquals(JSON.parse(heard ?? "null"), [ARGUMENTS, ARGUMENTS], run.output);
});

Deno.test("a query that stands in a program's module is told by the program, not by a line of a package", async () => {
  const text = `
import { Client, Pool } from "@agentexec/core";
const pool = new Pool({ numWorkers: 1 });
pool.task("greet", () => "hello");
if (import.meta.main) await pool.migrate();
const client = new Client();
void client.db.selectFrom("agentexec_activity").select("agent_id").execute();
if (import.meta.main) {
  await pool.start();
  await pool.shutdown();
  await client.close();
}
`;
  await using project = await makeProject({ "main.ts": text });
  await using run = await project.run("main.ts");
  assertEquals((await run.exit).code, 0, run.output);
  assertMatch(
    run.output,
    /warning: \S*main\.ts(:7 \([\w.]+\))? acts while the program is evaluated, .* put it under `if \(import\.meta\.main\)`/,
  );
});
