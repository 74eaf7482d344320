import { type EmbeddedStores, prepareEmbedded } from "../../src/stores/embedded.ts";
import { ConfigError } from "../../src/errors.ts";
import { assertEquals, assertThrows } from "../support/assert.ts";
import { runCommand } from "../support/processes.ts";

/** The stores of a folder `.agentexec` in a folder that is removed at the end. */
async function embedded(): Promise<EmbeddedStores & AsyncDisposable> {
  const parent = await Deno.makeTempDir({ prefix: "agentexec-embedded-" });
  return {
    ...storesIn(`${parent}/.agentexec`),
    [Symbol.asyncDispose]: () => Deno.remove(parent, { recursive: true }),
  };
}

function storesIn(folder: string): EmbeddedStores {
  const [broker, database] = [`${folder}/broker.db`, `${folder}/activity.db`];
  return {
    folder,
    broker: { kind: "sqlite", url: `sqlite:${broker}`, path: broker },
    database: { kind: "sqlite", url: `sqlite:${database}`, path: database },
  };
}

function modeOf(path: string): number {
  return (Deno.statSync(path).mode ?? 0) & 0o777;
}

Deno.test("prepareEmbedded() sets the rights of what it finds, be they too wide or those of a start that was killed", async () => {
  for (const mode of [0o777, 0]) {
    await using stores = await embedded();
    Deno.mkdirSync(stores.folder);
    Deno.writeTextFileSync(stores.broker.path, "");
    Deno.chmodSync(stores.broker.path, mode);
    Deno.chmodSync(stores.folder, mode);
    prepareEmbedded(stores);
    assertEquals(modeOf(stores.folder), 0o700);
    assertEquals(modeOf(stores.broker.path), 0o600);
    assertEquals(modeOf(stores.database.path), 0o600);
  }
});

Deno.test("prepareEmbedded() refuses a file in the folder's place, and leaves it as it is", async () => {
  await using stores = await embedded();
  Deno.writeTextFileSync(stores.folder, "notes");
  Deno.chmodSync(stores.folder, 0o644);
  const error = assertThrows(() => prepareEmbedded(stores), ConfigError);
  assertEquals(
    error.message,
    `Cannot run embedded in ${stores.folder}: a file of this name is in the way; set REDIS_URL and DATABASE_URL`,
  );
  assertEquals([Deno.readTextFileSync(stores.folder), modeOf(stores.folder)], ["notes", 0o644]);
});

Deno.test("prepareEmbedded() advises no flag of Deno's where it is the system that refuses", async () => {
  await using stores = await embedded();
  const parent = stores.folder.replace(/[^/]*$/, "");
  const module = new URL("../../src/stores/embedded.ts", import.meta.url);
  const code = `import { prepareEmbedded } from "${module}";
    try { prepareEmbedded(${
    JSON.stringify(stores)
  }); } catch (error) { console.log(error.message); }`;
  // The rights of files apply to the superuser too, where it gave them up.
  const bound = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"];
  const launcher = Deno.uid() === 0 ? bound : [];
  await Deno.chmod(parent, 0o500);
  await using program = await runCommand([...launcher, "deno", "eval", "--no-check", code]);
  assertEquals((await program.exit).code, 0, program.output);
  await Deno.chmod(parent, 0o700);
  const start = `Cannot run embedded in ${stores.folder}: `;
  const [line = ""] = program.stdout;
  assertEquals([line.startsWith(start), line.includes("--allow")], [true, false], line);
});
