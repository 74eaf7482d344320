import { writeFiles } from "../../src/init/write.ts";
import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";

/** A folder with one file, removed at the end. */
async function folderWith(name: string): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "agentexec-write-" });
  await Deno.writeTextFile(`${path}/${name}`, "mine\n");
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

async function namesOf(folder: string): Promise<string[]> {
  const names = [];
  for await (const { name } of Deno.readDir(folder)) names.push(name);
  return names.sort();
}

Deno.test("writeFiles() takes back what it wrote where a name turns out to be taken", async () => {
  await using folder = await folderWith("b");
  const files = new Map([["a", "new\n"], ["b", "new\n"], ["c", "new\n"]]);
  assertEquals(await writeFiles(folder.path, files), { kind: "occupied", names: ["b"] });
  assertEquals(await namesOf(folder.path), ["b"]);
  assertEquals(await Deno.readTextFile(`${folder.path}/b`), "mine\n");
});

Deno.test("writeFiles() takes back what it wrote where a file cannot be written, and says why", async () => {
  await using folder = await folderWith("b");
  const files = new Map([["a", "new\n"], ["missing/c", "new\n"]]);
  const outcome = await writeFiles(folder.path, files);
  assertTrue(outcome.kind === "failed");
  assertMatch(outcome.reason, /No such file or directory.*missing\/c/);
  assertEquals(await namesOf(folder.path), ["b"]);
});
