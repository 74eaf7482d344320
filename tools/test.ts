/**
 * Runs the tests against a real Redis and a real Postgres, started for this run on ports and data of
 * their own and gone with it, however it ends.
 *
 * Run: `deno task test [files or options of deno test]`
 *
 * @module
 */

import { ensureBinaries } from "../tests/support/binaries.ts";
import { dismiss, keep } from "../tests/support/processes.ts";
import { signalProcess } from "../tests/support/process_table.ts";
import { SHARED_SERVERS, startPostgres, startRedis } from "../tests/support/servers.ts";
import { type Counts, describeProblem, parseCounts, unfinished } from "./test_counts.ts";

const ROOT = new URL("..", import.meta.url).pathname;

/** Variables that would make the library use somebody's real servers, or take the tests for production. */
const PRIVATE_VARIABLES = /^(AGENTEXEC_.*|REDIS_URL|DATABASE_URL|NODE_ENV|PG[A-Z]+)$/;

/** What the tests may do: they talk to loopback, write to the temporary folder, and start processes. */
function permissions(): string[] {
  const temporary = Deno.env.get("TMPDIR") ?? "/tmp";
  return [
    "--no-prompt",
    "--allow-net=127.0.0.1,localhost",
    `--allow-write=${temporary}`,
    // Servers and shells are looked for along PATH, and npm packages read files of their own.
    "--allow-read",
    // Drivers and SDKs read dozens of variables, not the same ones in each version.
    "--allow-env",
    "--allow-sys=uid,gid,hostname,osRelease,homedir,userInfo,cpus,networkInterfaces",
    // Deno lets a program send signals (Deno.kill) only where it may run everything. A list would limit
    // nothing anyway: the tests start shells.
    "--allow-run",
  ];
}

/** Gives each test an end. */
const DEADLINE = "tests/support/deadline.ts";
/**
 * How long all tests may take, in seconds. It ends what no deadline of a test can: one that blocks its thread.
 */
const RUN_S = 50 * 60;

/** The arguments of `deno test`: those of the command line, or everything. */
function testArguments(given: readonly string[]): string[] {
  const args = [
    "test",
    "--parallel",
    "--shuffle",
    "--preload",
    DEADLINE,
    ...permissions(),
    ...given,
  ];
  if (given.some(isPath)) return args;
  // Examples in doc comments mostly declare functions, so that they run without any server.
  return [...args, ...(isPath("mod.ts") ? ["--doc", "mod.ts", "src/testing/mod.ts"] : []), "tests"];
}

/** Whether the argument is a file or folder, and not an option or the value of one. */
function isPath(argument: string): boolean {
  return exists(new URL(argument, `file://${ROOT}`).pathname);
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function environment(servers: Readonly<Record<string, string>>): Record<string, string> {
  const kept = Object.entries(Deno.env.toObject()).filter(([name]) =>
    !PRIVATE_VARIABLES.test(name)
  );
  // One file of tests more than there are cores: tests mostly wait, for servers to start and leases to run out (measured
  // on two cores with two files at a time: 54 % of the processors' time was used).
  const jobs = String(Math.max(2, navigator.hardwareConcurrency) + 1);
  return {
    ...{ DENO_JOBS: jobs, DENO_NO_UPDATE_CHECK: "1" },
    ...Object.fromEntries(kept),
    ...{ PATH: searchPath() },
    ...servers,
  };
}

/**
 * PATH with this very Deno behind the name `deno`. Where npm may run no install scripts, that name is a
 * script of Node.js with Deno as its child, and a signal sent to it misses Deno.
 */
function searchPath(): string {
  const path = Deno.env.get("PATH") ?? "";
  const own = Deno.execPath();
  const first = path.split(":").map((folder) => `${folder}/deno`).find(exists);
  if (first !== undefined && Deno.realPathSync(first) === Deno.realPathSync(own)) return path;
  return own.endsWith("/deno") ? `${own.slice(0, -"/deno".length)}:${path}` : path;
}

/** Runs `deno test`, shows what it says, and counts. */
async function runTests(
  given: readonly string[],
  servers: Readonly<Record<string, string>>,
): Promise<Counts & { readonly code: number }> {
  const journal = await Deno.makeTempFile({ prefix: "agentexec-tests-" });
  const child = new Deno.Command(Deno.execPath(), {
    args: testArguments(given),
    cwd: ROOT,
    clearEnv: true,
    env: { ...environment(servers), TEST_JOURNAL: journal },
    stdin: "null",
    stdout: "piped",
    detached: true,
  }).spawn();
  const keeper = keep(child.pid);
  const interrupt = () => signalProcess(-child.pid, "SIGTERM");
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) Deno.addSignalListener(signal, interrupt);
  const deadline = setTimeout(() => giveUp(child.pid, journal), RUN_S * 1_000);
  const counts = parseCounts(await shown(child.stdout));
  const { code } = await child.status;
  clearTimeout(deadline);
  await Deno.remove(journal);
  for (const signal of signals) Deno.removeSignalListener(signal, interrupt);
  await dismiss(keeper);
  return { ...counts, code };
}

/** Ends a run that has not ended by itself, and names the tests that have not. */
function giveUp(pid: number, journal: string): void {
  const open = unfinished(Deno.readTextFileSync(journal));
  console.error(
    [`The tests have not ended within ${RUN_S} s; under way:`, ...open].join("\n  "),
  );
  signalProcess(-pid, "SIGKILL");
}

/** Passes a stream on to standard output and returns its text. */
async function shown(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
    for (let written = 0; written < chunk.length;) {
      written += await Deno.stdout.write(chunk.subarray(written));
    }
  }
  return text;
}

async function main(): Promise<number> {
  await ensureBinaries();
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis());
  const postgres = stack.use(await startPostgres());
  const result = await runTests(Deno.args, {
    [SHARED_SERVERS.redis]: redis.url,
    [SHARED_SERVERS.postgres]: postgres.url,
  });
  const problem = describeProblem(result, result.code);
  if (problem !== null) console.error(problem);
  const failed = problem === null ? result.failed : Math.max(1, result.failed);
  console.log(`${result.passed} passed, ${failed} failed`);
  return problem === null ? 0 : result.code || 1;
}

Deno.exitCode = await main();
