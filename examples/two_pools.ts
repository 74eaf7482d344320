#!/usr/bin/env -S deno run --no-prompt --allow-net=127.0.0.1,localhost --allow-env=REDIS_URL,DATABASE_URL,NODE_ENV,AGENTEXEC_*,PATH,HOME,DENO_DIR,XDG_CACHE_HOME --ignore-env --allow-run=deno --allow-read=. --allow-write=.agentexec
/**
 * Two pools in one program: urgent tasks never wait behind background work, and each pool's workers may only
 * do what its own tasks need.
 *
 * They share the files in `.agentexec`, or the servers that REDIS_URL and DATABASE_URL name. Producers need to know
 * nothing of this: each task's declaration names its queue.
 *
 * Run: in the folder of deno.json `examples/two_pools.ts`.
 *
 * @module
 */
import { Pool } from "@agentexec/core";
import { answerCustomer, indexDocument } from "./tasks.ts";

/** The folder of the documents: this one. */
const DOCUMENTS = decodeURIComponent(new URL(".", import.meta.url).pathname);

/** Two workers that wait for customers, four tasks at once in each. They may read no file. */
export const urgent = new Pool({ queueName: "urgent", numWorkers: 2, concurrency: 4 });

/** One worker, one task at a time. It may read the documents. */
export const background = new Pool({
  queueName: "background",
  numWorkers: 1,
  permissions: { read: [DOCUMENTS] },
});

urgent.task(answerCustomer, ({ context }) => ({ answer: `${context.question} Yes, of course.` }));

background.task(indexDocument, async ({ context }) => {
  const text = await Deno.readTextFile(`${DOCUMENTS}/${context.file}`);
  return { words: text.match(/\S+/g)?.length ?? 0 };
});

if (import.meta.main) {
  await urgent.migrate(); // The tables are one for both.
  await Promise.all([urgent.run(), background.run()]);
}
