/**
 * The pool of the benchmarks: what its workers run.
 *
 * @module
 */
import { defineTask, Pool } from "@agentexec/core";
import { z } from "zod";

/** Does nothing. */
export const nothing = defineTask("nothing");

/** Says when its handler started, in milliseconds of the Unix epoch. */
export const clock = defineTask("clock", { result: z.object({ startedAt: z.number() }) });

/** The same pool as the benchmark's; the settings are the benchmark's too. */
export const pool: Pool = new Pool({ name: "bench" });

pool.task(nothing, () => {});
pool.task(clock, () => ({ startedAt: performance.timeOrigin + performance.now() }));
