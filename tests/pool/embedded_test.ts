import { DatabaseSync } from "node:sqlite";
import { Client, ConfigError } from "@agentexec/core";
import { assertEquals, assertMatch, assertRejects, assertTrue } from "../support/assert.ts";
import type { Program } from "../support/processes.ts";
import { makeProject } from "../support/projects.ts";

const WORKER = `
import { Pool } from "@agentexec/core";
const pool = new Pool({ numWorkers: 2 });
pool.task("greet", async ({ activity }) => {
  await activity.update("half way", { percentage: 50 });
  return "hello";
});
pool.task("look", async () => {
  const seen = [];
  for (const path of [".agentexec/broker.db", ".agentexec/notes.txt", ".agentexec", "deno.json"]) {
    const query = { name: "read", path: new URL(path, import.meta.url).pathname } as const;
    seen.push((await Deno.permissions.query(query)).state);
  }
  return seen;
});
if (import.meta.main) await pool.run();
`;
const ENQUEUE = `
import { Client } from "@agentexec/core";
await using client = new Client();
const task = await client.enqueue(Deno.args[0] ?? "greet");
console.log("accepted");
if (Deno.args[1] !== "leave") console.log("result", JSON.stringify(await task.result()));
`;
const FILES = { "worker.ts": WORKER, "app/enqueue.ts": ENQUEUE };

async function code({ exit }: Program): Promise<number> {
  return (await exit).code;
}

Deno.test("a program with nothing configured runs embedded beside its deno.json, and says where", async () => {
  await using project = await makeProject(FILES);
  await using worker = await project.run("worker.ts");
  await worker.waitForLine(/Worker \d is ready/, { count: 2 });
  const [first = ""] = worker.stdout;
  assertTrue(first.includes(`${project.folder}/.agentexec`), first);
  assertMatch(first, /AGENTEXEC_BROKER_URL.*REDIS_URL.*AGENTEXEC_DATABASE_URL.*DATABASE_URL/);
  await using producer = await project.run("app/enqueue.ts");
  await producer.waitForLine(/result "hello"/);
  assertEquals(await code(producer), 0, producer.output);
  assertEquals(producer.stderr, [], "the queue is served");
  worker.signal("SIGTERM");
  assertEquals(await code(worker), 0, worker.output);
});

Deno.test("the embedded stores are for their user alone, whatever the umask, and no commit takes them along", async () => {
  for (const umask of ["000", "022", "777"]) {
    await using project = await makeProject(FILES);
    const options = { args: ["greet", "leave"], umask };
    await using producer = await project.run("app/enqueue.ts", options);
    assertEquals(await code(producer), 0, producer.output);
    const folder = await Deno.stat(`${project.folder}/.agentexec`);
    assertEquals((folder.mode ?? 0) & 0o777, 0o700, umask);
    const stores = await project.stores();
    assertTrue(stores.has("broker.db") && stores.has("activity.db"));
    for (const [name, { mode }] of stores) assertEquals((mode ?? 0) & 0o777, 0o600, name);
    assertEquals(await Deno.readTextFile(`${project.folder}/.agentexec/.gitignore`), "*\n");
  }
});

Deno.test("stores that others may look into are closed to them", async () => {
  await using project = await makeProject(FILES);
  await Deno.mkdir(`${project.folder}/.agentexec`, { mode: 0o755 });
  await Deno.writeTextFile(`${project.folder}/.agentexec/broker.db`, "", { mode: 0o644 });
  await using producer = await project.run("app/enqueue.ts", { args: ["greet", "leave"] });
  assertEquals(await code(producer), 0, producer.output);
  const { mode } = await Deno.stat(`${project.folder}/.agentexec`);
  assertEquals((mode ?? 0) & 0o777, 0o700);
  for (const [name, info] of await project.stores()) {
    assertEquals((info.mode ?? 0) & 0o777, 0o600, name);
  }
});

Deno.test("workers may read the embedded files and nothing around them", async () => {
  await using project = await makeProject(FILES);
  await using worker = await project.run("worker.ts");
  await worker.waitForLine(/Worker \d is ready/, { count: 2 });
  await using producer = await project.run("app/enqueue.ts", { args: ["look"] });
  const line = await producer.waitForLine(/result/);
  assertEquals(line, 'result ["granted","prompt","prompt","prompt"]');
});

