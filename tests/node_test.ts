import { assertEquals, assertMatch } from "./support/assert.ts";
import { type Program, runCommand } from "./support/processes.ts";
import { recordLogs, startPool } from "./support/pools.ts";
import type { Ground } from "./support/stores.ts";

const ANSWERS = [
  '{"result":{"text":"from Node","attempt":1},"last":"complete"}',
  "echo",
  "waiting 0",
];

/** Runs the bundled producer on the machine's Node.js, beside a pool that runs its task. */
async function onNode(ground: Ground, check: (program: Program) => Promise<void>): Promise<void> {
  await using _ = await recordLogs();
  await using started = await startPool({}, ground);
  const dir = await Deno.makeTempDir();
  try {
    const bundle = `${dir}/producer.mjs`;
    const source = new URL("fixtures/producer.ts", import.meta.url).pathname;
    await using bundling = await runCommand(["deno", "bundle", "--quiet", "-o", bundle, source]);
    assertEquals(await bundling.exit, { code: 0, signal: null }, bundling.output);
    const { brokerUrl, databaseUrl } = started;
    const env = { AGENTEXEC_BROKER_URL: brokerUrl, DATABASE_URL: databaseUrl };
    await using node = await runCommand(["node", bundle, "Node"], { env });
    await node.exit;
    await check(node);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The version of the machine's Node.js, as one number that can be compared. */
async function nodeVersion(): Promise<number> {
  await using program = await runCommand(["node", "--version"]);
  await program.exit;
  const [, major, minor] = /^v(\d+)\.(\d+)\./m.exec(program.output) ?? [];
  return Number(major) * 1_000 + Number(minor);
}

Deno.test("a producer, bundled, runs on Node with Redis and Postgres, and ends by itself", async () => {
  assertEquals(await nodeVersion() >= 20_000, true);
  await onNode("servers", async (node) => {
    assertEquals(await node.exit, { code: 0, signal: null }, node.output);
    assertEquals(node.stdout, ANSWERS);
  });
});

Deno.test("a producer, bundled, runs on SQLite files with Node from 22.16 on, and is told so by an older one", async () => {
  const hasSqlite = await nodeVersion() >= 22_016;
  await onNode("files", async (node) => {
    if (hasSqlite) {
      assertEquals(await node.exit, { code: 0, signal: null }, node.output);
      assertEquals(node.stdout, ANSWERS);
    } else {
      // What it lacks is said, not left to the loader's own words.
      assertEquals((await node.exit).code, 1);
      assertMatch(node.output, /IncompatibleError: Cannot open sqlite:.*Deno or Node\.js 22\.16/);
    }
  });
});
