#!/usr/bin/env -S deno run --no-prompt --allow-net=127.0.0.1,localhost --allow-env=REDIS_URL,DATABASE_URL,NODE_ENV,AGENTEXEC_*,PATH,HOME,DENO_DIR,XDG_CACHE_HOME --ignore-env --allow-run=deno --allow-read=. --allow-write=.agentexec
/**
 * A worker program: declares what runs a task, and runs it in worker processes until Ctrl+C or SIGTERM.
 *
 * As it stands it needs no server: tasks and activities are in two files in `.agentexec`, beside deno.json. Where
 * REDIS_URL and DATABASE_URL are set, such as to `redis://localhost:6379` and
 * `postgres://user:password@localhost/agents`, they are there, and nothing is written; servers elsewhere go into
 * `--allow-net`. PATH, HOME, DENO_DIR and XDG_CACHE_HOME are for starting Deno. The workers themselves may reach
 * the two files or servers and nothing else: what they need besides is for `permissions` to say.
 *
 * Run: `deno task worker`, or in the folder of deno.json `examples/worker.ts`.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Pool } from "@agentexec/core";
import { research } from "./tasks.ts";

/** Declared by every process that evaluates this module: by the supervisor, and by each of its workers. */
export const pool = new Pool({
  numWorkers: 2,
  // For handlers that call a model: net: ["api.openai.com"], env: ["OPENAI_API_KEY"]
  permissions: {},
});

pool.task(research, async ({ context, activity, log, signal }) => {
  const { company, questions } = context;
  const answers: string[] = [];
  for (const question of questions) {
    const percentage = Math.round(100 * answers.length / questions.length);
    await activity.update(`Looking up: ${question}`, { percentage });
    answers.push(await ask(`${question} (about ${company})`, signal));
  }
  log.info("Answered {count} questions about {company}", { count: answers.length, company });
  return { answers };
});

/** Stands for the call to a model, which takes its time and ends when the run is lost or canceled. */
async function ask(prompt: string, signal: AbortSignal): Promise<string> {
  await sleep(300, undefined, { signal });
  return `${prompt}: ${prompt.length} characters of wisdom`;
}

// Only the program itself goes on from here. Its workers take their tasks instead.
if (import.meta.main) {
  await pool.migrate();
  await pool.run();
}
