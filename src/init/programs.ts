/**
 * The programs of a first project, as they are written. They hold no backticks and no `${…}`, so that they read the
 * same here and there, and keep to the 80 columns of `deno fmt`.
 *
 * @module
 */

/** `tasks.ts` */
export const TASKS = `/**
 * What can be asked of the workers. Workers and producers both import this
 * file; nothing runs here.
 */
import { defineTask } from "@agentexec/core";
import { z } from "zod";

export const research = defineTask("research", {
  context: z.object({
    topic: z.string().min(1),
    questions: z.array(z.string()).min(1),
  }),
  result: z.object({ answers: z.array(z.string()) }),
});
`;

/** `worker.ts` */
export const WORKER = `/**
 * The pool: what a task does, and what its workers may touch.
 *
 * Run: deno task worker (Ctrl+C ends it and loses no work)
 *
 * Its queue and its records are in .agentexec/, without any server. To move to
 * Redis and Postgres, set REDIS_URL and DATABASE_URL, and add
 * --allow-net=HOST:PORT,HOST:PORT of the two to the tasks in deno.json.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "@agentexec/core";
import { research } from "./tasks.ts";

// Each worker is a process of its own, and may do what is granted here only.
// A model's API needs: { net: ["api.openai.com"], env: ["OPENAI_API_KEY"] }
export const pool = new Pool({ numWorkers: 2, permissions: {} });

pool.task(research, async ({ context, activity, log, signal }) => {
  const { topic, questions } = context;
  const answers: string[] = [];
  for (const [index, question] of questions.entries()) {
    const percentage = Math.round((100 * index) / questions.length);
    await activity.update(question, { percentage });
    answers.push(await ask(question, signal));
  }
  log.info("Answered {count} questions about {topic}", {
    count: answers.length,
    topic,
  });
  return { answers };
});

/** Put the call to your model here; the signal ends it with the task. */
async function ask(question: string, signal: AbortSignal): Promise<string> {
  await sleep(300, undefined, { signal });
  return question + " It depends.";
}

// Workers evaluate this file too, but what stands here is not for them.
if (import.meta.main) {
  await pool.migrate(); // makes the tables, or brings them up to date
  await pool.run(); // starts the workers, and returns after Ctrl+C or SIGTERM
}
`;

/** `enqueue.ts` */
export const ENQUEUE = `/**
 * A producer: enqueues a task, watches its progress, and prints its result.
 *
 * Run: deno task enqueue [TOPIC]
 */
import { Client } from "@agentexec/core";
import { research } from "./tasks.ts";

const [topic = "worker pools"] = Deno.args;

await using client = new Client();
const task = await client.enqueue(research, {
  topic,
  questions: ["What are they good for?", "What can go wrong?"],
});
console.log("Task", task.agentId);

for await (const { status, percentage, message } of task.progress()) {
  console.log(status, percentage ?? 0, "%", message ?? "");
}

const { answers } = await task.result();
for (const answer of answers) console.log(answer);
`;

/** `tasks_test.ts` */
export const TASKS_TEST = `/**
 * The tasks, run in the test's own process: no server, no permissions.
 *
 * Run: deno task test
 */
import { ValidationError } from "@agentexec/core";
import { testPool } from "@agentexec/core/testing";
import assert from "node:assert/strict";
import { research } from "./tasks.ts";
import { pool } from "./worker.ts";

Deno.test("research answers each question", async () => {
  await using kit = testPool(pool);
  const questions = ["Why?", "How?"];
  const task = await pool.enqueue(research, { topic: "tea", questions });
  await kit.run();
  const { answers } = await task.result();
  assert.equal(answers.length, questions.length);
});

Deno.test("research is refused without a question", async () => {
  await using kit = testPool(pool);
  await assert.rejects(
    pool.enqueue(research, { topic: "tea", questions: [] }),
    ValidationError,
  );
  assert.equal((await kit.enqueued()).length, 0);
});
`;
