/**
 * What a test is in the middle of: what it waits for, and the programs it has started. Told when its time is up.
 *
 * @module
 */

/** A program that a test has started. */
export interface PendingProgram {
  /** What it is, and its process id. */
  readonly title: string;
  /** What it has put out, or where to find it. */
  output(): string | Promise<string>;
  /** Ends it and all that it has started. */
  end?(): Promise<void>;
}

interface Wait {
  readonly what: string;
  readonly since: number;
}

const LINES = 40;

const waits = new Set<Wait>();
const programs = new Set<PendingProgram>();

/** Takes note of a wait, until the returned function is called. */
export function noteWait(what: string): () => void {
  const wait = { what, since: performance.now() };
  waits.add(wait);
  return () => waits.delete(wait);
}

/** Takes note of a program, until the returned function is called. */
export function noteProgram(program: PendingProgram): () => void {
  programs.add(program);
  return () => programs.delete(program);
}

/** All of it as text. */
export async function describePending(): Promise<string> {
  const lines = [...waits].map(({ what, since }) =>
    `It waited for ${what}, for ${((performance.now() - since) / 1_000).toFixed(1)} s`
  );
  if (lines.length === 0) lines.push("It waited for nothing that waitFor() or within() know of");
  for (const program of programs) {
    const output = (await program.output()).trimEnd().split("\n");
    lines.push(`The last lines of ${program.title}:`, ...output.slice(-LINES).map((l) => `  ${l}`));
  }
  return lines.join("\n");
}

/** Ends the programs, for which nobody waits any more. */
export async function endPending(): Promise<void> {
  await Promise.allSettled([...programs].map((program) => program.end?.()));
}
