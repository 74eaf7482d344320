/**
 * What the embedded mode can do: enqueue, throughput, latency at idle, processor time at idle. Everything of it is in a
 * temporary folder, and it ends by itself.
 *
 * Run: `deno task bench`; it prints one line per figure. Where REDIS_URL and DATABASE_URL are set it measures those
 * instead.
 *
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises";
import { configure, type LogRecord } from "@logtape/logtape";
import { Pool } from "@agentexec/core";
import { clock, nothing, pool as declared } from "./pool_worker.ts";

const TASKS = 10_000;
const ROUNDS = 3;
const LATENCY_TASKS = 200;
const IDLE_MS = 20_000;

await declared.close();
await configure({
  sinks: { problems: (record: LogRecord) => console.error(record.message.join("")) },
  loggers: [
    { category: [], sinks: ["problems"], lowestLevel: "warning" },
    { category: ["logtape", "meta"], sinks: ["problems"], lowestLevel: "warning" },
  ],
});

const folder = await Deno.makeTempDir({ prefix: "agentexec-bench-" });
try {
  for (let round = 1; round <= ROUNDS; round++) await throughput(round);
  await enqueue();
  await latency();
  await idle();
} finally {
  await Deno.remove(folder, { recursive: true });
}

function open(options: { readonly numWorkers: number; readonly concurrency: number }): Pool {
  const onServers = Deno.env.has("REDIS_URL") && Deno.env.has("DATABASE_URL");
  return new Pool({
    name: "bench",
    entrypoint: new URL("./pool_worker.ts", import.meta.url),
    ...(onServers ? {} : {
      brokerUrl: `sqlite:${folder}/broker.db`,
      databaseUrl: `sqlite:${folder}/activity.db`,
    }),
    ...options,
  });
}

/** The workers are ready and idle; the time runs from the first enqueue until every task has ended. */
async function throughput(round: number): Promise<void> {
  await using pool = open({ numWorkers: 2, concurrency: 100 });
  await pool.migrate();
  await pool.start();
  const from = performance.now();
  await pool.enqueueMany(nothing, Array.from({ length: TASKS }, () => undefined));
  const enqueued = performance.now();
  for (let left = TASKS; left > 0; await sleep(10)) {
    const { waiting, running } = await pool.depth();
    left = waiting + running;
  }
  const ended = performance.now();
  const complete = await pool.activity.count({ status: ["queued", "running", "error"] });
  if (complete !== 0) throw new Error(`${complete} tasks did not complete`);
  say(`round ${round}: enqueue of ${TASKS} while workers run them`, enqueued - from, "ms");
  say(`round ${round}: tasks per second`, TASKS / (ended - from) * 1_000, "/s");
}

/** No worker runs: what a producer alone takes. */
async function enqueue(): Promise<void> {
  await using pool = open({ numWorkers: 2, concurrency: 100 });
  await pool.migrate();
  const from = performance.now();
  await pool.enqueueMany(nothing, Array.from({ length: TASKS }, () => undefined));
  say(`enqueue of ${TASKS}, nobody runs them`, performance.now() - from, "ms");
  await pool.cancelPending({ scope: "queue" });
}

async function latency(): Promise<void> {
  await using pool = open({ numWorkers: 2, concurrency: 1 });
  await pool.start();
  const times: number[] = [];
  for (let n = 0; n < LATENCY_TASKS; n++) {
    const from = performance.timeOrigin + performance.now();
    const task = await pool.enqueue(clock);
    times.push((await task.result()).startedAt - from);
    await sleep(20 * Math.random());
  }
  times.sort((a, b) => a - b);
  say("enqueue to start at idle, median", times[LATENCY_TASKS / 2] ?? NaN, "ms");
  say("enqueue to start at idle, 99 %", times[Math.floor(LATENCY_TASKS * 0.99)] ?? NaN, "ms");
}

async function idle(): Promise<void> {
  await using pool = open({ numWorkers: 4, concurrency: 1 });
  await pool.start();
  const pids = [Deno.pid, ...pool.workers.flatMap(({ pid }) => pid ?? [])];
  const before = await processorMs(pids);
  await sleep(IDLE_MS);
  const used = await processorMs(pids) - before;
  say(`processor at idle, supervisor and 4 workers`, used / IDLE_MS * 100, "% of one core");
}

/** The processor time that processes have used, from /proc, which counts 100 ticks a second. */
async function processorMs(pids: readonly number[]): Promise<number> {
  // By a program: Deno lets only a process of all permissions read there.
  const { stdout } = await new Deno.Command("cat", { args: pids.map((pid) => `/proc/${pid}/stat`) })
    .output();
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  return lines.reduce((sum, line) => {
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    return sum + (Number(fields[11]) + Number(fields[12])) * 10;
  }, 0);
}

function say(what: string, value: number, unit: string): void {
  console.log(`${what}: ${value.toFixed(1)} ${unit}`);
}