Deno.test("what was enqueued before the worker started, and survived the producer, runs then", async () => {
  await using project = await makeProject(FILES);
  await using producer = await project.run("app/enqueue.ts", { args: ["greet", "leave"] });
  await producer.waitForLine(/accepted/);
  assertEquals(await code(producer), 0);
  // Nobody serves the queue: whoever enqueues is told.
  assertMatch(
    producer.stderr.join("\n"),
    /No supervisor has served the queue 'agentexec_tasks' yet/,
  );
  await using worker = await project.run("worker.ts");
  await worker.waitForLine(/Task completed: greet/);
});

const refusals: readonly {
  readonly name: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly flags?: readonly string[];
  readonly message: RegExp;
}[] = [
  {
    name: "in production by AGENTEXEC_ENV",
    env: { AGENTEXEC_ENV: "production" },
    message: /AGENTEXEC_ENV is production; set one of .*REDIS_URL.*DATABASE_URL.*embedded: true/,
  },
  {
    name: "in production by NODE_ENV",
    env: { NODE_ENV: "production" },
    message: /NODE_ENV is production/,
  },
  {
    name: "with a broker alone",
    env: { REDIS_URL: "redis://127.0.0.1:1" },
    message:
      /Cannot find the database: set .*'databaseUrl'.*DATABASE_URL, since REDIS_URL names a broker/,
  },
  {
    name: "with a database alone",
    env: { DATABASE_URL: "sqlite:a.db" },
    message:
      /Cannot find the broker: set .*'brokerUrl'.*REDIS_URL, since DATABASE_URL names a database/,
  },
  {
    name: "where it may not read the variables",
    flags: ["--no-prompt", "--allow-read=.", "--allow-write=.agentexec", "--allow-run=deno"],
    message: /may not read AGENTEXEC_BROKER_URL.*--allow-env=AGENTEXEC_\*,REDIS_URL,DATABASE_URL/,
  },
  {
    name: "where it may not write",
    flags: ["--no-prompt", "--allow-read=.", "--allow-env", "--allow-run=deno"],
    message: /Cannot run embedded in .*\.agentexec: .*--allow-write=.*\.agentexec/,
  },
];
for (const { name, env = {}, flags, message } of refusals) {
  Deno.test(`a program ${name} does not run embedded, and is told what to do`, async () => {
    await using project = await makeProject(FILES);
    for (const file of ["worker.ts", "app/enqueue.ts"]) {
      await using program = await project.run(file, { env, ...(flags ? { flags } : {}) });
      assertEquals(await code(program), 1, program.output);
      assertMatch(program.stderr.join(" "), message);
      assertMatch(program.stderr.join(" "), /ConfigError/);
    }
    assertEquals((await project.stores()).size, 0);
  });
}

Deno.test("embedded: true allows it in production, embedded: false forbids it anywhere", async () => {
  await using project = await makeProject({
    ...FILES,
    "allowed.ts": ENQUEUE.replace("new Client()", "new Client({ embedded: true })"),
    "forbidden.ts": ENQUEUE.replace("new Client()", "new Client({ embedded: false })"),
  });
  const options = { args: ["greet", "leave"], env: { NODE_ENV: "production" } };
  await using allowed = await project.run("allowed.ts", options);
  assertEquals(await code(allowed), 0, allowed.output);
  await using forbidden = await project.run("forbidden.ts", { args: ["greet", "leave"] });
  assertEquals(await code(forbidden), 1);
  assertMatch(forbidden.stderr.join(" "), /option 'embedded' is false/);
});

