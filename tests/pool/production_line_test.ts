import { Client } from "@agentexec/core";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { echo, reach } from "../fixtures/tasks.ts";
import { childrenOf, runCommand } from "../support/processes.ts";
import { makeRegistryProject, startRegistry } from "../support/registry.ts";
import { sharedPostgres, startRedis } from "../support/servers.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** A program as the README tells a newcomer to write it. */
const WORKER = `
import { Pool } from "@agentexec/core";
import { z } from "zod";

const pool = new Pool({ numWorkers: 2, permissions: { env: ["OPENAI_API_KEY"] } });

pool.task(
  "greet",
  { context: z.object({ name: z.string() }), result: z.string() },
  async ({ context, activity }) => {
    await activity.update("greeting", { percentage: 50 });
    const key = Deno.env.get("OPENAI_API_KEY") === undefined ? "without" : "with";
    return "Hello, " + context.name + ", " + key + " a key!";
  },
);
pool.task("spy", () => Deno.env.get("REDIS_URL") ?? Deno.env.get("DATABASE_URL") ?? "nothing");

if (import.meta.main) await pool.run();
`;

/** Their folder: the library from JSR, its own lock file. */
const CONFIG = JSON.stringify({
  imports: { "@agentexec/core": "jsr:@agentexec/core", "zod": "npm:zod@4.6.7" },
});

/** The command of the README's production line, with the addresses of this test's stores. */
async function productionLine(net: readonly string[]): Promise<string[]> {
  const readme = await Deno.readTextFile(`${ROOT}README.md`);
  const block = /```sh\n(deno run --no-prompt --frozen[\s\S]*?worker\.ts)\n```/.exec(readme)?.[1];
  assertTrue(block !== undefined, "the README has a production line");
  const words = block.replaceAll("\\\n", " ").split(/\s+/);
  assertTrue(!words.includes("-A") && !words.includes("--allow-run"));
  return words.map((word) => {
    if (word.startsWith("--allow-net=")) return `--allow-net=${net.join(",")}`;
    // This test's registry is not JSR's own, and what came from it is found in the cache by its name alone.
    return word.startsWith("--allow-env=") ? `${word},JSR_URL` : word;
  });
}

/** What everybody on the machine may see of a process, as far as the system shows it to us. */
async function visible(pid: number): Promise<string> {
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", `cat /proc/${pid}/cmdline /proc/${pid}/environ | tr '\\0' '\\n'`],
  }).output();
  return new TextDecoder().decode(stdout);
}

Deno.test("a user's program runs under the README's production line, its cache in an unusual place, its passwords out of sight", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "s3cret-redis"] });
  await using database = await sharedPostgres().freshDatabase();
  const redisUrl = redis.url.replace("redis://", "redis://:s3cret-redis@");
  const databaseUrl = database.url.replace("postgres@", "postgres:s3cret-postgres@");
  await using client = new Client({ brokerUrl: redisUrl, databaseUrl });
  await client.migrate();

  await using registry = await startRegistry();
  const files = { "worker.ts": WORKER, "deno.json": CONFIG };
  await using project = await makeRegistryProject(registry, files);
  const top = project.dir.slice(0, project.dir.lastIndexOf("/"));
  const denoDir = `${top}/a cache, elsewhere`;
  await Deno.rename(project.denoDir, denoDir);
  const cwd = project.dir;
  const places = { JSR_URL: registry.url, DENO_DIR: denoDir, HOME: top, NO_COLOR: "1" };
  // The first makes the lock file, the others are what the README says to do where it will run.
  for (const args of [["cache"], ["install", "--frozen"], ["cache"]]) {
    const command = ["deno", ...args, ...(args[0] === "cache" ? ["worker.ts"] : [])];
    await using fetched = await runCommand(command, { env: places, cwd });
    assertEquals((await fetched.exit).code, 0, fetched.output);
  }
  await registry.stop();

  const line = await productionLine([new URL(redis.url).host, new URL(database.url).host]);
  const secrets = {
    REDIS_URL: redisUrl,
    DATABASE_URL: databaseUrl,
    OPENAI_API_KEY: "a key that the pool grants",
  };
  await using pool = await runCommand(line, { env: { ...places, ...secrets }, cwd });
  for (const worker of [0, 1]) await pool.waitForLine(new RegExp(`Worker ${worker} is ready`));
  const greeting = await client.enqueue("greet", { name: "Ada" });
  assertEquals(
    await pool.brings(greeting.result(), { what: "the greeting" }),
    "Hello, Ada, with a key!",
  );
  const spy = await client.enqueue("spy");
  assertEquals(await pool.brings(spy.result(), { what: "what the spy saw" }), "nothing");

  const pids = childrenOf(pool.pid);
  assertEquals(pids.length, 3, "two workers and a guardian");
  for (const pid of pids) {
    const text = await visible(pid);
    assertMatch(text, /deno/);
    assertEquals(/s3cret/.exec(text)?.[0], undefined, `process ${pid} shows a password`);
  }
  pool.signal("SIGTERM");
  assertEquals(await pool.exit, { code: 0, signal: null }, pool.output);
});

Deno.test("a pool on SQLite grants its workers the file and nothing around it", async () => {
  await using redis = await startRedis();
  const dir = await Deno.makeTempDir();
  const env = {
    REDIS_URL: redis.url,
    DATABASE_URL: `sqlite:${dir}/agents.db`,
    AGENTEXEC_NUM_WORKERS: "1",
  };
  await Deno.writeTextFile(`${dir}/neighbour.txt`, "not for workers");
  const client = new Client({
    brokerUrl: env.REDIS_URL,
    databaseUrl: env.DATABASE_URL,
    queueName: "fixture",
  });
  try {
    await client.migrate();
    const flags = [
      "--no-prompt",
      `--allow-net=${new URL(redis.url).host}`,
      "--allow-env=REDIS_URL,DATABASE_URL,AGENTEXEC_NUM_WORKERS",
      "--ignore-env",
      "--allow-run=deno",
      `--allow-read=${ROOT},${dir}`,
      `--allow-write=${dir}`,
    ];
    await using pool = await runCommand(
      ["deno", "run", ...flags, `${ROOT}tests/fixtures/pool.ts`],
      { env },
    );
    const good = await client.enqueue(echo, { text: "in a file" });
    assertEquals(await pool.brings(good.result(), { what: "the echo" }), {
      text: "in a file",
      attempt: 1,
    });
    const task = await client.enqueue(reach, { what: "read", where: `${dir}/neighbour.txt` });
    assertEquals(await pool.brings(task.wait(), { what: "the refusal" }), "error");
    const detail = await client.activity.detail(task.agentId);
    assertTrue(/Requires read access/.test(detail?.error ?? ""), detail?.error ?? "");
    pool.signal("SIGTERM");
    assertEquals(await pool.exit, { code: 0, signal: null }, pool.output);
  } finally {
    await client.close();
    await Deno.remove(dir, { recursive: true });
  }
});
