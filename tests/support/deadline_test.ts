import { unfinished } from "../../tools/test_counts.ts";
import { assertEquals, assertMatch, assertTrue } from "./assert.ts";
import { alive, runCommand } from "./processes.ts";
import { waitFor } from "./wait.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

async function runHanging(deadlineS: number, journal: string) {
  return await runCommand(
    [
      ...["deno", "test", "--no-prompt", "--allow-env", "--allow-read", "--allow-run"],
      ...[`--allow-write=${journal}`, "--preload", "tests/support/deadline.ts"],
      "tests/fixtures/hanging.ts",
    ],
    {
      cwd: ROOT,
      env: { TEST_DEADLINE: String(deadlineS), TEST_JOURNAL: journal, NO_COLOR: "1" },
    },
  );
}

Deno.test("a test that does not end fails with what it waited for and its programs' output, and the next one runs", async () => {
  const journal = await Deno.makeTempFile();
  await using tests = await runHanging(5, journal);
  assertEquals((await tests.exit).code, 1);
  const { output } = tests;
  assertMatch(output, /'waits for ever' has not ended within 5 s/);
  assertMatch(output, /It waited for what never comes, for [\d.]+ s/);
  assertMatch(output, /'waits for a promise' has not ended within 5 s/);
  assertMatch(output, /The last lines of process \d+, deno run .*talking_still\.ts:/);
  assertMatch(output, /comes after them \.\.\. ok/);
  const pids = [...output.matchAll(/process (\d+) says something/g)].map(([, pid]) => Number(pid));
  assertTrue(pids.length >= 2, output);
  await waitFor(() => !pids.some(alive), { what: "the programs of the tests to be gone" });
  assertEquals(unfinished(await Deno.readTextFile(journal)), []);
  await Deno.remove(journal);
});

Deno.test("tests that are under way are in the journal", async () => {
  const journal = await Deno.makeTempFile();
  await using _tests = await runHanging(3_600, journal);
  const open = await waitFor(
    async () => {
      const names = unfinished(await Deno.readTextFile(journal));
      return names.length > 0 && names;
    },
    { what: "a test to begin", timeoutMs: 60_000 },
  );
  assertEquals(open, ["fixtures/hanging.ts: waits for ever"]);
  await Deno.remove(journal);
});
