/**
 * The first project that `init` writes, made and used as somebody does who has nothing but Deno.
 *
 * @module
 */
import manifest from "../deno.json" with { type: "json" };
import { assertEquals, assertMatch, assertTrue } from "./support/assert.ts";
import { alive, childrenOf, type Program, runCommand } from "./support/processes.ts";
import { makeRegistryProject, startRegistry } from "./support/registry.ts";
import { sharedPostgres, startRedis } from "./support/servers.ts";
import { waitFor } from "./support/wait.ts";

const CHECKOUT = new URL("../", import.meta.url).pathname.slice(0, -1);

const FILES = ["deno.json", "tasks.ts", "worker.ts", "enqueue.ts", "tasks_test.ts"];

/** The flags that the documentation names. */
const FLAGS = ["--no-prompt", "--allow-read=.", "--allow-write=."];

type Env = Readonly<Record<string, string>>;

/** An empty folder. */
async function emptyFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.realPath(await Deno.makeTempDir({ prefix: "agentexec init-" }));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** Runs `deno task init` of the checkout, called in a folder. */
async function init(cwd: string, ...args: string[]): Promise<Program> {
  // The tests themselves run under deno task, which lets a variable stand that is there already.
  const task = ["env", "-u", "INIT_CWD", "deno", "task", "--quiet"];
  return await finished([...task, "--config", `${CHECKOUT}/deno.json`, "init", ...args], cwd);
}

/** Runs a command to its end. */
async function finished(command: readonly string[], cwd: string, env: Env = {}): Promise<Program> {
  await using program = await runCommand(command, { cwd, env: { NO_COLOR: "1", ...env } });
  await program.exit;
  return program;
}

async function succeeds(command: readonly string[], cwd: string, env: Env = {}): Promise<Program> {
  const program = await finished(command, cwd, env);
  assertEquals((await program.exit).code, 0, `${command.join(" ")}\n${program.output}`);
  return program;
}

/** The texts of the files of a folder by their names. */
async function textsIn(folder: string): Promise<Record<string, string>> {
  const texts: Record<string, string> = {};
  for await (const { name, isFile } of Deno.readDir(folder)) {
    texts[name] = isFile ? await Deno.readTextFile(`${folder}/${name}`) : "(no file)";
  }
  return texts;
}

/** Formats, lints and runs a project, each of its tasks. */
async function everythingRuns(cwd: string, env: Env = {}): Promise<void> {
  await succeeds(["deno", "fmt", "--check"], cwd, env);
  await succeeds(["deno", "lint"], cwd, env);
  const test = await succeeds(["deno", "task", "test"], cwd, env);
  assertMatch(test.output, /^ok \| 2 passed \| 0 failed/m);
  await workerServes(cwd, env);
}

/** Runs the worker until Ctrl+C, and a producer meanwhile. Gives what the worker showed. */
async function workerServes(cwd: string, env: Env): Promise<string> {
  await using worker = await runCommand(["deno", "task", "worker"], { cwd, env, tty: true });
  await worker.waitForLine(/Worker 1 is ready/);
  const pids = childrenOf(worker.pid);
  assertTrue(pids.length >= 3, "two workers and what guards them");
  const producer = await succeeds(["deno", "task", "enqueue", "rain"], cwd, env);
  // Which of the two depends on when it began to follow.
  assertMatch(producer.output, /^running (0|50) % What \S.*\?$/m);
  assertEquals(producer.stdout.slice(-2), [
    "What are they good for? It depends.",
    "What can go wrong? It depends.",
  ]);
  await worker.waitForLine(/^\[Worker \d\] Answered 2 questions about rain$/);
  await worker.type("\x03");
  assertEquals((await worker.exit).code, 0, worker.output);
  await waitFor(() => !pids.some(alive), { what: `processes ${pids} to be gone` });
  return worker.output;
}

