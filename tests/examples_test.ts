/**
 * The examples, each as a real program under the permissions of its first line.
 *
 * @module
 */
import { answerCustomer, indexDocument, research } from "../examples/tasks.ts";
import { assertEquals, assertMatch, assertTrue } from "./support/assert.ts";
import { copyFolder, type Ground, GROUNDS } from "./support/copies.ts";
import { alive, childrenOf, type Program, runCommand } from "./support/processes.ts";
import { waitFor } from "./support/wait.ts";

/** A copy of the examples, and what runs them as they say themselves: in the folder of the `deno.json`. */
async function setUp(ground: Ground) {
  const copy = await copyFolder("examples", ground);
  const env = { ...copy.env, PORT: "0" };
  const cwd = copy.project.folder;
  return {
    ...copy,
    async run(name: string, args: readonly string[] = []): Promise<Program> {
      const path = `${cwd}/examples/${name}`;
      return await runCommand([...await commandOf(path), path, ...args], { env, cwd });
    },
    task: (name: string, args: readonly string[] = []) =>
      runCommand(["deno", "task", name, ...args], { env, cwd, tty: true }),
  };
}

/** The command in the first line of a program. */
async function commandOf(path: string): Promise<string[]> {
  const shebang = (await Deno.readTextFile(path)).split("\n", 1)[0] ?? "";
  // What Linux reads of it; what stands beyond is cut off.
  assertTrue(shebang.length < 255, `${path}: ${shebang.length} characters`);
  const command = /^#!\/usr\/bin\/env -S (deno run .*)$/.exec(shebang)?.[1];
  assertTrue(command !== undefined, `${path} begins with how it is run`);
  return command.split(" ");
}

/** Ends a program by a signal; it and all that it had started have to be gone. */
async function endsWell(program: Program, signal: Deno.Signal): Promise<void> {
  const pids = childrenOf(program.pid);
  assertTrue(pids.length >= 2, "a worker and what guards it");
  program.signal(signal);
  assertEquals(await program.exit, { code: 0, signal: null }, program.output);
  await waitFor(() => !pids.some(alive), { what: `processes ${pids} to be gone` });
}

for (const ground of [...GROUNDS, "on named files"] as const) {
  Deno.test(`worker.ts ${ground} runs what enqueue.ts enqueues and follows, and ends on SIGTERM`, async () => {
    await using set = await setUp(ground);
    await using worker = await set.run("worker.ts");
    await worker.waitForLine(/Worker 1 is ready/);
    await using producer = await set.run("enqueue.ts", ["Umbrella"]);
    assertEquals(await producer.exit, { code: 0, signal: null }, producer.output);
    assertMatch(producer.output, /^Task [0-9a-f-]{36}$/m);
    // Which of the two depends on when it began to follow.
    assertMatch(producer.output, /^running (0|50) % Looking up: \S.*\?$/m);
    assertMatch(producer.output, /^complete 100 % /m);
    assertMatch(
      producer.output,
      /^What does it make\? \(about Umbrella\): \d+ characters of wisdom$/m,
    );
    await worker.waitForLine(/^\[Worker \d\] Answered 2 questions about Umbrella$/);
    assertEquals((await set.project.stores()).size > 0, ground !== "on servers");
    await endsWell(worker, "SIGTERM");
  });
}

for (const ground of GROUNDS) {
  Deno.test(`deno task worker ${ground} runs what deno task enqueue follows, and ends on Ctrl+C`, async () => {
    await using set = await setUp(ground);
    await using worker = await set.task("worker");
    await worker.waitForLine(/Worker 1 is ready/);
    const pids = childrenOf(worker.pid);
    await using producer = await set.task("enqueue", ["Umbrella"]);
    assertEquals((await producer.exit).code, 0, producer.output);
    assertMatch(producer.output, /^What does it make\? \(about Umbrella\): \d+ characters/m);
    await worker.type("\x03");
    assertEquals((await worker.exit).code, 0, worker.output);
    await waitFor(() => !pids.some(alive), { what: `processes ${pids} to be gone` });
  });
}

for (const ground of GROUNDS) {
  Deno.test(`web_app.ts ${ground} enqueues, tells the status and streams progress, and ends with a stream open`, async () => {
    await using set = await setUp(ground);
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
      /^data: {"status":"running","percentage":(0|50),"message":"Looking up: (Why|How)\?"}$/m,
    );
    assertMatch(events, /data: {"status":"complete",.*}\n\n$/);
    assertEquals(await (await fetch(`${url}/tasks/${id}`)).json(), { id, status: "complete" });

    await refuses(await post(`{"company":""}`), 400, /company/);
    await refuses(await post("no JSON"), 400, /JSON/);
    await refuses(await fetch(`${url}/tasks/${crypto.randomUUID()}`), 404, /no record/);
    await refuses(await fetch(`${url}/nowhere`), 404, /no such page/);

    // A reader that goes away early is nobody's trouble.
    const short = await post(JSON.stringify({ company: "Acme", questions: ["Why?", "How?"] }));
    const left = (await fetch(`${url}/tasks/${(await short.json()).id}/events`)).body?.getReader();
    await left?.read();
    await left?.cancel();

    const long = await post(JSON.stringify({ company: "Acme", questions: Array(10).fill("Why?") }));
    const running = await fetch(`${url}/tasks/${(await long.json()).id}/events`);
    const reader = running.body?.getReader();
    await reader?.read();
    await endsWell(program, "SIGINT");
    for (let step = await reader?.read(); step?.done === false; step = await reader?.read());
    // Deno has nothing to say about how requests are watched.
    assertEquals(program.stderr.filter((line) => !/^(Task|Listening)/.test(line)), []);
  });
}

for (const ground of GROUNDS) {
  Deno.test(`two_pools.ts ${ground} gives each task to its own pool, and each pool its own scope`, async () => {
    await using set = await setUp(ground);
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
}

Deno.test("postgres_js.ts runs on its own driver, the handler's database included", async () => {
  await using set = await setUp("on servers");
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
