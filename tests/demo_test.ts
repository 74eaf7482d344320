/**
 * The demo on generated folders, as a real program under the permissions of `deno task demo`.
 *
 * @module
 */
import type { Client } from "@agentexec/core";
import { findFiles } from "../examples/demo/files.ts";
import { TextCounter } from "../examples/demo/text_counter.ts";
import { assertEquals, assertMatch, assertTrue } from "./support/assert.ts";
import { copyFolder, type Ground, GROUNDS } from "./support/copies.ts";
import { alive, childrenOf, type Program, runCommand } from "./support/processes.ts";
import { sharedRedisUrl } from "./support/servers.ts";
import { waitFor } from "./support/wait.ts";

/** How many files most tests look through. */
const FILES = 200;

/** A folder to look through, removed at the end. */
async function folderOf(count: number): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "agentexec-demo-" }));
  for (let i = 0; i < count; i++) {
    const folder = `${path}/folder ${i % 7}`;
    await Deno.mkdir(folder, { recursive: true });
    await Deno.writeTextFile(
      `${folder}/file${i}.txt`,
      `line one of file ${i}\nline two\n`.repeat(i + 1),
    );
  }
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** A first file that keeps a worker busy for a second or two. */
async function addLargeFile({ path }: { path: string }): Promise<void> {
  await Deno.writeTextFile(`${path}/a file0.txt`, "some words that take time\n".repeat(500_000));
}

/** A copy of the demo, as its user runs it. */
async function setUp(ground: Ground = "embedded") {
  const copy = await copyFolder("examples/demo", ground);
  const env = { ...copy.env, AGENTEXEC_NUM_WORKERS: "2" };
  const cwd = copy.project.folder;
  return {
    ...copy,
    run: (...args: string[]) => runCommand(["deno", "task", "demo", "--", ...args], { env, cwd }),
    runOnTerminal: (...args: string[]) =>
      runCommand(["deno", "task", "demo", ...args], { env, cwd, tty: true }),
    runWith: (more: Readonly<Record<string, string>>, ...args: string[]) =>
      runCommand(["deno", "task", "demo", ...args], { env: { ...env, ...more }, cwd }),
  };
}

/** All activities of the demo's files. */
async function fileTasks(client: Client) {
  const { items, next } = await client.activity.list({ taskName: "demo_analyze", limit: 1_000 });
  assertEquals(next, null);
  return items;
}

/** Lines that are neither the demo's own nor what workers usually say. */
function troubles(program: Program): string[] {
  return [
    ...program.stdout.filter((line) => /^\[[^\]]*\] (warning|error|fatal):/.test(line)),
    ...program.stderr.filter((line) => !/Task.*demo/.test(line)),
  ];
}

/** How often a handler was started for a file. */
function starts(program: Program): number {
  return program.stdout.filter((line) => line.endsWith("] Processing task: demo_analyze")).length;
}

/** The rows of the report that are about an analyzed file. */
function rowsOf(program: Program): string[] {
  return program.stdout.filter((line) => /^.*file\d+\.txt( +\S+){3} +\S+ in line \d/.test(line));
}

async function endsWith(program: Program, code: number): Promise<void> {
  assertEquals((await program.exit).code, code, program.output);
}

async function nothingLeft(pids: readonly number[]): Promise<void> {
  await waitFor(() => !pids.some(alive), { what: `processes ${pids} to be gone` });
}

