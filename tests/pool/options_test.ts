import { Client, ConfigError, ConnectionError, Pool } from "@agentexec/core";
import { CLIENT_OPTIONS } from "../../src/client/client_options.ts";
import { POOL_OPTIONS } from "../../src/pool/options.ts";
import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { recordLogs } from "../support/pools.ts";
import { EMBEDDED_FLAGS, makeProject } from "../support/projects.ts";

/** Values that are no option's, or few options'. */
const VALUES: readonly unknown[] = [
  null,
  "",
  "no good",
  "\0",
  -1,
  0,
  1.5,
  NaN,
  Infinity,
  1e12,
  10n,
  true,
  Symbol("s"),
  {},
  { seconds: "5" },
  { seconds: -1 },
  { second: 1 },
  [],
  [5],
  [""],
  [null],
  ["\0"],
  new Date(0),
  () => {},
  class {},
  { read: "data" },
  { reads: [] },
  { net: ["http://x"] },
  { run: true },
];

/** Of these values, those that an option may have. */
const ALLOWED: Readonly<Record<string, (value: unknown) => boolean>> = {
  embedded: (value) => value === true,
  db: (value) => typeof value === "function",
  storeContext: (value) => value === true,
  metadataIndexes: isEmptyList,
  maxContextBytes: (value) => value === 1e12,
  permissions: isEmptyObject,
  denoArgs: isEmptyList,
  brokerHosts: isEmptyList,
  entrypoint: (value) => value === "no good",
  config: (value) => value === "no good",
};

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function isEmptyObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value) &&
    Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length === 0;
}

/** What a constructor says of an option, or undefined where it takes it. */
async function refusal(make: (options: never) => { close(): Promise<void> }, options: object) {
  let made;
  try {
    made = make(options as never);
  } catch (error) {
    return error as Error;
  }
  await made.close();
  return undefined;
}

const MAKERS = [
  ["client", CLIENT_OPTIONS, (options: never) => new Client(options)],
  ["pool", [...CLIENT_OPTIONS, ...POOL_OPTIONS], (options: never) => new Pool(options)],
] as const;

for (const [what, names, make] of MAKERS) {
  for (const option of names) {
    Deno.test(`a ${what}'s '${option}' of a wrong kind or value is refused by its name when the ${what} is made`, async () => {
      for (const value of VALUES) {
        const shown = typeof value === "object" ? JSON.stringify(value) : String(value);
        const error = await refusal(make, { [option]: value });
        if (ALLOWED[option]?.(value)) {
          assertEquals(error, undefined, shown);
          continue;
        }
        assertTrue(error !== undefined, `${option}: ${shown} was not refused`);
        assertTrue(
          error instanceof ConfigError ||
            (error.constructor === TypeError || error.constructor === RangeError),
          `${option}: ${shown}: ${error}`,
        );
        assertTrue(
          new RegExp(`\\b${option}\\b`).test(error.message),
          `${option}: ${shown}: ${error.message}`,
        );
      }
    });
  }

  Deno.test(`options that are no object are refused when a ${what} is made`, async () => {
    for (const value of [null, 5, "x", [], () => {}]) {
      const error = await refusal(make, value as object);
      assertMatch(error?.message ?? "", /options must be an object/);
    }
  });
}

/** A pool whose stores are both away. */
const AWAY = {
  name: "away",
  brokerUrl: "redis://127.0.0.1:1",
  databaseUrl: "postgres://127.0.0.1:1/none",
  connectTimeout: { minutes: 10 },
};

Deno.test("a place that leads nowhere, and a host that is none, are refused by the option's name when the pool is made", () => {
  for (
    const [option, value] of [
      ["entrypoint", "http://[bad"],
      ["entrypoint", "https://"],
      ["config", "https://example.com/deno.json"],
      ["config", "data:application/json,{}"],
      ["config", new URL("https://example.com/deno.json")],
      ["brokerHosts", ["redis.internal:0"]],
    ] as const
  ) {
    const error = assertThrows(() => new Pool({ ...AWAY, [option]: value }), TypeError);
    assertMatch(error.message, new RegExp(`^Cannot use option '${option}': .*current value is`));
  }
});

Deno.test("what only a start can find out of an option is found before a store is connected to", async () => {
  await using log = await recordLogs();
  const entrypoint = import.meta.url;
  for (
    const [options, pattern] of [
      [{ entrypoint: "./no_such.ts" }, /option 'entrypoint': there is no file .*no_such\.ts/],
      [{ entrypoint, config: "/does/not/exist/deno.json" }, /option 'config'.*no file/],
      [{ entrypoint: "npm:no-such", config: "/does/not/exist.json" }, /option 'config'.*no file/],
    ] as const
  ) {
    await using pool = new Pool({ ...AWAY, ...options });
    const error = await assertRejects(() => pool.start(), ConfigError);
    assertMatch(error.message, pattern);
  }
  assertEquals(log.messages().filter((line) => line.includes("connect")), []);
});

Deno.test("a start whose options are in order says that the stores are away", async () => {
  await using _ = await recordLogs();
  await using pool = new Pool({
    ...AWAY,
    entrypoint: import.meta.url,
    connectTimeout: { milliseconds: 100 },
  });
  await assertRejects(() => pool.start(), ConnectionError);
});

const IGNORED = `
import { Pool } from "@agentexec/core";
const secret = Deno.env.get("SETTING"); // Not granted to workers.
const pool = new Pool({
  numWorkers: Number(secret),
  permissions: { net: [secret!] },
  interrupted: secret === undefined ? undefined! : "cancel",
});
const greet = pool.task("greet", () => "hello, " + String(secret));
if (import.meta.main) {
  await pool.start();
  console.log(await (await pool.enqueue(greet)).result());
  await pool.shutdown();
}
`;

Deno.test("options that are made from what workers may not read are the supervisor's alone", async () => {
  await using project = await makeProject({ "main.ts": IGNORED });
  await using run = await project.run("main.ts", {
    flags: EMBEDDED_FLAGS,
    env: { SETTING: "1" },
  });
  assertEquals(await run.exit, { code: 0, signal: null }, run.output);
  assertTrue(run.stdout.includes("hello, undefined"), run.output);
});
