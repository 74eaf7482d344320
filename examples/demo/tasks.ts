/**
 * The demo's tasks, as the program and its workers both know them.
 *
 * @module
 */
import { defineTask } from "@agentexec/core";
import { z } from "zod";

/** The name of the pool: by it the workers find theirs. */
export const POOL_NAME = "demo";

const fileCounts = z.object({
  path: z.string(),
  bytes: z.number(),
  lines: z.number(),
  words: z.number(),
  longestLine: z.object({ number: z.number(), length: z.number() }),
  frequentWords: z.array(z.object({ word: z.string(), count: z.number() })),
});

/** What was counted in one file. */
export type FileCounts = z.output<typeof fileCounts>;

const report = z.object({
  analyzed: z.array(fileCounts),
  failed: z.array(z.object({ path: z.string(), reason: z.string(), unreadable: z.boolean() })),
});

/** What became of a run's files. */
export type Report = z.output<typeof report>;

/** Reads one file and counts what it holds. */
export const analyzeFile = defineTask("demo_analyze", {
  context: z.object({ directory: z.string(), path: z.string() }),
  result: fileCounts,
});

/** Gathers the stored results of a run. */
export const makeReport = defineTask("demo_report", {
  context: z.object({ run: z.uuid() }),
  result: report,
});
