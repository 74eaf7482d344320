import { Client } from "@agentexec/core";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { reach } from "../fixtures/tasks.ts";
import { childrenOf, runCommand } from "../support/processes.ts";
import { sharedPostgres, startRedis } from "../support/servers.ts";
import { waitFor } from "../support/wait.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** The flags of the line that the README prints for production, with the stores of this test. */
async function productionFlags(net: readonly string[]): Promise<string[]> {
  const readme = await Deno.readTextFile(`${ROOT}README.md`);
  const block = /```sh\n(deno run --no-prompt --frozen[\s\S]*?)worker\.ts\n```/.exec(readme)?.[1];
  assertTrue(block !== undefined, "the README has a production line");
  const words = block.replaceAll("\\\n", " ").split(/\s+/).filter((word) => word !== "").slice(2);
  return words.map((word) =>
    word.startsWith("--allow-net=") ? `--allow-net=${net.join(",")}` : word
  )
    .map((word) => word === "--allow-read=." ? `--allow-read=${ROOT}` : word);
}

Deno.test("a pool runs under the README's production line, its cache in an unusual place, its secrets out of sight", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "s3cret-redis"] });
  await using database = await sharedPostgres().freshDatabase();
  const redisUrl = redis.url.replace("redis://", "redis://:s3cret-redis@");
  const databaseUrl = database.url.replace("postgres@", "postgres:s3cret-postgres@");
  const top = await Deno.makeTempDir();
  const denoDir = `${top}/a cache, elsewhere`;
  const env = {
    REDIS_URL: redisUrl,
    DATABASE_URL: databaseUrl,
    OPENAI_API_KEY: "s3cret-openai",
    DENO_DIR: denoDir,
    // Where a cache would be looked for otherwise there is none.
    HOME: top,
    NO_COLOR: "1",
  };
  const program = `${ROOT}tests/fixtures/pool.ts`;
  await using client = new Client({ brokerUrl: redisUrl, databaseUrl, queueName: "fixture" });
  try {
    await client.migrate();
    // As a user would: the code is fetched before, and the program loads none.
    await using fetched = await runCommand(["deno", "cache", "--frozen", program], {
      env,
      cwd: ROOT,
    });
    assertEquals((await fetched.exit).code, 0, fetched.output);

    const net = [new URL(redis.url).host, new URL(database.url).host];
    const flags = await productionFlags(net);
    assertTrue(!flags.includes("-A") && !flags.includes("--allow-run"));
    await using pool = await runCommand(["deno", "run", ...flags, program], { env, cwd: ROOT });
    await pool.waitForLine(/Worker 0 is ready/, { timeoutMs: 30_000 });
    const refused = await client.enqueue(reach, { what: "env required", where: "OPENAI_API_KEY" });
    assertEquals(await refused.wait(), "error");

    const pids = await waitFor(() => {
      const children = childrenOf(pool.pid);
      return children.length >= 5 ? children : undefined;
    }, { what: "four workers and a guardian" });
    for (const pid of pids) {
      const seen = await new Deno.Command("sh", {
        args: ["-c", `cat /proc/${pid}/cmdline /proc/${pid}/environ | tr '\\0' '\\n'`],
      }).output();
      const text = new TextDecoder().decode(seen.stdout);
      assertTrue(text.length > 0);
      assertEquals(/s3cret/.exec(text)?.[0], undefined, `process ${pid} shows a secret`);
    }
    pool.signal("SIGTERM");
    assertEquals(await pool.exit, { code: 0, signal: null }, pool.output);
  } finally {
    await Deno.remove(top, { recursive: true });
  }
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
    const task = await client.enqueue(reach, { what: "read", where: `${dir}/neighbour.txt` });
    assertEquals(await task.wait(), "error");
    const detail = await client.activity.detail(task.agentId);
    assertTrue(/Requires read access/.test(detail?.error ?? ""), detail?.error ?? "");
    pool.signal("SIGTERM");
    assertEquals(await pool.exit, { code: 0, signal: null }, pool.output);
  } finally {
    await client.close();
    await Deno.remove(dir, { recursive: true });
  }
});
