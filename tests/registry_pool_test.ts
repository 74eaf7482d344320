import { assertEquals, assertTrue } from "./support/assert.ts";
import { makeRegistryProject, startRegistry } from "./support/registry.ts";
import { sharedPostgres, startRedis } from "./support/servers.ts";

const PROGRAM = `
import { Pool } from "jsr:@agentexec/core";
import { z } from "npm:zod@4";

const pool = new Pool({ queueName: Deno.args[0], numWorkers: 2 });
setInterval(() => {}, 60_000);

const greet = pool.task(
  "greet",
  { context: z.object({ name: z.string() }), result: z.string() },
  async ({ context, activity }) => {
    await activity.update("greeting", { percentage: 50 });
    return "Hello, " + context.name + "!";
  },
);

if (import.meta.main) {
  await pool.migrate();
  await pool.start();
  const task = await pool.enqueue(greet, { name: "Ada" });
  console.log(await task.result({ timeout: { seconds: 30 } }));
  await pool.shutdown();
  Deno.exit();
}
`;

/** Without a configuration there is no lock file; beside one, Deno writes it at the first run. */
const PROJECTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "without a deno.json": {},
  "with a frozen lock file": { "deno.json": "{}" },
};

for (const [kind, files] of Object.entries(PROJECTS)) {
  Deno.test(`a pool of the package from a JSR registry, ${kind}, runs its workers and guardian, offline the second time`, async () => {
    await using redis = await startRedis();
    await using database = await sharedPostgres().freshDatabase();
    await using registry = await startRegistry();
    await using project = await makeRegistryProject(registry, { ...files, "main.ts": PROGRAM });
    const env = { REDIS_URL: redis.url, DATABASE_URL: database.url };
    const flags = [
      "--no-prompt",
      "--allow-net=127.0.0.1",
      "--allow-env",
      "--allow-run=deno",
      "--allow-read=.",
    ];

    await using first = await project.run({ denoArgs: flags, args: ["from_jsr"], env });
    assertEquals(await first.exit, { code: 0, signal: null }, first.output);
    assertTrue(first.stdout.includes("Hello, Ada!"), first.output);

    await registry.stop();
    const offline = [...flags, "--cached-only", ...(kind.includes("frozen") ? ["--frozen"] : [])];
    await using second = await project.run({ denoArgs: offline, args: ["from_jsr"], env });
    assertEquals(await second.exit, { code: 0, signal: null }, second.output);
    assertTrue(second.stdout.includes("Hello, Ada!"), second.output);
  });
}