Deno.test("init in a checkout writes a project that runs on the checkout, without any server", async () => {
  await using folder = await emptyFolder();
  const program = await init(folder.path);
  assertEquals((await program.exit).code, 0, program.output);
  assertEquals(program.stdout[0], `Wrote ${FILES.join(", ")} into this folder`);
  const written = await textsIn(folder.path);
  assertEquals(Object.keys(written).sort(), FILES.toSorted());
  assertEquals(JSON.parse(written["deno.json"] ?? "").links, [CHECKOUT]);

  await everythingRuns(folder.path);
  const now = await textsIn(folder.path);
  assertEquals(Object.keys(now).sort(), [...FILES, ".agentexec", "deno.lock"].sort());
  for (const name of FILES) assertEquals(now[name], written[name]);
});

Deno.test("the project moves to Redis and Postgres as worker.ts says: two variables and --allow-net", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  await using folder = await emptyFolder();
  await init(folder.path);
  const file = `${folder.path}/deno.json`;
  const hosts = [redis.url, database.url].map((url) => new URL(url).host).join();
  const text = await Deno.readTextFile(file);
  await Deno.writeTextFile(file, text.replaceAll("deno run ", `deno run --allow-net=${hosts} `));
  const env = { REDIS_URL: redis.url, DATABASE_URL: database.url };
  const output = await workerServes(folder.path, env);
  assertTrue(!output.includes("embedded"), output);
  assertEquals(Object.keys(await textsIn(folder.path)).sort(), [...FILES, "deno.lock"].sort());
});

Deno.test("moved to servers by two variables alone, each task says in one line which flags to add, and then runs", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  await using folder = await emptyFolder();
  await init(folder.path);
  // By name, which Deno denies in other words than an address.
  const [REDIS_URL, DATABASE_URL] = [redis.url, database.url].map((url) =>
    url.replace("127.0.0.1", "localhost")
  ) as [string, string];
  const env = { REDIS_URL, DATABASE_URL };
  const flag = `--allow-net=${[REDIS_URL, DATABASE_URL].map((url) => new URL(url).host).join()}`;
  for (const task of ["worker", "enqueue"]) {
    const program = await finished(["deno", "task", task], folder.path, env);
    assertEquals((await program.exit).code, 1, program.output);
    const told = new RegExp(`Deno does not allow .*add ${flag}(\\s|$)`, "m");
    assertMatch(program.output, told);
  }
  const file = `${folder.path}/deno.json`;
  const text = await Deno.readTextFile(file);
  await Deno.writeTextFile(file, text.replaceAll("deno run ", `deno run ${flag} `));
  const output = await workerServes(folder.path, env);
  assertTrue(!output.includes("embedded"), output);
});

