/**
 * What the demo's workers run. They may read the folder that is looked through, and nothing else.
 *
 * @module
 */
import { CONF, currentTask, Pool } from "@agentexec/core";
import { sql } from "kysely";
import { isFileSystemError } from "./files.ts";
import { analyzeFile, type FileCounts, makeReport, POOL_NAME, type Report } from "./tasks.ts";
import { TextCounter } from "./text_counter.ts";

/** The same pool as the program's; its queue is the one that the program has put into the environment. */
export const pool = new Pool({ name: POOL_NAME });

/** A file that cannot be read: of all failures the one that says nothing about the demo. */
class UnreadableFileError extends Error {
  override readonly name = "UnreadableFileError";
}

/** How its text begins in the record of a task. */
const UNREADABLE = "UnreadableFileError: ";

pool.task(analyzeFile, async ({ context, activity, signal, log }) => {
  const { directory, path } = context;
  const counter = new TextCounter();
  const decoder = new TextDecoder();
  let bytes = 0;
  let quarters = 0;
  for await (const { chunk, size } of readFile(`${directory}/${path}`)) {
    signal.throwIfAborted();
    bytes += chunk.length;
    counter.add(decoder.decode(chunk, { stream: true }));
    // The file may grow while it is read.
    const reached = Math.min(4, Math.floor(4 * bytes / size));
    if (reached === quarters) continue;
    quarters = reached;
    await activity.update(`Read ${quarters * 25} % of ${path}`, { percentage: quarters * 25 });
  }
  counter.add(decoder.decode());
  const { frequentWords, ...counts } = counter.finish();
  log.info(`${path}: ${counts.lines} lines, ${counts.words} words, ${bytes} bytes`);
  return { path, bytes, ...counts, frequentWords: [...frequentWords] };
});

pool.task(makeReport, async ({ context, activity }): Promise<Report> => {
  const rows = await storedRows(context.run);
  await activity.update(`Gathered the results of ${rows.length} files`, { percentage: 100 });
  return {
    analyzed: rows.filter(({ status }) => status === "complete").map(({ result }) => result)
      .sort((a, b) => b.bytes - a.bytes || (a.path < b.path ? -1 : 1)),
    failed: rows.filter(({ status }) => status !== "complete").map(({ path, status, error }) => {
      const reason = error?.split("\n", 1)[0] ?? status;
      const unreadable = reason.startsWith(UNREADABLE);
      return { path, reason: unreadable ? reason.slice(UNREADABLE.length) : reason, unreadable };
    }).sort((a, b) => a.path < b.path ? -1 : 1),
  };
});

/** The chunks of a file. */
async function* readFile(path: string): AsyncGenerator<{ chunk: Uint8Array; size: number }> {
  const buffer = new Uint8Array(64 * 1024);
  using file = await reading(() => Deno.open(path));
  const { size } = await reading(() => file.stat());
  for (;;) {
    const length = await reading(() => file.read(buffer));
    if (length === null) return;
    yield { chunk: buffer.subarray(0, length), size };
  }
}

/** Tells what the operating system refuses from what is wrong with the demo, or with its permissions. */
async function reading<T>(step: () => Promise<T>): Promise<T> {
  try {
    return await step();
  } catch (error) {
    if (!isFileSystemError(error)) throw error;
    throw new UnreadableFileError(error.message, { cause: error });
  }
}

interface StoredRow {
  readonly path: string;
  readonly status: string;
  readonly result: FileCounts;
  readonly error: string | null;
}

/** The run's rows, from the library's own table: it lies open to a program's queries. */
async function storedRows(run: string): Promise<readonly StoredRow[]> {
  const { db } = currentTask();
  const rows = await db.selectFrom(`${CONF.tablePrefix}activity`)
    .select(["status", "result", "error", sql<string>`context ->> 'path'`.as("path")])
    .where("task_name", "=", analyzeFile.name)
    .where(sql`metadata ->> 'run'`, "=", run)
    .execute();
  return rows.map((row) =>
    ({
      ...row,
      // SQLite keeps JSON as text.
      result: typeof row.result === "string" ? JSON.parse(row.result) : row.result,
    }) as StoredRow
  );
}
