/**
 * One run over a folder: named by folder and generation, so that the next program finishes what this one
 * leaves.
 *
 * @module
 */
import type { Client, Pool, TaskHandle } from "@agentexec/core";
import { v5 } from "uuid";
import { analyzeFile, makeReport, type Report } from "./tasks.ts";

/** Where the ids of the demo come from: a UUID made for it once. */
const DEMO = "0b0a5a0e-6f0c-4c55-9d0c-5d5b1a6e8c3f";

/** How many tasks to watch at once; they end about in the order in which they went in. */
const WATCHED_AT_ONCE = 50;

/** A run over a folder. */
export interface Run {
  /** The folder. */
  readonly directory: string;
  /** 1 for the first run over the folder, one more once a run has its report. */
  readonly generation: number;
  /** The id made from both. */
  readonly id: string;
  /** Whether an earlier program has begun it. */
  readonly begun: boolean;
}

/** How far a run is. */
export interface RunProgress {
  /** Files whose task has ended. */
  readonly done: number;
  /** All files. */
  readonly all: number;
}

/** The queue of a folder: workers that may read one folder must not take tasks that need another. */
export function queueOf(directory: string): string {
  return `demo-${v5(directory, DEMO)}`;
}

/** The run that is to be finished, or else a new one. */
export async function findRun(client: Client, directory: string): Promise<Run> {
  const last = await lastGeneration(client, directory);
  const run = runOf(directory, last, true);
  if (last > 0 && !await isReported(client, run)) return run;
  return runOf(directory, last + 1, false);
}

/** A new run; what an earlier one has left is canceled first. */
export async function freshRun(client: Client, directory: string): Promise<Run> {
  // The queue is the folder's own: no other folder, and no other program, loses anything.
  await client.cancelPending({ scope: "queue" });
  return runOf(directory, await lastGeneration(client, directory) + 1, false);
}

/** Has every file analyzed that is not yet, then the report made. */
export async function finishRun(options: {
  readonly pool: Pool;
  readonly run: Run;
  readonly files: readonly string[];
  readonly signal: AbortSignal;
  readonly onProgress: (progress: RunProgress) => void;
}): Promise<Report> {
  const { pool, run, files, signal, onProgress } = options;
  const { directory, generation, id } = run;
  const metadata = { directory, generation, run: id };
  // Those that an earlier program has put in are not put in again: their ids are the same.
  const tasks = await pool.enqueueMany(
    analyzeFile,
    files.map((path) => ({ directory, path })),
    { agentIds: files.map((path) => v5(path, id)), metadata },
  );
  let done = 0;
  onProgress({ done, all: tasks.length });
  await waitForAll(tasks, signal, () => onProgress({ done: ++done, all: tasks.length }));
  const report = await pool.enqueue(makeReport, { run: id }, { agentId: reportId(run), metadata });
  return await report.result({ signal });
}

/** How many files of a run have been dealt with. */
export async function countDone(client: Client, run: Run): Promise<number> {
  return await client.activity.count({
    taskName: analyzeFile.name,
    metadata: { run: run.id },
    status: ["complete", "error", "canceled"],
  });
}

/** The generation of the newest run; 0 where there was none. */
async function lastGeneration(client: Client, directory: string): Promise<number> {
  const { items } = await client.activity.list({ metadata: { directory }, limit: 1 });
  const generation = items[0]?.metadata["generation"];
  return typeof generation === "number" ? generation : 0;
}

async function isReported(client: Client, run: Run): Promise<boolean> {
  const report = await client.activity.detail(reportId(run));
  return (report?.endedAt ?? null) !== null;
}

function runOf(directory: string, generation: number, begun: boolean): Run {
  return { directory, generation, begun, id: v5(`${directory}\0${generation}`, DEMO) };
}

/** No path holds a NUL, so that no file has this id. */
function reportId(run: Run): string {
  return v5("report\0", run.id);
}

async function waitForAll(
  tasks: readonly TaskHandle[],
  signal: AbortSignal,
  onEnd: () => void,
): Promise<void> {
  const rest = tasks.values();
  async function watch(): Promise<void> {
    // All watchers share one iterator: each takes the next task that nobody watches yet.
    for (const task of rest) {
      await task.wait({ signal });
      onEnd();
    }
  }
  await Promise.all(Array.from({ length: WATCHED_AT_ONCE }, watch));
}
