import { assertEquals, assertMatch } from "../support/assert.ts";
import { describeProblem, parseCounts, unfinished } from "../../tools/test_counts.ts";

Deno.test("parseCounts() reads the summary of a run that passed", () => {
  assertEquals(parseCounts("running 2 tests\na ... ok (1ms)\n\nok | 2 passed | 0 failed (1s)\n"), {
    passed: 2,
    failed: 0,
    ignored: 0,
  });
});

Deno.test("parseCounts() reads steps, ignored tests and colours", () => {
  const summary = "\x1b[31mFAILED\x1b[0m | 7 passed (3 steps) | 1 failed (1 step) | 2 ignored (3s)";
  assertEquals(parseCounts(`x\n${summary}\n`), { passed: 7, failed: 1, ignored: 2 });
});

Deno.test("parseCounts() does not count what a test prints", () => {
  const output = "says: ok | 8 passed | 0 failed\nok | 9 passed | 0 failed (1s)\n" +
    "FAILED | 1 passed | 2 failed (1s)\n\nerror: Test failed\n";
  assertEquals(parseCounts(output), { passed: 1, failed: 2, ignored: 0 });
});

Deno.test("parseCounts() finds nothing in the output of a run that did not begin", () => {
  assertEquals(parseCounts("error: Type checking failed.\n"), {
    passed: 0,
    failed: 0,
    ignored: 0,
  });
});

Deno.test("describeProblem() lets only a run pass in which every test ran and passed", () => {
  assertEquals(describeProblem({ passed: 3, failed: 0, ignored: 0 }, 0), null);
  assertMatch(
    describeProblem({ passed: 3, failed: 0, ignored: 1 }, 0) ?? "",
    /1 tests were ignored/,
  );
  assertMatch(describeProblem({ passed: 3, failed: 1, ignored: 0 }, 1) ?? "", /1 tests failed/);
  assertMatch(describeProblem({ passed: 0, failed: 0, ignored: 0 }, 0) ?? "", /No test has run/);
  assertMatch(describeProblem({ passed: 0, failed: 0, ignored: 0 }, 1) ?? "", /code 1/);
});

Deno.test("unfinished() names the tests that have begun and not ended", () => {
  const lines = [["begin", "a: one"], ["begin", "b: two"], ["end", "a: one"], [
    "begin",
    "a: three",
  ]];
  assertEquals(unfinished(lines.map((line) => `${JSON.stringify(line)}\n`).join("")), [
    ...["b: two", "a: three"],
  ]);
  assertEquals(unfinished(""), []);
});