Deno.test("a compiled program does not run embedded unless it says so, and then in its current folder", async () => {
  // No binary can be made here: the program is told that it is one.
  const compiled = (client: string) => `
Object.defineProperty(Deno, "build", { value: { ...Deno.build, standalone: true } });
const { Client } = await import("@agentexec/core");
await using client = ${client};
await client.enqueue("greet");
`;
  await using project = await makeProject({
    "app/refused.ts": compiled("new Client()"),
    "app/allowed.ts": compiled("new Client({ embedded: true })"),
  });
  await using refused = await project.run("app/refused.ts");
  assertEquals(await code(refused), 1);
  assertMatch(refused.stderr.join(" "), /this is a compiled program; .*'embedded: true'/);
  assertEquals((await project.stores()).size, 0);
  await using allowed = await project.run("app/allowed.ts");
  assertEquals(await code(allowed), 0, allowed.output);
  assertTrue((await project.stores()).has("broker.db"));
});

Deno.test("the producer and the pool of one folder meet, those of another do not", async () => {
  await using project = await makeProject({
    ...FILES,
    "other/deno.json": JSON.stringify({ imports: {}, lock: false }),
  });
  const nested = await Deno.readTextFile(`${project.folder}/deno.json`);
  await Deno.writeTextFile(`${project.folder}/other/deno.json`, nested);
  await Deno.writeTextFile(`${project.folder}/other/enqueue.ts`, ENQUEUE);
  const flags = ["--no-prompt", "--allow-read=.", "--allow-write=other/.agentexec", "--allow-env"];
  await using elsewhere = await project.run("other/enqueue.ts", {
    args: ["greet", "leave"],
    flags,
  });
  assertEquals(await code(elsewhere), 0, elsewhere.output);
  assertEquals((await project.stores()).size, 0);
  assertTrue((await Deno.stat(`${project.folder}/other/.agentexec/broker.db`)).isFile);
});

Deno.test("a program that may not look for its deno.json does not guess where the others' folder is", async () => {
  await using project = await makeProject(FILES);
  await using producer = await project.run("enqueue.ts", { cwd: `${project.folder}/app` });
  assertEquals(await code(producer), 1);
  assertMatch(
    producer.stderr.join(" "),
    /Cannot look for the deno\.json of .*may not read (\S+); start it with --allow-read=\1/,
  );
});

Deno.test("the option 'db' alone is told that it needs both addresses", async () => {
  await using project = await makeProject({
    ...FILES,
    "enqueue.ts": ENQUEUE.replace("new Client()", "new Client({ db: () => { throw 0; } })"),
  });
  await using producer = await project.run("enqueue.ts");
  assertEquals(await code(producer), 1);
  assertMatch(
    producer.stderr.join(" "),
    /Cannot find the (broker|database): .* since the option 'db' is called with the database's/,
  );
});

Deno.test("a supervisor that is killed leaves its task to the next, and the files whole", async () => {
  await using project = await makeProject({
    ...FILES,
    "worker.ts": `
import { Pool } from "@agentexec/core";
const pool = new Pool({ numWorkers: 1, lease: { seconds: 2 } });
pool.task("greet", async ({ attempt }) => {
  if (attempt === 1) await new Promise((resolve) => setTimeout(resolve, 600_000));
  return attempt;
});
if (import.meta.main) await pool.run();
`,
  });
  await using first = await project.run("worker.ts");
  await using producer = await project.run("app/enqueue.ts");
  await first.waitForLine(/Processing task: greet/);
  first.signal("SIGKILL");
  await first.exit;
  await using second = await project.run("worker.ts");
  await second.waitForLine(/Task completed: greet/);
  await producer.waitForLine(/result 2/);
  second.signal("SIGTERM");
  assertEquals(await code(second), 0, second.output);
  for (const name of ["broker.db", "activity.db"]) {
    const file = new DatabaseSync(`${project.folder}/.agentexec/${name}`);
    const rows = file.prepare("pragma integrity_check").all();
    file.close();
    assertEquals(rows.map((row) => row.integrity_check), ["ok"], name);
  }
});

Deno.test("options that name the stores make no folder", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await using client = new Client({
      brokerUrl: `sqlite:${folder}/none/broker.db`,
      databaseUrl: `sqlite:${folder}/none/activity.db`,
      embedded: true,
    });
    const error = await assertRejects(() => client.enqueue("greet"), Error);
    assertMatch(error.message, /its folder must exist/);
    assertEquals(await Array.fromAsync(Deno.readDir(folder)), []);
    assertTrue(!(error instanceof ConfigError));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
