import { assertEquals, assertTrue } from "./support/assert.ts";
import { makeProject } from "./support/projects.ts";

/** The code blocks of a language in a section of the README. */
async function blocks(section: string, language: string): Promise<readonly string[]> {
  const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  const [, text = ""] = readme.split(`\n## ${section}\n`);
  const [own = ""] = text.split("\n## ");
  return [...own.matchAll(new RegExp(`\`\`\`${language}( ignore)?\n([^]*?)\`\`\``, "g"))]
    .map(([, , code = ""]) => code);
}

/** The flags of the line of a shell block that runs a file. */
function flagsFor(file: string, shell: readonly string[]): readonly string[] {
  const line = shell.join("\n").split("\n").find((each) =>
    each.startsWith("deno run ") && each.endsWith(` ${file}`)
  );
  assertTrue(line !== undefined, `the README runs ${file}`);
  return ["--no-prompt", ...line.split(" ").filter((word) => word.startsWith("--"))];
}

Deno.test("the README's first pool runs as it is printed, without any server", async () => {
  const section = "A first pool in one minute";
  const [tasks = "", worker = "", enqueue = ""] = await blocks(section, "ts");
  const shell = await blocks(section, "sh");
  await using project = await makeProject({
    "tasks.ts": tasks,
    "worker.ts": worker,
    "enqueue.ts": enqueue,
  });
  await using pool = await project.run("worker.ts", { flags: flagsFor("worker.ts", shell) });
  await pool.waitForLine(/Worker \d is ready/, { count: 2 });
  await using producer = await project.run("enqueue.ts", { flags: flagsFor("enqueue.ts", shell) });
  await producer.waitForLine(/^\{ text: "Hello, Ada!" \}$/);
  assertEquals((await producer.exit).code, 0, producer.output);
  pool.signal("SIGINT");
  assertEquals((await pool.exit).code, 0, pool.output);
  assertTrue(shell.join("\n").includes('# { text: "Hello, Ada!" }'));
});

Deno.test("the README's example of the test kit is the one that is tested", async () => {
  const [example] = await blocks("Testing", "ts");
  const module = await Deno.readTextFile(new URL("../src/testing/mod.ts", import.meta.url));
  assertEquals(
    module.replaceAll(/^ \* ?/gm, "").includes(example ?? "no example"),
    true,
  );
});

Deno.test("the README's figures of the embedded mode are those that the benchmarks tell", async () => {
  const read = (path: string) => Deno.readTextFile(new URL(`../${path}`, import.meta.url));
  const [, told = ""] = /\nsystem\. Measured on two cores,([^]*?)`bench\/README/.exec(
    await read("README.md"),
  ) ?? [];
  const figures = told.match(/\d[\d.,]*\d/g) ?? [];
  assertEquals(figures.length, 7, told);
  const bench = await read("bench/README.md");
  for (const figure of figures) assertTrue(bench.includes(figure), `${figure} is measured`);
});
