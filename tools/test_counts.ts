/**
 * What a run of `deno test` says about itself: in its last lines, and in the journal of `tests/support/deadline.ts`.
 *
 * @module
 */

/** How many tests ended how. */
export interface Counts {
  /** Tests that passed. */
  readonly passed: number;
  /** Tests that failed. */
  readonly failed: number;
  /** Tests that were not run, as their file says. */
  readonly ignored: number;
}

// deno-lint-ignore no-control-regex -- colours are made of control characters
const COLOURS = /\x1b\[[0-9;]*m/g;

const SUMMARY =
  /^(?:ok|FAILED) \| (\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed(?: \(\d+ steps?\))?(?: \| (\d+) ignored)?/gm;

/** Reads the summary of `deno test`, the last in its output: a test may print one of its own before. */
export function parseCounts(output: string): Counts {
  const last = [...output.replace(COLOURS, "").matchAll(SUMMARY)].at(-1);
  return {
    passed: Number(last?.[1] ?? 0),
    failed: Number(last?.[2] ?? 0),
    ignored: Number(last?.[3] ?? 0),
  };
}

/** Why the run does not count as passed, or null where it does. */
export function describeProblem(counts: Counts, code: number): string | null {
  const { passed, failed, ignored } = counts;
  if (ignored > 0) return `${ignored} tests were ignored: every test has to run`;
  if (failed > 0) return `${failed} tests failed`;
  if (code !== 0) return `deno test ended with code ${code}`;
  if (passed === 0) return "No test has run";
  return null;
}

/** The tests that have begun and not ended, by a journal of lines such as `["begin","a_test.ts: a name"]`. */
export function unfinished(journal: string): readonly string[] {
  const open: string[] = [];
  for (const line of journal.split("\n")) {
    if (line === "") continue;
    const [what, name]: [string, string] = JSON.parse(line);
    if (what === "begin") open.push(name);
    else open.splice(open.indexOf(name), 1);
  }
  return open;
}
