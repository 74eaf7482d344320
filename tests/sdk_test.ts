import { Pool, TaskFailedError } from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects } from "./support/assert.ts";
import { agents, ai, anthropic, langchain, openai } from "./sdk/tasks.ts";
import { recordLogs } from "./support/pools.ts";
import { sharedPostgres, startRedis } from "./support/servers.ts";

/** The worker program, with the SDKs in a configuration and a lock file of their own: nothing else downloads them. */
const SDKS = new URL("./sdk/", import.meta.url);

/** Has Deno get what the lock file of the SDKs names, since a worker takes nothing but what is there. */
async function installSdks(): Promise<void> {
  const { code, stderr } = await new Deno.Command("deno", { args: ["install"], cwd: SDKS })
    .output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
}

/** Stands for the models: answers every SDK in its own form. */
function startModel() {
  const seen: string[] = [];
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      await request.body?.cancel();
      seen.push(pathname);
      return Response.json(answers[pathname] ?? {}, { status: pathname in answers ? 200 : 404 });
    },
  );
  return {
    seen,
    host: `127.0.0.1:${server.addr.port}`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const answers: Record<string, unknown> = {
  "/v1/messages": {
    id: "m",
    type: "message",
    role: "assistant",
    model: "m",
    content: [{ type: "text", text: "hello" }],
    stop_reason: "end_turn",
    stop_sequence: null,
    usage: { input_tokens: 1, output_tokens: 1 },
  },
  "/v1/chat/completions": {
    id: "c",
    object: "chat.completion",
    created: 1,
    model: "m",
    choices: [{
      index: 0,
      message: { role: "assistant", content: "hello" },
      finish_reason: "stop",
    }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  },
  "/v1/responses": {
    id: "r",
    object: "response",
    created_at: 1,
    status: "completed",
    model: "m",
    output: [{
      id: "o",
      type: "message",
      role: "assistant",
      status: "completed",
      content: [{ type: "output_text", text: "hello", annotations: [] }],
    }],
    usage: {
      input_tokens: 1,
      output_tokens: 1,
      total_tokens: 2,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens_details: { reasoning_tokens: 0 },
    },
  },
};

/** The grants of the README's table, a row each: the packages, and the permissions as they are printed. */
async function printedGrants(): Promise<
  { packages: string; permissions: Deno.PermissionOptionsObject }[]
> {
  const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  const rows = readme.split("\n").filter((line) => /^\|.*\| *`net: \[.*env: \[/.test(line));
  return rows.map((row) => {
    const [, packages = "", printed = ""] = row.split("|");
    const json = `{${printed.trim().replaceAll("`", "")}}`.replaceAll(/(\w+):/g, '"$1":');
    return { packages, permissions: JSON.parse(json) };
  });
}

/** The task that calls a model through each package. */
const probes = new Map([
  ["openai", openai],
  ["@openai/agents", agents],
  ["@langchain/openai", langchain],
  ["@anthropic-ai/sdk", anthropic],
  ["ai", ai],
]);

Deno.test("under the very grants that the README prints for it, each SDK loads in a worker and calls a model", async () => {
  await installSdks();
  await using _ = await recordLogs();
  await using model = startModel();
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  for (const name of ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]) Deno.env.set(name, "key");
  const probed = [];
  for (const { packages, permissions } of await printedGrants()) {
    await using pool = new Pool({
      name: "sdk",
      queueName: "sdk",
      brokerUrl: redis.url,
      databaseUrl: database.url,
      entrypoint: new URL("worker.ts", SDKS).href,
      config: new URL("deno.json", SDKS).href,
      // The model's host is here; all else is as printed.
      permissions: { ...permissions, net: [model.host] },
      numWorkers: 1,
    });
    await pool.migrate();
    await pool.start();
    for (const [name, definition] of probes) {
      if (!packages.includes(`\`${name}\``)) continue;
      const task = await pool.enqueue(definition, { url: `http://${model.host}` });
      assertEquals(await task.result(), "hello", name);
      probed.push(name);
    }
  }
  assertEquals(probed.sort(), [...probes.keys()].sort());
  assertEquals(model.seen.length, probes.size);
});

Deno.test("a task declared with valibot checks its context and converts its result in a real worker", async () => {
  await installSdks();
  await using _ = await recordLogs();
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  await using pool = new Pool({
    name: "sdk",
    queueName: "sdk",
    brokerUrl: redis.url,
    databaseUrl: database.url,
    entrypoint: new URL("worker.ts", SDKS).href,
    config: new URL("deno.json", SDKS).href,
    numWorkers: 1,
  });
  await pool.migrate();
  await pool.start();
  // By its name: valibot is in the worker's configuration alone.
  assertEquals(await (await pool.enqueue("count", { n: "5" })).result(), { n: "6" });
  const error = await assertRejects(
    async () => await (await pool.enqueue("count", { n: 5 })).result(),
    TaskFailedError,
  );
  assertMatch(error.message, /context\.n is refused, Invalid type: Expected string but received 5/);
});
