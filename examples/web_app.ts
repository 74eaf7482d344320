#!/usr/bin/env -S deno run --no-prompt --allow-net=127.0.0.1,localhost --allow-env=REDIS_URL,DATABASE_URL,NODE_ENV,PORT,AGENTEXEC_*,PATH,HOME,DENO_DIR,XDG_CACHE_HOME --ignore-env --allow-run=deno --allow-read=. --allow-write=.agentexec
/**
 * A web application with the pool in the same program: `POST /tasks` enqueues, `GET /tasks/ID` tells how far a
 * task is, `GET /tasks/ID/events` streams its progress as server-sent events.
 *
 * PORT says where to listen (8000). All else, the permissions too, is as in `worker.ts`, whose pool this is.
 *
 * Run: in the folder of deno.json `examples/web_app.ts`, then
 *
 * ```sh
 * curl -d '{"company":"Acme","questions":["What does it make?"]}' localhost:8000/tasks
 * curl -N localhost:8000/tasks/ID/events
 * ```
 *
 * @module
 */
import { ResultExpiredError, type TaskHandle, ValidationError } from "@agentexec/core";
import { research } from "./tasks.ts";
import { pool } from "./worker.ts";

const TASKS = new URLPattern({ pathname: "/tasks" });
const TASK = new URLPattern({ pathname: "/tasks/:id([0-9a-f-]{36})" });
const EVENTS = new URLPattern({ pathname: "/tasks/:id([0-9a-f-]{36})/events" });

/** Answers a request. Streams end with the signal, since a server waits for them when it shuts down. */
async function answer(request: Request, stopping: AbortSignal): Promise<Response> {
  try {
    if (request.method === "POST" && TASKS.test(request.url)) {
      const task = await pool.enqueue(research, await request.json());
      return Response.json({ id: task.agentId }, { status: 202 });
    }
    const id = idIn(TASK, request) ?? idIn(EVENTS, request);
    if (request.method !== "GET" || id === undefined) return problem(404, "There is no such page");
    const task = pool.handle(research, id);
    const status = await task.status();
    if (TASK.test(request.url)) return Response.json({ id, status });
    return new Response(
      events(task, stopping).pipeThrough(new TextEncoderStream()),
      { headers: { "content-type": "text/event-stream", "cache-control": "no-store" } },
    );
  } catch (error) {
    if (error instanceof ValidationError || error instanceof SyntaxError) {
      return problem(400, error.message);
    }
    if (error instanceof ResultExpiredError) return problem(404, error.message);
    console.error(error);
    return problem(500, "The request could not be answered");
  }
}

/** The task's progress as server-sent events, up to its end, or until the reader is gone. */
function events(task: TaskHandle, stopping: AbortSignal): ReadableStream<string> {
  const gone = new AbortController();
  const signal = AbortSignal.any([gone.signal, stopping]);
  const steps = task.progress({ signal })[Symbol.asyncIterator]();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await steps.next();
      if (!done) controller.enqueue(`data: ${JSON.stringify(value)}\n\n`);
      else if (!gone.signal.aborted) controller.close();
    },
    cancel: () => gone.abort(),
  });
}

function idIn(pattern: URLPattern, { url }: Request): string | undefined {
  return pattern.exec(url)?.pathname.groups["id"];
}

function problem(status: number, message: string): Response {
  return Response.json({ error: message }, { status });
}

if (import.meta.main) {
  await pool.migrate();
  await pool.start(); // Signals are this program's own: it has more to stop than the pool.
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => stop.abort());
  }
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: Number(Deno.env.get("PORT") ?? 8000) },
    (request) => answer(request, stop.signal),
  );
  await new Promise((resolve) => stop.signal.addEventListener("abort", resolve));
  await server.shutdown(); // First nobody asks for more,
  await pool.shutdown({ timeout: { seconds: 60 } }); // then what runs is finished,
  await pool.close(); // and then the connections go.
}
