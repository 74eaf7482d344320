import { parseBrokerUrl } from "../../src/addresses.ts";
import { openBroker } from "../../src/broker/open_broker.ts";
import { assertEquals, assertTrue } from "../support/assert.ts";
import { type Program, PROGRAM_FLAGS, runProgram } from "../support/processes.ts";
import { auditSqlite, rawSqlite } from "./sqlite_audit.ts";
import { openQueueOf, testFolder } from "./sqlite_bench.ts";

const FLAGS = [...PROGRAM_FLAGS, "--no-check", "--allow-write"];

function hammer(file: string, ...args: string[]): Promise<Program> {
  return runProgram("broker_hammer.ts", { args: [`sqlite:${file}`, ...args], flags: FLAGS });
}

/** What a program was told, and what it was about to do when it was killed. */
interface Told {
  readonly accepted: Set<string>;
  readonly ending: Set<string>;
  readonly ended: Set<string>;
}

function toldTo(programs: readonly Program[]): Told {
  const told: Told = { accepted: new Set(), ending: new Set(), ended: new Set() };
  for (const line of programs.flatMap(({ stdout }) => stdout)) {
    // The last line of a killed program may be cut off.
    if (!line.endsWith("}")) continue;
    const { accepted = [], ending, ended } = JSON.parse(line);
    for (const id of accepted) told.accepted.add(id);
    if (ending !== undefined) told.ending.add(ending);
    if (ended !== undefined) told.ended.add(ended);
  }
  return told;
}

async function whereIs(file: string, ids: readonly string[]): Promise<readonly string[]> {
  const url = `sqlite:${file}`;
  await using opened = await openQueueOf(
    openBroker(parseBrokerUrl({ value: url, source: "the test" })),
  );
  return await opened.queue.whereabouts(ids);
}

Deno.test("twenty kills amid transactions: the file is sound, nothing acknowledged is lost", async () => {
  await using folder = await testFolder();
  const killed: Program[] = [];
  for (let kill = 0; kill < 20; kill += 4) {
    await using stack = new AsyncDisposableStack();
    const programs = await Promise.all([0, 1, 2, 3].map(() => hammer(folder.file)));
    for (const program of programs) stack.use(program);
    await Promise.all(programs.map(async (program, index) => {
      // Each at another moment, while the others write.
      await program.waitForLine(/accepted|ended/, { count: 1 + (kill + index) * 3 });
      program.signal("SIGKILL");
      assertEquals((await program.exit).signal, "SIGKILL", program.output);
    }));
    killed.push(...programs);
    using raw = rawSqlite(folder.file);
    auditSqlite(raw, "jobs");
  }
  const { accepted, ending, ended } = toldTo(killed);
  assertTrue(accepted.size > 20 && ended.size > 20, "too little was done to prove anything");
  const kept = [...accepted].filter((id) => !ending.has(id));
  assertEquals((await whereIs(folder.file, kept)).filter((place) => place === "unknown"), []);
  const gone = await whereIs(folder.file, [...ended]);
  assertEquals(gone.filter((place) => place !== "unknown"), []);
});

Deno.test("eight processes that write at once all get their turn", async () => {
  await using folder = await testFolder();
  await using stack = new AsyncDisposableStack();
  const programs = await Promise.all(Array.from({ length: 8 }, () => hammer(folder.file, "60")));
  for (const program of programs) stack.use(program);
  const exits = await Promise.all(programs.map(({ exit }) => exit));
  const output = programs.map((program) => program.output);
  assertEquals(exits.map(({ code }) => code), exits.map(() => 0), output.join("\n"));
  const { accepted, ended } = toldTo(programs);
  assertEquals(accepted.size, 8 * 60 * 5);
  const left = [...accepted].filter((id) => !ended.has(id));
  assertEquals((await whereIs(folder.file, left)).filter((place) => place === "unknown"), []);
  using raw = rawSqlite(folder.file);
  auditSqlite(raw, "jobs");
});
