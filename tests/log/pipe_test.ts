import { LogRelay } from "../../src/log/relay.ts";
import { ChildProcess } from "../../src/process/child.ts";
import { LineParser } from "../../src/process/marked_lines.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { within } from "../support/wait.ts";
import { collectRecords } from "./support.ts";

const WORKER = new URL("fixtures/piping_worker.ts", import.meta.url).pathname;

function argumentsFor(mark: string, deed: string): string[] {
  return ["run", "--no-prompt", "--allow-run=sh", WORKER, mark, deed];
}

/** Runs the worker to its end as a supervisor does. */
async function run(deed: string) {
  using collected = collectRecords();
  const relay = new LogRelay({ pool: "pool", showPool: false });
  const mark = crypto.randomUUID();
  const output: [string, string][] = [];
  const child = new ChildProcess({
    command: Deno.execPath(),
    args: argumentsFor(mark, deed),
    env: Deno.env.toObject(),
    firstLine: "",
    messages: { mark, onMessage: (message) => relay.receive(message) },
    onOutput: (stream, line) => output.push([stream, line]),
  });
  const { code } = await child.exited;
  assertEquals([code, relay.refused], [0, 0], JSON.stringify(output.slice(0, 20)));
  return {
    relay,
    texts: collected.texts(),
    stdout: output.filter(([stream]) => stream === "stdout").map(([, line]) => line),
    stderr: output.filter(([stream]) => stream === "stderr").map(([, line]) => line),
  };
}

Deno.test("records larger than a line of output come through a pipe whole, and the bye after them", async () => {
  const sizes = Array.from({ length: 20 }, (_, n) => [n, `${n} `.length + 15_000]);
  const { relay, texts, stdout, stderr } = await run("logs large records");
  assertEquals(texts.map((text) => [parseInt(text), text.length]), sizes);
  assertEquals([stdout, stderr], [[], []]);
  await within(relay.byeOf("s/0/1"), { what: "the bye" });
});

Deno.test("what a handler writes to standard output without a newline keeps no record from arriving, and no record parts it", async () => {
  const { texts, stdout, stderr } = await run("writes in between");
  assertEquals(texts, Array.from({ length: 500 }, (_, n) => `line ${n}`));
  const raw = Array.from({ length: 250 }, (_, n) => `<raw ${2 * n}><raw ${2 * n + 1}>`);
  assertEquals(stdout, raw, "as if nothing else were written there");
  assertEquals(stderr, []);
});

Deno.test("a program that floods the worker's standard output tears no record and none of its own lines", async () => {
  const { texts, stdout } = await run("starts a program that floods");
  const lines = texts.filter((text) => /^line \d+ x{5000}$/.test(text));
  const lost = texts.map((text) =>
    /^(\d+) log records? of Worker 0 w\w+ lost: they/.exec(text)?.[1]
  )
    .filter((count) => count !== undefined);
  assertEquals(lines.length + lost.length, texts.length, "nothing else, and nothing torn");
  const last = Number(lines.at(-1)?.split(" ")[1]);
  assertEquals(lines.length + lost.reduce((sum, count) => sum + Number(count), 0), last + 1);
  assertEquals(stdout.filter((line) => line !== "from the program"), []);
  assertEquals(stdout.length, 200_000);
});

Deno.test("a worker that exits after it has logged leaves its lines on standard error, each once", async () => {
  const { texts, stderr } = await run("exits");
  assertEquals(texts, []);
  assertEquals(stderr, Array.from({ length: 1_000 }, (_, n) => `info: line ${n}`));
});

Deno.test("a worker whose standard output was closed logs by standard error", async () => {
  const { texts, stderr } = await run("closes its output");
  assertEquals([texts, stderr], [[], ["info: by standard error"]]);
});

/** Runs the worker and reads its output only once it has said something on its standard error. */
async function runUnread(deed: string) {
  using collected = collectRecords();
  const relay = new LogRelay({ pool: "pool", showPool: false });
  const mark = crypto.randomUUID();
  await using child = new Deno.Command(Deno.execPath(), {
    args: argumentsFor(mark, deed),
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const stderr = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  const said = await within(stderr.read(), { what: "the worker's word on standard error" });
  await child.stdin.close();
  const parser = new LineParser({
    mark,
    onLine: () => {},
    onMessage: (message) => relay.receive(message),
  });
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) parser.take(text);
  const more = await stderr.read();
  assertEquals([(await child.status).code, more.value], [0, undefined]);
  const lines = collected.texts().filter((text) => text.startsWith("line "));
  const numbers = lines.map((line) => Number(line.split(" ")[1]));
  const lost = collected.records.map(({ properties }) => Number(properties.lost ?? 0));
  return { said: said.value, numbers, lost: lost.reduce((sum, count) => sum + count, 0) };
}

Deno.test("a supervisor that does not read keeps no worker waiting, gets its last lines, and is told of the gap", async () => {
  const { said, numbers, lost } = await runUnread("is not read");
  assertEquals(said, "the event loop went on\n");
  assertEquals(numbers.slice(-1_000), Array.from({ length: 1_000 }, (_, n) => 19_000 + n));
  assertEquals(numbers.length + lost, 20_000);
  assertTrue(lost > 0);
});

Deno.test("a worker that ends while its supervisor is busy leaves each of its last lines, once", async () => {
  const { said, numbers, lost } = await runUnread("ends unread");
  assertEquals(said, "still ending\n");
  assertEquals(numbers, Array.from({ length: 1_000 }, (_, n) => n));
  assertEquals(lost, 0);
});
