/**
 * The examples, each as a real program under the permissions of its first line.
 *
 * @module
 */
import { Client } from "@agentexec/core";
import { answerCustomer, indexDocument, research } from "../examples/tasks.ts";
import { assertEquals, assertMatch, assertTrue } from "./support/assert.ts";
import { alive, childrenOf, type Program, runCommand } from "./support/processes.ts";
import { sharedPostgres, startRedis } from "./support/servers.ts";
import { waitFor } from "./support/wait.ts";

const EXAMPLES = new URL("../examples/", import.meta.url);

/** Stores of one test, and what runs examples on them. */
async function setUp() {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis());
  const database = stack.use(await sharedPostgres().freshDatabase());
  const client = stack.use(new Client({ brokerUrl: redis.url, databaseUrl: database.url }));
  const env = { REDIS_URL: redis.url, DATABASE_URL: database.url, PORT: "0" };
  const owned = stack.move();
  return {
    client,
    env,
    run: (name: string, args: readonly string[] = []) => runExample(name, args, env),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function runExample(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Program> {
  const { pathname } = new URL(name, EXAMPLES);
  const shebang = (await Deno.readTextFile(pathname)).split("\n", 1)[0] ?? "";
  const command = /^#!\/usr\/bin\/env -S (deno run .*)$/.exec(shebang)?.[1];
  assertTrue(command !== undefined, `${name} begins with how it is run`);
  const cwd = new URL("../", EXAMPLES);
  return await runCommand([...command.split(" "), pathname, ...args], { env, cwd });
}

/** Ends a program by a signal; it and all that it had started have to be gone. */
async function endsWell(program: Program, signal: Deno.Signal): Promise<void> {
  const pids = childrenOf(program.pid);
  assertTrue(pids.length >= 2, "a worker and what guards it");
  program.signal(signal);
  assertEquals(await program.exit, { code: 0, signal: null }, program.output);
  await waitFor(() => !pids.some(alive), { what: `processes ${pids} to be gone` });
}

Deno.test("worker.ts runs what enqueue.ts enqueues and follows, and ends on SIGTERM", async () => {
  await using set = await setUp();
  await using worker = await set.run("worker.ts");
  await worker.waitForLine(/Worker 1 is ready/);
  await using producer = await set.run("enqueue.ts", ["Umbrella"]);
  assertEquals(await producer.exit, { code: 0, signal: null }, producer.output);
  assertMatch(producer.output, /^Task [0-9a-f-]{36}$/m);
  assertMatch(producer.output, /^running 50 % Looking up: Who are its customers\?$/m);
  assertMatch(producer.output, /^complete 100 % /m);
  assertMatch(
    producer.output,
    /^What does it make\? \(about Umbrella\): \d+ characters of wisdom$/m,
  );
  await worker.waitForLine(/^\[Worker \d\] Answered 2 questions about Umbrella$/);
  await endsWell(worker, "SIGTERM");
});

Deno.test("deno task worker runs worker.ts, and ends on Ctrl+C", async () => {
  await using set = await setUp();
  const cwd = new URL("../", EXAMPLES);
  await using program = await runCommand(["deno", "task", "worker"], {
    env: set.env,
    cwd,
    tty: true,
  });
  await program.waitForLine(/Worker 1 is ready/);
  const pids = childrenOf(program.pid);
  const task = await set.client.enqueue(research, { company: "Acme", questions: ["Why?"] });
  assertEquals((await task.result()).answers.length, 1);
  await program.type("\x03");
  assertEquals((await program.exit).code, 0, program.output);
  await waitFor(() => !pids.some(alive), { what: `processes ${pids} to be gone` });
});

Deno.test("web_app.ts enqueues, tells the status and streams progress, and ends with a stream open", async () => {
  await using set = await setUp();
  await using program = await set.run("web_app.ts");
  const line = await program.waitForLine(/Listening on http/);
  const url = /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0] ?? "";
  const post = (body: string) => fetch(`${url}/tasks`, { method: "POST", body });

  const accepted = await post(JSON.stringify({ company: "Acme", questions: ["Why?", "How?"] }));
  assertEquals(accepted.status, 202);
  const { id } = await accepted.json();
  const events = await (await fetch(`${url}/tasks/${id}/events`)).text();
  assertMatch(
    events,
    /^data: {"status":"running","percentage":50,"message":"Looking up: How\?"}$/m,
  );
  assertMatch(events, /data: {"status":"complete",.*}\n\n$/);
  assertEquals(await (await fetch(`${url}/tasks/${id}`)).json(), { id, status: "complete" });

  await refuses(await post(`{"company":""}`), 400, /company/);
  await refuses(await post("no JSON"), 400, /JSON/);
  await refuses(await fetch(`${url}/tasks/${crypto.randomUUID()}`), 404, /no record/);
  await refuses(await fetch(`${url}/nowhere`), 404, /no such page/);

  const long = await post(JSON.stringify({ company: "Acme", questions: Array(10).fill("Why?") }));
  const running = await fetch(`${url}/tasks/${(await long.json()).id}/events`);
  const reader = running.body?.getReader();
  await reader?.read();
  await endsWell(program, "SIGINT");
  for (let step = await reader?.read(); step?.done === false; step = await reader?.read());
});

Deno.test("two_pools.ts gives each task to its own pool, and each pool its own scope", async () => {
  await using set = await setUp();
  await using program = await set.run("two_pools.ts");
  await program.waitForLine(/\[urgent\] Worker 1 is ready/);
  await program.waitForLine(/\[background\] Worker 0 is ready/);
  const document = await set.client.enqueue(indexDocument, { file: "tasks.ts" });
  const outside = await set.client.enqueue(indexDocument, { file: "../deno.json" });
  const customer = await set.client.enqueue(answerCustomer, { question: "Is it urgent?" });
  assertEquals(await customer.result(), { answer: "Is it urgent? Yes, of course." });
  assertTrue((await document.result()).words > 50);
  assertEquals(await outside.wait(), "error");
  assertMatch(
    (await set.client.activity.detail(outside.agentId))?.error ?? "",
    /^NotCapable: Requires read access/,
  );
  await program.waitForLine(/^\[urgent Worker \d\] Task completed: answer_customer$/);
  await program.waitForLine(/^\[background Worker 0\] Task completed: index_document$/);
  await endsWell(program, "SIGTERM");
});

Deno.test("postgres_js.ts runs on its own driver, the handler's database included", async () => {
  await using set = await setUp();
  await using program = await set.run("postgres_js.ts");
  await program.waitForLine(/Worker 0 is ready/);
  const task = await set.client.enqueue(research, { company: "Acme" });
  const { answers } = await task.result();
  assertMatch(answers.join(), /^Acme is stored in PostgreSQL \d+/);
  await endsWell(program, "SIGTERM");
});

async function refuses(response: Response, status: number, reason: RegExp): Promise<void> {
  const { error } = await response.json();
  assertEquals(response.status, status, error);
  assertMatch(error, reason);
}
