#!/usr/bin/env -S deno run --no-prompt --allow-net=127.0.0.1,localhost --allow-env=REDIS_URL,DATABASE_URL,NODE_ENV,AGENTEXEC_* --ignore-env --allow-read=. --allow-write=.agentexec
/**
 * A producer: enqueues a task, follows it, and waits for its result. It imports the declarations alone, runs
 * no workers, and starts no processes.
 *
 * It finds the worker program (`worker.ts`, which has to run somewhere) by the files in `.agentexec`, or by the
 * servers that REDIS_URL and DATABASE_URL name; those that are not on this machine go into `--allow-net`.
 *
 * Run: `deno task enqueue COMPANY`, or in the folder of deno.json `examples/enqueue.ts COMPANY`.
 *
 * @module
 */
import { Client } from "@agentexec/core";
import { research } from "./tasks.ts";

if (import.meta.main) {
  const [company = "Acme"] = Deno.args;
  await using client = new Client();
  const task = await client.enqueue(
    research,
    { company, questions: ["What does it make?", "Who are its customers?"] },
    { metadata: { source: "example" } },
  );
  console.log(`Task ${task.agentId}`);
  for await (const { status, percentage, message } of task.progress()) {
    console.log(`${status} ${percentage ?? 0} % ${message ?? ""}`);
  }
  const { answers } = await task.result({ timeout: { minutes: 1 } });
  for (const answer of answers) console.log(answer);
}
