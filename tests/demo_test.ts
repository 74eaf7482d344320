/**
 * The demo on generated folders, as a real program under the permissions of `deno task demo`.
 *
 * @module
 */
import { Client } from "@agentexec/core";
import { findFiles } from "../demo/files.ts";
import { postgres } from "../demo/servers/postgres.ts";
import { redis } from "../demo/servers/redis.ts";
import { TextCounter } from "../demo/text_counter.ts";
import { assertEquals, assertMatch, assertTrue } from "./support/assert.ts";
import { alive, childrenOf, type Program, runCommand } from "./support/processes.ts";
import { type RedisServer, sharedPostgres, startRedis } from "./support/servers.ts";
import { waitFor } from "./support/wait.ts";

const PROJECT = new URL("../", import.meta.url);

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

/** Stores that the environment of the demo names. */
async function setUp() {
  await using stack = new AsyncDisposableStack();
  const redis: RedisServer = stack.use(await startRedis());
  const database = stack.use(await sharedPostgres().freshDatabase());
  const client = stack.use(new Client({ brokerUrl: redis.url, databaseUrl: database.url }));
  const env = { REDIS_URL: redis.url, DATABASE_URL: database.url, AGENTEXEC_NUM_WORKERS: "2" };
  const owned = stack.move();
  return {
    client,
    run: (...args: string[]) =>
      runCommand(["deno", "task", "demo", "--", ...args], {
        env,
        cwd: PROJECT,
      }),
    runOnTerminal: (...args: string[]) =>
      runCommand(["deno", "task", "demo", ...args], {
        env,
        cwd: PROJECT,
        tty: true,
      }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** All activities of the demo's files. */
async function fileTasks(client: Client) {
  const { items, next } = await client.activity.list({ taskName: "demo_analyze", limit: 1_000 });
  assertEquals(next, null);
  return items;
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

Deno.test("the demo analyzes each of 1,000 files once, reports every one, and leaves no process", async () => {
  await using set = await setUp();
  await using folder = await folderOf(1_000);
  await Deno.writeFile(`${folder.path}/image.png`, new Uint8Array([137, 80, 78, 71, 0, 1]));
  await using demo = await set.run(folder.path);
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
  await nothingLeft(pids);
});

Deno.test("one Ctrl+C ends the demo in the middle, and the next run finishes the rest", async () => {
  await using set = await setUp();
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

Deno.test("a worker killed in the middle is replaced, and no file is missing", async () => {
  await using set = await setUp();
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

Deno.test("without servers in the environment the demo starts its own, keeps their data, and stops them last", async () => {
  await using folder = await folderOf(3);
  await addLargeFile(folder);
  await using place = await privatePlace();
  await using first = await place.run(folder.path);
  await first.waitForLine(/Processing task/);
  const pids = childrenOf(first.pid);
  // Held where it is, so that it cannot be done before the second has looked.
  first.signal("SIGSTOP");
  await using second = await place.run(folder.path);
  await endsWith(second, 1);
  first.signal("SIGCONT");
  assertMatch(
    second.stderr.join("\n"),
    /^Error: Cannot use \S+\.agentexec\/demo: another demo is using it/,
  );
  await endsWith(first, 0);
  assertEquals(first.stdout.slice(-3), [
    "4 files: 4 analyzed, 0 failed",
    "Postgres has stopped",
    "Redis has stopped",
  ]);
  await nothingLeft(pids);
  assertEquals(await place.running(), []);

  await using third = await place.run(folder.path);
  await endsWith(third, 0);
  assertMatch(third.output, /^Beginning run 2$/m);
  await using fresh = await place.run("--fresh", folder.path);
  await endsWith(fresh, 0);
  assertMatch(fresh.output, /^Beginning run 1$/m);
  assertEquals(await place.running(), []);
});

Deno.test("after kill -9 of the demo the next one uses the servers that were left and finishes the run", async () => {
  await using folder = await folderOf(FILES);
  await using place = await privatePlace();
  await addLargeFile(folder);
  await using killed = await place.run("--workers", "1", folder.path);
  await killed.waitForLine(/Processing task: demo_analyze/);
  killed.signal("SIGKILL");
  await killed.exit;
  assertEquals(await place.running(), ["Redis", "Postgres"]);

  await using next = await place.run("--workers", "1", folder.path);
  await endsWith(next, 0);
  assertMatch(next.output, /^Going on with run 1$/m);
  assertTrue(!next.output.includes("Starting"), next.output);
  assertEquals(next.stdout.at(-3), "201 files: 201 analyzed, 0 failed");
  assertEquals(await place.running(), []);
});

Deno.test("a signal while the servers start leaves none of them", async () => {
  await using folder = await folderOf(1);
  await using place = await privatePlace();
  await using demo = await place.run(folder.path);
  await demo.waitForLine(/Starting Postgres/);
  demo.signal("SIGTERM");
  await endsWith(demo, 130);
  assertMatch(demo.output, /^Stopped/m);
  assertEquals(await place.running(), []);
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

/** A working directory for demos with private servers. */
async function privatePlace() {
  const cwd = await Deno.realPath(await Deno.makeTempDir({ prefix: "agentexec-place-" }));
  // Postgres runs as a user of its own, who has to get there.
  await Deno.chmod(cwd, 0o755);
  const folder = `${cwd}/.agentexec/demo`;
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", PROJECT)));
  const [flags = ""] = tasks.demo.replace("deno run ", "").split(" demo/main.ts");
  const main = new URL("demo/main.ts", PROJECT).pathname;
  async function servers() {
    const password = await Deno.readTextFile(`${folder}/password`);
    const place = { folder, password, isNew: false };
    const found = [];
    for (const kind of [redis, postgres]) {
      const server = await kind.findRunning(place);
      if (server !== null) found.push({ name: kind.name, server });
    }
    return found;
  }
  return {
    run: (...args: string[]) =>
      runCommand(["deno", "run", ...flags.split(" "), main, ...args], { cwd }),
    /** The names of its servers that run. */
    running: async () => (await servers()).map(({ name }) => name),
    async [Symbol.asyncDispose]() {
      // What a test that failed has left.
      for (const { server } of await servers()) await server.stop();
      await Deno.remove(cwd, { recursive: true });
    },
  };
}

/** The process of the demo's only worker. */
async function workerOf(demo: Program): Promise<number> {
  for (const pid of childrenOf(demo.pid)) {
    if ((await commandLineOf(pid)).includes("--preload")) return pid;
  }
  throw new Error(`Cannot find the worker of the demo:\n${demo.output}`);
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
