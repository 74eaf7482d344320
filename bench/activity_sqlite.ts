/**
 * How fast the activity store is on SQLite. Prints one line per figure.
 *
 * `deno run --no-prompt --allow-read --allow-write --allow-env bench/activity_sqlite.ts`
 *
 * @module
 */
import process from "node:process";
import { v7 as uuid } from "uuid";
import type { NewTaskRow } from "../src/activity/rows.ts";
import { ActivityStore } from "../src/activity/store.ts";
import { parseDatabaseUrl } from "../src/addresses.ts";

const TASKS = 10_000;
const CHUNK = 1_000;
const IN_FLIGHT = 100;

const folder = await Deno.makeTempDir({ prefix: "bench_activity_" });
const store = new ActivityStore({
  address: parseDatabaseUrl({ value: `sqlite:${folder}/activity.db`, source: "the benchmark" }),
  tablePrefix: "agentexec_",
  messages: { create: "Waiting", started: "Started", complete: "Completed", error: "{error}" },
});
try {
  await store.migrate();
  // Twice: the first round warms up.
  await measure({ shown: false });
  await measure({ shown: true });
} finally {
  await store.close();
  await Deno.remove(folder, { recursive: true });
}

async function measure({ shown }: { readonly shown: boolean }): Promise<void> {
  const rows = Array.from({ length: TASKS }, newRow);
  const ids = rows.map(({ agentId }) => agentId);
  const figures = [
    await timed(`insert in chunks of ${CHUNK}`, TASKS, async () => {
      for (let at = 0; at < TASKS; at += CHUNK) await store.insertTasks(rows.slice(at, at + CHUNK));
    }),
    await timed(`read, start, complete; ${IN_FLIGHT} in flight`, TASKS, () => eachOf(ids, live)),
    await timed("write one after the other", 1_000, () => inTurn(1_000)),
  ];
  if (shown) { for (const figure of figures) console.log(figure); }
}

/** What a worker asks of the store for one task. */
async function live(agentId: string): Promise<void> {
  const write = { agentId, token: "1790000000000001" };
  const counters = { attempt: 1 };
  await store.write({ ...write, status: "running", message: "Started", counters });
  await store.readRow(agentId);
  const result = '{"summary":"done"}';
  await store.write({
    ...write,
    status: "complete",
    message: "Completed",
    percentage: 100,
    result,
  });
}

async function eachOf(ids: readonly string[], body: (id: string) => Promise<void>): Promise<void> {
  const left = ids.values();
  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
    for (const id of left) await body(id);
  }));
}

/** The cost of a write that goes alone, most of which is the wait for the disk. */
async function inTurn(count: number): Promise<void> {
  const row = newRow();
  await store.insertTasks([row]);
  for (let token = 1; token <= count; token++) {
    await store.write({ agentId: row.agentId, token: String(token), status: "running" });
  }
}

function newRow(): NewTaskRow {
  return {
    agentId: uuid(),
    taskName: "research",
    queue: "agentexec_tasks",
    brokerId: "1790000000000001",
    context: '{"company":"Acme","depth":3}',
    metadata: '{"org":"o-1"}',
  };
}

/** Wall-clock and CPU time: the two differ by the waits for the disk. */
async function timed(what: string, count: number, body: () => Promise<void>): Promise<string> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await body();
  const ms = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const perSecond = Math.round(count / ms * 1_000);
  const micros = Math.round((user + system) / count);
  return `${what}: ${Math.round(ms)} ms, ${perSecond}/s, ${micros} µs of CPU each`;
}
