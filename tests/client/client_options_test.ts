import { Client, type ClientOptions } from "../../src/client/client.ts";
import { AgentexecError, ConfigError, ConnectionError } from "../../src/errors.ts";
import { defineTask } from "../../src/task/definition.ts";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { freePort } from "../support/ports.ts";

type ErrorClass = new (message: string) => Error;

const bad: [string, Record<string, unknown>, ErrorClass, string][] = [
  [
    "an unknown option",
    { redisUrl: "redis://localhost" },
    TypeError,
    "Cannot make a client: unknown option 'redisUrl', expected one of brokerUrl, databaseUrl, embedded, db, queueName, tablePrefix, maxContextBytes, storeContext, metadataIndexes",
  ],
  [
    "a broker of another kind",
    { brokerUrl: "amqp://localhost" },
    ConfigError,
    "Cannot use option 'brokerUrl': amqp://localhost is not one of redis://[user:password@]host[:port][/database], rediss://… with TLS, and sqlite:FILE for one machine",
  ],
  [
    "a broker that is no text",
    { brokerUrl: 5 },
    TypeError,
    "Cannot use option 'brokerUrl': it must be a string, current value is a number",
  ],
  [
    "a file whose name has a bare percent sign",
    { brokerUrl: "sqlite:100%.db" },
    ConfigError,
    "Cannot use option 'brokerUrl': sqlite:100%.db holds a '%' that encodes nothing, write it as %25",
  ],
  [
    "a database in memory",
    { databaseUrl: "sqlite::memory:" },
    ConfigError,
    "Cannot use option 'databaseUrl': sqlite::memory: must name a file, such as sqlite:data/agentexec.db (\":memory:\" is refused: the workers are processes of their own)",
  ],
  [
    "a database maker that is no function",
    { db: {} },
    TypeError,
    "Cannot use option 'db': it must be a function, current value is an object",
  ],
  [
    "a queue name outside the pattern",
    { queueName: "a b" },
    RangeError,
    "Cannot use \"a b\" as option 'queueName', the name of a queue: allowed are 1 to 128 letters, digits, '_', '.' and '-', but not 'constructor', 'prototype', '__proto__'",
  ],
  [
    "a table prefix that is no identifier",
    { tablePrefix: "Agent-" },
    ConfigError,
    "Cannot use option 'tablePrefix': a table prefix is 1 to 31 lower-case letters, digits and '_', not beginning with a digit, 'pg_' or 'sqlite_', current value is \"Agent-\"",
  ],
  ...["sqlite_", "sqlite_agents_", "pg_", "pg_stat_"].map((
    prefix,
  ): [string, Record<string, unknown>, ErrorClass, string] => [
    `a table prefix that a database keeps for itself (${prefix})`,
    { tablePrefix: prefix },
    ConfigError,
    `Cannot use option 'tablePrefix': a table prefix is 1 to 31 lower-case letters, digits and '_', not beginning with a digit, 'pg_' or 'sqlite_', current value is "${prefix}"`,
  ]),
  [
    "no room for a context",
    { maxContextBytes: 0 },
    RangeError,
    "Cannot use option 'maxContextBytes': it must be a whole number of at least 1, current value is 0",
  ],
  [
    "a limit that is not a number",
    { maxContextBytes: NaN },
    RangeError,
    "Cannot use option 'maxContextBytes': it must be a whole number of at least 1, current value is NaN",
  ],
  [
    "a switch that is none",
    { storeContext: "no" },
    TypeError,
    "Cannot use option 'storeContext': it must be a boolean, current value is a string",
  ],
  [
    "an index on what is no name",
    { metadataIndexes: ["a'; drop table"] },
    RangeError,
    "Cannot use option 'metadataIndexes': a name is 1 to 64 letters, digits, '_', '.' or '-', current value is \"a'; drop table\"",
  ],
];

for (const [what, options, type, message] of bad) {
  Deno.test(`new Client() refuses ${what}`, () => {
    const error = assertThrows(() => new Client(options as ClientOptions), type);
    assertEquals(error.message, message);
  });
}

Deno.test("new Client() shows no password of an address that it refuses", () => {
  const error = assertThrows(
    () => new Client({ brokerUrl: "http://user:hunter2@localhost" }),
    ConfigError,
  );
  assertMatch(error.message, /user:\*\*\*@localhost/);
});

Deno.test("new Client() connects to nothing, and close() then has nothing to close", async () => {
  const client = new Client({
    brokerUrl: "redis://nowhere.invalid",
    databaseUrl: "postgres://nowhere.invalid/db",
  });
  await client.close();
  await client.close();
});

Deno.test("every call of a closed client rejects and says so", async () => {
  const client = new Client({
    brokerUrl: `redis://127.0.0.1:${freePort()}`,
    databaseUrl: `postgres://127.0.0.1:${freePort()}/db`,
  });
  const id = crypto.randomUUID();
  const task = client.handle("ping", id);
  await client.close();
  const calls: (() => Promise<unknown>)[] = [
    () => client.enqueue("ping"),
    () => client.enqueueMany(defineTask("ping"), [undefined]),
    () => client.cancel(id),
    () => client.cancelPending(),
    () => client.depth(),
    () => client.migrate(),
    () => client.activity.list(),
    () => task.status(),
    () => task.result(),
    () => task.wait(),
    () => task.cancel(),
    () => task.progress()[Symbol.asyncIterator]().next(),
  ];
  for (const call of calls) {
    const error = await assertRejects(call, AgentexecError);
    assertMatch(error.message, /^Cannot .*: (it|the client) was closed$/);
  }
});

Deno.test("a call fails at once, with the address and no password, where nobody listens", async () => {
  await using client = new Client({
    brokerUrl: `redis://user:hunter2@127.0.0.1:${freePort()}`,
    databaseUrl: `postgres://user:hunter2@127.0.0.1:${freePort()}/db`,
  });
  for (const call of [() => client.depth(), () => client.activity.count()]) {
    const error = await assertRejects(call, ConnectionError);
    assertEquals(error.retryable, true);
    assertMatch(error.message, /user:\*\*\*@127\.0\.0\.1/);
  }
});

const badHandles: [string, () => unknown, string][] = [
  [
    "an id that is no UUID",
    () => new Client().handle("ping", "17"),
    "Cannot use 'agentId': it must be a UUID, current value is \"17\"",
  ],
  [
    "what is neither definition nor name",
    () => new Client().handle(5 as unknown as string, crypto.randomUUID()),
    "Cannot find the task: give a definition (defineTask) or a name, current value is a number",
  ],
];

for (const [what, call, message] of badHandles) {
  Deno.test(`handle() refuses ${what}`, () => {
    assertEquals(assertThrows(call, TypeError).message, message);
  });
}

Deno.test("new Client() and new Pool() refuse a table prefix of the environment that a database keeps for itself", async () => {
  for (const name of ["Client", "Pool"]) {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "--quiet", "--no-prompt", "--cached-only", "--allow-env"],
        new URL("../fixtures/bad/prefix.ts", import.meta.url).pathname,
        name,
      ],
      env: { AGENTEXEC_TABLE_PREFIX: "sqlite_" },
      stderr: "null",
      stdin: "null",
    }).output();
    assertEquals(
      new TextDecoder().decode(stdout),
      "ConfigError: Cannot use AGENTEXEC_TABLE_PREFIX: a table prefix is 1 to 31 lower-case letters, digits and " +
        "'_', not beginning with a digit, 'pg_' or 'sqlite_', current value is \"sqlite_\"\n",
    );
  }
});
