import { ChildProcess } from "../../src/process/child.ts";
import { uncaughtFrom } from "../../src/process/exit_cause.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { waitFor } from "../support/wait.ts";

function start(script: string, firstLine = "first") {
  const lines: [string, string][] = [];
  const child = new ChildProcess({
    command: "sh",
    args: ["-c", script],
    env: { PATH: Deno.env.get("PATH") ?? "", ONLY: "this" },
    firstLine,
    onOutput: (stream, line) => lines.push([stream, line]),
  });
  return { child, lines };
}

Deno.test("a child is told its first line, and its streams come line by line, the last without an end too", async () => {
  const { child, lines } = start('read first; echo "got $first"; echo oops >&2; printf rest');
  assertEquals(await child.exited, { code: 0, signal: null, description: "exit code 0" });
  assertEquals(lines.filter(([stream]) => stream === "stdout"), [["stdout", "got first"], [
    "stdout",
    "rest",
  ]]);
  assertEquals(child.stderrTail, "oops\n");
});

Deno.test("a child's environment is what it is given and nothing else", async () => {
  const { child, lines } = start("env | grep -v -E '^(PWD|SHLVL|_|PATH)=' | sort");
  await child.exited;
  assertEquals(lines, [["stdout", "ONLY=this"]]);
});

Deno.test("a child's end by a signal is told by its name", async () => {
  const { child } = start("kill -KILL $$");
  assertEquals(await child.exited, { code: null, signal: "SIGKILL", description: "SIGKILL" });
});

Deno.test("a grandchild that holds the pipes open does not keep the exit waiting", async () => {
  const { child, lines } = start("sleep 30 & echo $!; exit 3");
  assertEquals((await child.exited).code, 3);
  Deno.kill(Number(lines[0]![1]), "SIGKILL");
});

Deno.test("send() says whether the child still reads", async () => {
  const { child, lines } = start("while read line; do echo $line; [ $line = end ] && exit; done");
  await waitFor(() => lines.length === 1, { what: "the first line" });
  assertTrue(await child.send("end"));
  await child.exited;
  assertEquals(lines.map(([, line]) => line), ["first", "end"]);
  assertEquals(await child.send("late"), false);
});

Deno.test("a line without an end comes in pieces, and bytes that are no UTF-8 are replaced", async () => {
  const { child, lines } = start("head -c 100000 /dev/zero | tr '\\0' x; echo; printf '\\377\\n'");
  await child.exited;
  assertEquals(child.stderrTail, "");
  assertTrue(lines.every(([, line]) => line.length <= 16 * 1024));
  assertEquals(lines.slice(0, -1).reduce((sum, [, line]) => sum + line.length, 0), 100_000);
  assertEquals(lines.at(-1), ["stdout", "\ufffd"]);
});

Deno.test("a character is not cut in two where a long line is", async () => {
  const { child, lines } = start("printf x; yes 😀 | head -n 20000 | tr -d '\\n'");
  await child.exited;
  assertTrue(lines.length > 1);
  assertEquals(lines.filter(([, line]) => !line.isWellFormed() || line.includes("\ufffd")), []);
  assertEquals(lines.map(([, line]) => line).join(""), `x${"😀".repeat(20_000)}`);
});

Deno.test("a child that floods its output is heard to the end", async () => {
  let bytes = 0;
  const child = new ChildProcess({
    command: "sh",
    args: ["-c", "yes | head -c 20000000; yes | head -c 20000000 >&2"],
    env: { PATH: Deno.env.get("PATH") ?? "" },
    firstLine: "",
    onOutput: (_, line) => bytes += line.length + 1,
  });
  await child.exited;
  assertEquals(bytes, 40_000_000);
  assertTrue(child.stderrTail.length <= 4096);
});

Deno.test("the heap limit is told as such", async () => {
  const child = new ChildProcess({
    command: Deno.execPath(),
    args: [
      "eval",
      "--v8-flags=--max-old-space-size=32",
      "const a = []; for (;;) a.push(new Array(1000).fill(1));",
    ],
    env: {},
    firstLine: "",
    onOutput: () => {},
  });
  const { description } = await child.exited;
  assertMatch(description, /out of memory/);
});

Deno.test("the colours of what a child writes are taken away, on both streams and in its last words", async () => {
  const { child, lines } = start(
    "printf '\\033[1;31mred\\033[0m and \\033[38;5;245mgrey\\033[39m\\n'; printf '\\033[2Kuncaught\\n' >&2",
  );
  await child.exited;
  assertEquals(lines.toSorted(), [["stderr", "uncaught"], ["stdout", "red and grey"]]);
  assertEquals(child.stderrTail, "uncaught\n");
});

Deno.test("uncaughtFrom() finds what Deno said of an uncaught error, coloured or not", () => {
  const text =
    "noise\n\u001b[31merror\u001b[0m: Uncaught (in promise) Error: nobody caught me\n    at file:///x.ts:1:1";
  assertEquals(uncaughtFrom(text), "Error: nobody caught me");
  assertEquals(
    uncaughtFrom("error: Uncaught TypeError: x is not a function"),
    "TypeError: x is not a function",
  );
  assertEquals(
    uncaughtFrom("error: Top-level await promise never resolved\nawait import(x)"),
    "Top-level await promise never resolved",
  );
  assertEquals(uncaughtFrom("all is well\nerror: a program's own word"), undefined);
});