for (const ground of GROUNDS) {
  Deno.test(`the demo ${ground} analyzes each of 1,000 files once, reports every one, and leaves no process`, async () => {
    await using set = await setUp(ground);
    await using folder = await folderOf(1_000);
    await Deno.writeFile(`${folder.path}/image.png`, new Uint8Array([137, 80, 78, 71, 0, 1]));
    await using demo = await set.run("--all", folder.path);
    await demo.waitForLine(/Processing task/);
    const pids = childrenOf(demo.pid);
    await endsWith(demo, 0);
    assertEquals(demo.stdout.at(-1), "1000 files: 1000 analyzed, 0 failed");
    assertEquals(rowsOf(demo).length, 1_000);
    assertEquals(starts(demo), 1_000);
    const tasks = await fileTasks(set.client);
    assertEquals(tasks.length, 1_000);
    assertTrue(tasks.every(({ status, attempt }) => status === "complete" && attempt === 1));
    assertTrue(tasks.every(({ percentage }) => percentage === 100));
    assertMatch(demo.output, /^1000 text files in .*, 1 others left out$/m);
    assertMatch(
      demo.output,
      /^folder 3\/file199\.txt +6,\d{3} +400 +1,400 +20 in line 1 +line 400, file 200/m,
    );
    assertEquals(troubles(demo), []);
    await nothingLeft(pids);
  });

  Deno.test(`one Ctrl+C ends the demo ${ground} in the middle, and the next run finishes the rest`, async () => {
    await using set = await setUp(ground);
    await using folder = await folderOf(FILES);
    await addLargeFile(folder);
    await using demo = await set.runOnTerminal("--workers", "1", folder.path);
    await demo.waitForLine(/Processing task: demo_analyze/);
    const pids = childrenOf(demo.pid);
    await demo.type("\x03");
    await endsWith(demo, 130);
    await nothingLeft(pids);
    assertMatch(demo.output, /\[[#.]+\] \d+ % of 201 files/);
    const stopped = /Stopped after (\d+) of 201 files; to go on: deno task demo -- \/\S+/.exec(
      demo.output,
    );
    const done = Number(stopped?.[1]);
    assertTrue(done >= 1 && done <= FILES, demo.output);

    await using next = await set.run(folder.path);
    await endsWith(next, 0);
    assertMatch(next.output, /^Going on with run 1$/m);
    assertEquals(next.stdout.at(-1), "201 files: 201 analyzed, 0 failed");
    assertEquals(starts(next), FILES + 1 - done);
    assertTrue((await fileTasks(set.client)).every(({ attempt }) => attempt === 1));

    await using again = await set.run(folder.path);
    await endsWith(again, 0);
    assertMatch(again.output, /^Beginning run 2$/m);
    assertEquals(starts(again), FILES + 1);
  });

  Deno.test(`--fresh ${ground} cancels what is left of a run, begins the next, and touches no other queue`, async () => {
    await using set = await setUp(ground);
    await using folder = await folderOf(FILES);
    await addLargeFile(folder);
    await using demo = await set.run("--workers", "1", folder.path);
    await demo.waitForLine(/Processing task: demo_analyze/);
    demo.signal("SIGTERM");
    await endsWith(demo, 130);
    const elsewhere = await set.client.enqueue("of_another_program");

    await using fresh = await set.run("--fresh", folder.path);
    await endsWith(fresh, 0);
    assertMatch(fresh.output, /^Beginning run 2$/m);
    assertEquals(fresh.stdout.at(-1), "201 files: 201 analyzed, 0 failed");
    assertEquals(starts(fresh), FILES + 1);
    const first = (await fileTasks(set.client)).filter(({ metadata }) =>
      metadata["generation"] === 1
    );
    assertEquals(first.length, FILES + 1);
    assertTrue(first.every(({ status }) => status === "complete" || status === "canceled"));
    assertTrue(first.some(({ status }) => status === "canceled"));
    assertEquals(await elsewhere.status(), "queued");
  });

  Deno.test(`a worker of the demo ${ground} that is killed in the middle is replaced, and no file is missing`, async () => {
    await using set = await setUp(ground);
    await using folder = await folderOf(FILES);
    await addLargeFile(folder);
    await using demo = await set.run("--workers", "1", folder.path);
    await demo.waitForLine(/Processing task: demo_analyze/);
    Deno.kill(await workerOf(demo), "SIGKILL");
    await endsWith(demo, 0);
    assertEquals(demo.stdout.at(-1), "201 files: 201 analyzed, 0 failed");
    const crashed = (await fileTasks(set.client)).filter(({ attempt }) => attempt > 1);
    // The kill may have met it between two files, which then costs none of them anything.
    assertTrue(crashed.length <= 1);
    assertTrue(crashed.every(({ crashes, status }) => crashes === 1 && status === "complete"));
    assertEquals(demo.stdout.filter((line) => line === "[Pool] Worker 0 is ready").length, 2);
  });
}

Deno.test("the demo embedded says where its tasks are, and writes nothing but these two files", async () => {
  await using set = await setUp();
  await using folder = await folderOf(3);
  await using demo = await set.run(folder.path);
  await endsWith(demo, 0);
  assertTrue(demo.output.includes(`${set.project.folder}/.agentexec`), demo.output);
  assertEquals([...(await set.project.stores()).keys()].sort(), [
    ".gitignore",
    "activity.db",
    "broker.db",
  ]);
  const names = [...Deno.readDirSync(set.project.folder)].map(({ name }) => name).sort();
  assertEquals(names, [".agentexec", "deno.json", "deno.lock", "examples"]);
});

Deno.test("after kill -9 of the demo no process is left, and the next one finishes the run", async () => {
  await using set = await setUp();
  await using folder = await folderOf(FILES);
  await addLargeFile(folder);
  await using killed = await set.run("--workers", "1", folder.path);
  await killed.waitForLine(/Processing task: demo_analyze/);
  const pids = childrenOf(killed.pid);
  Deno.kill(await supervisorOf(killed), "SIGKILL");
  await nothingLeft(pids);

  await using next = await set.run(folder.path);
  await endsWith(next, 0);
  assertMatch(next.output, /^Going on with run 1$/m);
  assertEquals(next.stdout.at(-1), "201 files: 201 analyzed, 0 failed");
});

Deno.test("two demos at once over one folder share its files, and each reports all of them", async () => {
  await using set = await setUp();
  await using folder = await folderOf(FILES);
  await addLargeFile(folder);
  await using first = await set.run("--workers", "1", folder.path);
  await first.waitForLine(/Processing task: demo_analyze/);
  // Held where it is, so that it has no report before the second has looked.
  const supervisor = await supervisorOf(first);
  Deno.kill(supervisor, "SIGSTOP");
  await using second = await set.run("--workers", "1", folder.path);
  await second.waitForLine(/Going on with run 1/);
  Deno.kill(supervisor, "SIGCONT");
  for (const demo of [first, second]) {
    await endsWith(demo, 0);
    assertEquals(demo.stdout.at(-1), "201 files: 201 analyzed, 0 failed");
  }
  assertEquals(starts(first) + starts(second), FILES + 1);
});

Deno.test("a signal at once ends the demo, and leaves no process", async () => {
  await using set = await setUp();
  await using folder = await folderOf(FILES);
  await using demo = await set.run(folder.path);
  await demo.waitForLine(/text files in/);
  const pids = childrenOf(demo.pid);
  demo.signal("SIGTERM");
  await endsWith(demo, 130);
  assertMatch(demo.output, /^Stopped (before the workers were started|after \d+ of 200 files)/m);
  await nothingLeft(pids);
});

Deno.test("one server alone is refused in one line that names the other", async () => {
  await using set = await setUp();
  await using folder = await folderOf(1);
  for (
    const [env, problem] of [
      [
        { REDIS_URL: sharedRedisUrl() },
        /^ConfigError: Cannot find the database: .*DATABASE_URL/,
      ],
      [
        { DATABASE_URL: "sqlite:.agentexec/own.db" },
        /^ConfigError: Cannot find the broker: .*REDIS_URL/,
      ],
    ] as const
  ) {
    await using demo = await set.runWith(env, folder.path);
    await endsWith(demo, 1);
    const [line = "", ...more] = demo.stderr.filter((line) => !/Task.*demo/.test(line));
    assertMatch(line, problem);
    assertEquals(more, []);
    assertEquals([...(await set.project.stores()).keys()], []);
  }
});

Deno.test("the demo reports the ten largest files and the totals, and all of them where it is asked to", async () => {
  await using set = await setUp();
  await using folder = await folderOf(13);
  const largest = Array.from({ length: 13 }, (_, n) => `folder ${(12 - n) % 7}/file${12 - n}.txt`);
  for (const all of [false, true]) {
    await using demo = await set.run(...(all ? ["--all"] : []), folder.path);
    await endsWith(demo, 0);
    const rows = rowsOf(demo).map((row) => /^.*\.txt/.exec(row)?.[0] ?? row);
    assertEquals(rows, all ? largest : largest.slice(0, 10));
    assertEquals(demo.stdout.includes("and 3 smaller files, which --all shows"), !all);
    const totals = demo.stdout.findIndex((line) =>
      /^[\d,]+ bytes, 182 lines, 637 words$/.test(line)
    );
    assertEquals(totals, demo.stdout.length - 2, demo.output);
    assertEquals(demo.stdout.at(-1), "13 files: 13 analyzed, 0 failed");
  }
});

Deno.test("a file that cannot be read fails its own task, and is in the report", async () => {
  await using set = await setUp();
  await using folder = await folderOf(3);
  await makeUnreadable(folder.path);
  await using demo = await set.run(folder.path);
  await endsWith(demo, 0);
  assertMatch(demo.output, /^secret.*txt {2}not analyzed: .*\(os error \d+\)/m);
  assertEquals(demo.stdout.at(-1), "4 files: 3 analyzed, 1 failed");
});

Deno.test("a wrong command line is answered with what is wrong and how it is used", async () => {
  await using set = await setUp();
  for (
    const [args, problem] of [
      [["/no/such/folder"], /^Cannot look through '\/no\/such\/folder': No such file/],
      [["--workers", "many"], /^Cannot start 'many' workers: --workers takes a whole number/],
      [["--what"], /^Unknown option '--what'/],
      [["a", "b"], /^Cannot look through 2 folders: give one DIRECTORY/],
    ] as const
  ) {
    await using demo = await set.run(...args);
    await endsWith(demo, 2);
    assertMatch(demo.stderr.find((line) => !/Task.*demo/.test(line)) ?? "", problem);
    assertTrue(demo.stderr.includes("Usage: deno task demo [options] [DIRECTORY]"));
  }
  await using help = await set.run("--help");
  await endsWith(help, 0);
  assertTrue(help.stdout.includes("Usage: deno task demo [options] [DIRECTORY]"));
});

Deno.test("findFiles() leaves out binary files, links, tools' folders, and sorts the rest", async () => {
  await using folder = await folderOf(0);
  for (const name of ["b", ".git", "node_modules", ".agentexec"]) {
    await Deno.mkdir(`${folder.path}/${name}`);
    await Deno.writeTextFile(`${folder.path}/${name}/x.txt`, "text");
  }
  await Deno.writeTextFile(`${folder.path}/a.txt`, "");
  await Deno.writeTextFile(`${folder.path}/.hidden`, "text");
  await Deno.writeTextFile(`${folder.path}/binary`, "text\0text");
  await shell('ln -s a.txt "$1/link.txt" && ln -s "$1" "$1/b/loop"', folder.path);
  assertEquals(await findFiles(folder.path), {
    files: [".hidden", "a.txt", "b/x.txt"],
    binary: 1,
    closedFolders: [],
  });
});

Deno.test("TextCounter counts the same however the text is cut", () => {
  const text =
    "Ein Wort, ein Wort!\r\n\r\nÜber 𝒳𝒳𝒳 words words\tsnake_case\nlast line is the longest one here";
  const expected = {
    lines: 4,
    words: 16,
    longestLine: { number: 4, length: 33 },
    frequentWords: [
      { word: "ein", count: 2 },
      { word: "words", count: 2 },
      { word: "wort", count: 2 },
      { word: "here", count: 1 },
      { word: "last", count: 1 },
    ],
  };
  for (let size = 1; size <= text.length; size++) {
    const counter = new TextCounter();
    const characters = [...text];
    for (let i = 0; i < characters.length; i += size) {
      counter.add(characters.slice(i, i + size).join(""));
    }
    const counts = counter.finish();
    assertEquals(
      { ...counts, frequentWords: [...counts.frequentWords] },
      expected,
      `pieces of ${size}`,
    );
  }
});

Deno.test("TextCounter counts lines as editors show them", () => {
  for (
    const [text, lines, longest] of [
      ["", 0, { number: 0, length: 0 }],
      ["\n", 1, { number: 1, length: 0 }],
      ["a", 1, { number: 1, length: 1 }],
      ["a\n", 1, { number: 1, length: 1 }],
      ["a\nbb\ncc", 3, { number: 2, length: 2 }],
    ] as const
  ) {
    const counter = new TextCounter();
    counter.add(text);
    const counts = counter.finish();
    assertEquals(counts.lines, lines, JSON.stringify(text));
    assertEquals(counts.longestLine, longest, JSON.stringify(text));
  }
});

/** The demo's own process, below that of `deno task`. */
function supervisorOf(demo: Program): Promise<number> {
  return processOf(demo, "examples/demo/main.ts");
}

/** The process of the demo's only worker. */
function workerOf(demo: Program): Promise<number> {
  return processOf(demo, "data:text/javascript");
}

async function processOf(demo: Program, argument: string): Promise<number> {
  for (const pid of childrenOf(demo.pid)) {
    if ((await commandLineOf(pid)).includes(argument)) return pid;
  }
  throw new Error(`Cannot find a process of the demo with ${argument}:\n${demo.output}`);
}

async function commandLineOf(pid: number): Promise<string> {
  return await shell(
    Deno.build.os === "linux" ? 'cat "/proc/$1/cmdline" || true' : 'ps -p "$1" -o args= || true',
    String(pid),
  );
}

/** Adds a file that nobody can read, not even root: its name is no UTF-8, so that Deno cannot name it. */
async function makeUnreadable(folder: string): Promise<void> {
  await shell(
    Deno.uid() === 0
      ? 'echo text >"$1/secret$(printf "\\377").txt"'
      : 'echo text >"$1/secret.txt" && chmod 0 "$1/secret.txt"',
    folder,
  );
}

/** Runs a line of shell with one argument and gives its output. */
async function shell(script: string, argument: string): Promise<string> {
  const { success, stdout } = await new Deno.Command("sh", {
    args: ["-c", script, "sh", argument],
    stderr: "null",
  }).output();
  assertTrue(success, script);
  return new TextDecoder().decode(stdout);
}