Deno.test("all permissions that a start lacks are told at once, as flags that make it run", async () => {
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  await using folder = await emptyFolder();
  await init(folder.path);
  const env = { REDIS_URL: redis.url, DATABASE_URL: database.url };
  const start = (...flags: string[]) => [
    ...["deno", "run", "--no-prompt", "--ignore-env"],
    ...["--allow-env=AGENTEXEC_*,REDIS_URL,DATABASE_URL,NODE_ENV,PATH,HOME,DENO_DIR"],
    ...flags,
    "worker.ts",
  ];
  const program = await finished(start(), folder.path, env);
  assertEquals((await program.exit).code, 1, program.output);
  const [, line = ""] = /add (--allow-.*)$/m.exec(program.output) ?? [];
  for (const name of ["net", "read", "run"]) assertTrue(line.includes(`--allow-${name}=`), line);
  // Split as a shell does.
  const flags = [...line.matchAll(/(?:[^\s']+|'[^']*')+/g)].map(([word]) =>
    word.replaceAll("'", "")
  );
  await using running = await runCommand(start(...flags), {
    cwd: folder.path,
    env: { NO_COLOR: "1", ...env },
  });
  await running.waitForLine(/Worker 1 is ready/);
  running.signal("SIGTERM");
  assertEquals((await running.exit).code, 0, running.output);
});

Deno.test("init from a JSR registry writes the same project for the published package, and it runs", async () => {
  await using registry = await startRegistry();
  await using project = await makeRegistryProject(registry, {});
  await using program = await project.run({
    main: "jsr:@agentexec/core/init",
    denoArgs: FLAGS,
    args: ["first steps"],
  });
  assertEquals((await program.exit).code, 0, program.output);
  assertEquals(program.stdout[0], `Wrote ${FILES.join(", ")} into 'first steps'`);
  assertTrue(program.stdout.includes("  cd 'first steps'"), program.output);
  const needed = registry.requests.filter((path) => path.endsWith(".ts"))
    .map((path) => path.replace(/.*\/(?=init\.ts$|src\/)/, ""));
  assertEquals(needed.filter((path) => path === "src/init/main.ts").length, 1, needed.join());
  assertEquals(needed.filter((path) => !/^(init|src\/init\/\w+)\.ts$/.test(path)), []);

  const cwd = `${project.dir}/first steps`;
  const published = await textsIn(cwd);
  await using folder = await emptyFolder();
  await init(folder.path);
  const linked = await textsIn(folder.path);
  const { links: _, ...rest } = JSON.parse(linked["deno.json"] ?? "");
  assertEquals(JSON.parse(published["deno.json"] ?? ""), rest);
  assertEquals({ ...published, "deno.json": "" }, { ...linked, "deno.json": "" });
  assertEquals(rest.imports, {
    "@agentexec/core": `jsr:@agentexec/core@^${manifest.version}`,
    "zod": manifest.imports.zod,
  });

  const env = { JSR_URL: registry.url, DENO_DIR: project.denoDir };
  await everythingRuns(cwd, env);
  // Of the files of both projects, which are the same: this takes seconds.
  await succeeds(["deno", "check"], cwd, env);
});

Deno.test("init a second time changes nothing, and names what is there", async () => {
  await using folder = await emptyFolder();
  await init(folder.path);
  await Deno.writeTextFile(`${folder.path}/worker.ts`, "// mine\n");
  const before = await textsIn(folder.path);
  const again = await init(folder.path);
  assertEquals((await again.exit).code, 1);
  assertEquals(again.stderr, [
    "Cannot write a project into this folder: it has deno.json, tasks.ts, worker.ts, enqueue.ts, " +
    "tasks_test.ts; nothing is written",
  ]);
  assertEquals(again.stdout, []);
  assertEquals(await textsIn(folder.path), before);
});

Deno.test("init writes nothing where one name is taken, be it by a folder, a dead link or another project", async () => {
  const takers: readonly [string, (path: string) => Promise<void>][] = [
    ["tasks_test.ts", (path) => Deno.writeTextFile(path, "// mine\n")],
    ["worker.ts", (path) => Deno.mkdir(path)],
    [
      "enqueue.ts",
      (path) => new Deno.Command("ln", { args: ["-s", "/nowhere", path] }).output().then(),
    ],
    ["deno.jsonc", (path) => Deno.writeTextFile(path, "{}\n")],
    ["package.json", (path) => Deno.writeTextFile(path, "{}\n")],
  ];
  for (const [name, take] of takers) {
    await using folder = await emptyFolder();
    await take(`${folder.path}/${name}`);
    const program = await init(folder.path);
    assertEquals((await program.exit).code, 1, program.output);
    assertEquals(program.stderr, [
      `Cannot write a project into this folder: it has ${name}; nothing is written`,
    ]);
    const names = [];
    for await (const entry of Deno.readDir(folder.path)) names.push(entry.name);
    assertEquals(names, [name]);
  }
});

Deno.test("init goes beside other files, and leaves them as they are", async () => {
  await using folder = await emptyFolder();
  await Deno.writeTextFile(`${folder.path}/README.md`, "# Mine\n");
  const program = await init(folder.path);
  assertEquals((await program.exit).code, 0, program.output);
  const { "README.md": readme, ...written } = await textsIn(folder.path);
  assertEquals(readme, "# Mine\n");
  assertEquals(Object.keys(written).sort(), FILES.toSorted());
});

Deno.test("init says in one line why a folder cannot be written, and leaves nothing in it", async () => {
  await using folder = await emptyFolder();
  await Deno.writeTextFile(`${folder.path}/file`, "");
  await Deno.mkdir(`${folder.path}/empty`);
  const readOnly = ["env", "-u", "INIT_CWD", "deno", "run", "--no-prompt", "--allow-read=."];
  const cases = [
    {
      program: await init(folder.path, "file"),
      reason: /into file: .*exists|into file: Not a dir/,
    },
    { program: await init(folder.path, "file/below"), reason: /into file\/below: Not a directory/ },
    {
      program: await finished(
        [...readOnly, "--allow-env=INIT_CWD", `${CHECKOUT}/src/init/main.ts`, "empty"],
        folder.path,
      ),
      reason: /into empty: Requires write access to .*--allow-write/,
    },
  ];
  for (const { program, reason } of cases) {
    assertEquals((await program.exit).code, 1, program.output);
    assertEquals(program.stderr.length, 1, program.output);
    assertMatch(program.stderr[0] ?? "", /^Cannot write a project into /);
    assertMatch(program.stderr[0] ?? "", reason);
    assertEquals(program.stdout, []);
  }
  assertEquals(await textsIn(`${folder.path}/empty`), {});
});

Deno.test("init without flags asks once for reading and once for writing the folder", async () => {
  await using folder = await emptyFolder();
  const command = ["deno", "run", `${CHECKOUT}/src/init/main.ts`];
  const env = { NO_COLOR: "1" };
  await using program = await runCommand(command, { cwd: folder.path, tty: true, env });
  const questions = () => program.output.match(/Deno requests .*?\w+ access to/g) ?? [];
  let ended = false;
  const end = program.exit.then(() => ended = true);
  await program.waitForLine(/Deno requests/);
  const answerOne = async () => {
    if (ended) return true;
    const asked = questions().length;
    await program.type("y\n");
    const next = () => ended || questions().length > asked;
    await waitFor(next, { what: "the next question", timeoutMs: 1_000 });
    return ended;
  };
  // More than once where it has to be: Deno forgets what was typed before it began to read.
  await waitFor(answerOne, { what: "the end of the questions", timeoutMs: 30_000 });
  await end;
  assertEquals((await program.exit).code, 0, program.output);
  assertEquals(questions().map((text) => /(\w+) access/.exec(text)?.[1]), ["read", "write"]);
  assertEquals(Object.keys(await textsIn(folder.path)).sort(), FILES.toSorted());
});

Deno.test("init shows its usage when asked, and with what is wrong in the command line", async () => {
  await using folder = await emptyFolder();
  const usage = /^Usage: deno run --allow-read=\. --allow-write=\. jsr:@agentexec\/core\/init/m;
  const help = await init(folder.path, "--", "--help");
  assertEquals((await help.exit).code, 0, help.output);
  assertMatch(help.stdout.join("\n"), usage);
  const wrong: readonly [readonly string[], RegExp][] = [
    [["--force"], /^Unknown option '--force'/],
    [["one", "two"], /^Cannot write into 2 folders: give one DIRECTORY$/],
    [[""], /^Cannot write into '': DIRECTORY is an empty name$/],
  ];
  for (const [args, message] of wrong) {
    const program = await init(folder.path, ...args);
    assertEquals((await program.exit).code, 2, program.output);
    assertMatch(program.stderr[0] ?? "", message);
    assertMatch(program.stderr.join("\n"), usage);
  }
  assertEquals(await textsIn(folder.path), {});
});
