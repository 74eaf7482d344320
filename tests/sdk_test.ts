import { Pool } from "@agentexec/core";
import { assertEquals } from "./support/assert.ts";
import { agents, ai, anthropic, langchain, openai } from "./fixtures/sdk_tasks.ts";
import { fixture, recordLogs } from "./support/pools.ts";
import { sharedPostgres, startRedis } from "./support/servers.ts";

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

Deno.test("under the grants that the README prints, well-known SDKs load in a worker and call a model", async () => {
  await using _ = await recordLogs();
  await using model = startModel();
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  for (const name of ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]) Deno.env.set(name, "key");
  await using pool = new Pool({
    name: "sdk",
    queueName: "sdk",
    brokerUrl: redis.url,
    databaseUrl: database.url,
    entrypoint: fixture("sdk.ts"),
    permissions: {
      net: [model.host],
      env: ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"],
      sys: ["hostname"],
    },
    numWorkers: 1,
  });
  await pool.migrate();
  await pool.start();
  for (const definition of [openai, anthropic, agents, ai, langchain]) {
    const task = await pool.enqueue(definition, { url: `http://${model.host}` });
    assertEquals(await task.result(), "hello", definition.name);
  }
  assertEquals(model.seen.length, 5);
});
