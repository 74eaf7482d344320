import { Client, ConfigError, ConnectionError, Pool } from "@agentexec/core";
import pg from "pg";
import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
  assertTrue,
} from "../support/assert.ts";
import { echo } from "../fixtures/tasks.ts";
import { type Certificates, makeCertificates } from "../support/certificates.ts";
import { fixture, recordLogs } from "../support/pools.ts";
import { freePort } from "../support/ports.ts";
import { runProgram } from "../support/processes.ts";
import { sharedPostgres, startPostgres, startRedis } from "../support/servers.ts";

/** A Redis with a plain port and one with TLS. */
async function startTlsRedis({ ca, cert, key }: Certificates) {
  const tlsPort = freePort();
  const redis = await startRedis({
    args: [
      ...["--tls-port", String(tlsPort), "--tls-cert-file", cert, "--tls-key-file", key],
      ...["--tls-ca-cert-file", ca, "--tls-auth-clients", "no"],
    ],
  });
  return { redis, tlsPort };
}

Deno.test("rediss:// verifies the certificate: unknown authorities are refused, DENO_CERT makes one known", async () => {
  await using certificates = await makeCertificates();
  const { redis, tlsPort } = await startTlsRedis(certificates);
  await using _ = redis;
  await using database = await sharedPostgres().freshDatabase();
  await using client = new Client({
    brokerUrl: redis.url,
    databaseUrl: database.url,
    queueName: "fixture",
  });
  await client.migrate();
  const env = {
    REDIS_URL: `rediss://127.0.0.1:${tlsPort}`,
    DATABASE_URL: database.url,
    AGENTEXEC_NUM_WORKERS: "1",
  };
  await using refused = await runProgram("pool.ts", { env });
  assertEquals((await refused.exit).code, 1);
  assertMatch(refused.output, /rediss:\/\/127\.0\.0\.1:\d+\/0.*(certificate|UnknownIssuer)/is);

  // Listed as a production line lists it: what the supervisor may not read, its workers do not get.
  const names = [...Object.keys(env), "DENO_CERT", "PATH", "HOME", "DENO_DIR"];
  const flags = ["--no-prompt", "--ignore-env", `--allow-env=${names.join(",")}`].concat(
    ["--allow-net=127.0.0.1", "--allow-read", "--allow-run=deno"],
  );
  await using pool = await runProgram("pool.ts", {
    env: { ...env, DENO_CERT: certificates.ca },
    flags,
  });
  const task = await client.enqueue(echo, { text: "encrypted" });
  assertEquals((await task.result({ timeout: { seconds: 30 } })).text, "encrypted");
  pool.signal("SIGTERM");
  assertEquals(await pool.exit, { code: 0, signal: null }, pool.output);
});

Deno.test("a plain client at a TLS port, and a TLS client at a plain one, fail and do not hang", async () => {
  await using certificates = await makeCertificates();
  const { redis, tlsPort } = await startTlsRedis(certificates);
  await using _ = redis;
  await using database = await sharedPostgres().freshDatabase();
  for (
    const brokerUrl of [`redis://127.0.0.1:${tlsPort}`, redis.url.replace("redis:", "rediss:")]
  ) {
    await using client = new Client({ brokerUrl, databaseUrl: database.url });
    await assertRejects(() => client.depth(), ConnectionError);
  }
});

Deno.test("user, password and database number of a Redis address are used, in supervisor and workers", async () => {
  await using _ = await recordLogs();
  await using redis = await startRedis();
  await using database = await sharedPostgres().freshDatabase();
  const cli = (...args: string[]) =>
    new Deno.Command("redis-cli", { args: ["-p", String(redis.port), ...args], stdout: "null" })
      .output();
  await cli("ACL", "SETUSER", "agent", "on", ">pass word", "~*", "&*", "+@all");
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: `redis://agent:pass%20word@127.0.0.1:${redis.port}/3`,
    databaseUrl: database.url,
    entrypoint: fixture("pool.ts"),
    numWorkers: 1,
  });
  await pool.migrate();
  await pool.start();
  const task = await pool.enqueue(echo, { text: "in number 3" });
  assertEquals((await task.result()).text, "in number 3");
  const keys = await new Deno.Command("redis-cli", {
    args: ["-p", String(redis.port), "-n", "3", "EXISTS", "{fixture}:broker"],
  }).output();
  assertEquals(new TextDecoder().decode(keys.stdout).trim(), "1");
});

Deno.test("a wrong password is refused at once, and shown nowhere", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "right"] });
  await using database = await sharedPostgres().freshDatabase();
  await using program = await runProgram("pool.ts", {
    env: {
      REDIS_URL: `redis://:wr0ng-secret@127.0.0.1:${redis.port}`,
      DATABASE_URL: database.url,
    },
  });
  assertEquals((await program.exit).code, 1);
  assertMatch(program.output, /ConnectionError: .*redis:\/\/:\*\*\*@127\.0\.0\.1/);
  assertTrue(!program.output.includes("wr0ng-secret"));
  assertTrue(!/trying again|warning/.test(program.output), "it is not tried again");
});

for (
  const [store, redisUrl, databaseUrl, shown] of [
    ["Redis", "redis://user:s3cret@127.0.0.1:1", null, "redis://user:\\*\\*\\*@127.0.0.1:1"],
    [
      "database",
      null,
      "postgres://user:s3cret@127.0.0.1:1/nowhere",
      "postgres://user:\\*\\*\\*@127.0.0.1:1/nowhere",
    ],
  ] as const
) {
  Deno.test(`a ${store} that stays away is tried until connectTimeout, which ends the program with exit code 1`, async () => {
    await using redis = await startRedis();
    await using database = await sharedPostgres().freshDatabase();
    await using program = await runProgram("impatient.ts", {
      env: {
        REDIS_URL: redisUrl ?? redis.url,
        DATABASE_URL: databaseUrl ?? database.url,
        NO_COLOR: "1",
      },
    });
    assertEquals((await program.exit).code, 1);
    assertMatch(program.output, new RegExp(`^\\[Pool\\] warning: .*${shown}`, "m"));
    assertMatch(program.output, new RegExp(`ConnectionError: .*${shown}.*connectTimeout`));
    assertTrue(!program.output.includes("s3cret"));
  });
}

Deno.test("Postgres is verified where TLS is asked for: self-signed is refused, sslrootcert makes it known", async () => {
  await using certificates = await makeCertificates();
  await using server = await startPostgres();
  const data = `${server.dir}/data`;
  await Deno.copyFile(certificates.cert, `${data}/server.crt`);
  await Deno.copyFile(certificates.key, `${data}/server.key`);
  const owned = await new Deno.Command("sh", {
    args: [
      "-c",
      `chmod 600 '${data}/server.key'; chown --reference='${data}/PG_VERSION' '${data}'/server.*`,
    ],
  }).output();
  assertEquals(owned.code, 0);
  const admin = new pg.Client({ connectionString: server.url });
  await admin.connect();
  await admin.query("alter system set ssl = on");
  await admin.end();
  await server.restart();
  await using redis = await startRedis();
  const withMode = (mode: string) => `${server.url}?${mode}`;

  await using refused = new Client({
    brokerUrl: redis.url,
    databaseUrl: withMode("sslmode=require"),
  });
  const error = await assertRejects(() => refused.migrate(), ConnectionError);
  assertEquals(error.retryable, false, error.message);
  assertMatch(error.message, /certificate/i);

  await using trusted = new Client({
    brokerUrl: redis.url,
    databaseUrl: withMode(`sslmode=verify-full&sslrootcert=${certificates.ca}`),
  });
  await trusted.migrate();
  assertEquals(await trusted.activity.count(), 0);

  await using _ = await recordLogs();
  await using pool = new Pool({
    name: "fixture",
    queueName: "fixture",
    brokerUrl: redis.url,
    databaseUrl: withMode(`sslmode=verify-full&sslrootcert=${certificates.ca}`),
    entrypoint: fixture("pool.ts"),
    numWorkers: 1,
  });
  await pool.start();
  assertEquals((await (await pool.enqueue(echo, { text: "over TLS" })).result()).text, "over TLS");
});

Deno.test("the parameters of both addresses hold in the supervisor and in workers, over a Unix socket too", async () => {
  await using _ = await recordLogs();
  await using redis = await startRedis();
  await using postgres = await startPostgres();
  const admin = new pg.Client({ connectionString: postgres.url });
  admin.on("error", () => {}); // Of a server that ends before it.
  await admin.connect();
  await admin.query('create schema "my agents"');
  const parameters = new URLSearchParams({
    host: `${postgres.dir}/data`,
    schema: "my agents",
    application_name: "by-parameter",
    options: "-c lock_timeout=4321",
    connect_timeout: "9",
  });
  const brokerUrl = `${redis.url}?db=2`;
  await using client = new Client({
    brokerUrl,
    databaseUrl: `${postgres.url}?schema=${encodeURIComponent("my agents")}`,
    queueName: "fixture",
  });
  await client.migrate();
  const socket = `${postgres.dir}/data/.s.PGSQL.${postgres.port}`;
  await using pool = await runProgram("pool.ts", {
    env: {
      REDIS_URL: brokerUrl,
      DATABASE_URL: `postgres://postgres@:${postgres.port}/postgres?${parameters}`,
      AGENTEXEC_NUM_WORKERS: "1",
    },
    flags: [
      ...["--no-prompt", "--allow-env", "--allow-read", `--allow-write=${socket}`],
      ...[`--allow-net=127.0.0.1:${redis.port},unix:${socket}`, "--allow-run=deno"],
    ],
  });
  const task = await client.enqueue(echo, { text: "by a socket" });
  assertEquals((await task.result({ timeout: { seconds: 30 } })).text, "by a socket");
  const { rows } = await admin.query(
    'select count(*)::int as n from "my agents".agentexec_activity',
  );
  assertEquals(rows, [{ n: 1 }]);
  const sessions = await admin.query(
    "select count(*)::int as n, bool_and(client_addr is null) as local from pg_stat_activity " +
      "where application_name = 'by-parameter'",
  );
  // The supervisor's and the worker's.
  assertTrue(sessions.rows[0].n >= 2 && sessions.rows[0].local, JSON.stringify(sessions.rows));
  const keys = await new Deno.Command("redis-cli", {
    args: ["-p", String(redis.port), "-n", "2", "EXISTS", "{fixture}:broker"],
  }).output();
  assertEquals(new TextDecoder().decode(keys.stdout).trim(), "1");
  await admin.end();
  pool.signal("SIGTERM");
  assertEquals(await pool.exit, { code: 0, signal: null }, pool.output);
});

Deno.test("a Redis whose password holds any characters is reached by it as it is written, or the address is refused", async () => {
  await using redis = await startRedis();
  const passwords = [
    "p@ss:word",
    "a b\\c",
    "[1]^|",
    "ü€😀",
    "50%25",
    "x#SECRET",
    "x/SECRET",
    "x?SECRET",
  ];
  await using database = await sharedPostgres().freshDatabase();
  for (const [number, password] of passwords.entries()) {
    const user = `user${number}`;
    const command = ["-p", String(redis.port), "ACL", "SETUSER", user, "on", "~*", "&*", "+@all"];
    const decoded = password === "50%25" ? "50%" : password;
    const { code } = await new Deno.Command("redis-cli", {
      args: [...command, `>${decoded}`],
      stdout: "null",
    }).output();
    assertEquals(code, 0);
    const options = (text: string) => ({
      brokerUrl: `redis://${user}:${text}@127.0.0.1:${redis.port}`,
      databaseUrl: database.url,
    });
    await using escaped = new Client(options(encodeURIComponent(decoded)));
    assertEquals((await escaped.depth()).waiting, 0);
    if (password.includes("SECRET")) {
      const error = assertThrows(() => new Client(options(password)), ConfigError);
      assertTrue(!error.message.includes("SECRET"), error.message);
    } else {
      await using plain = new Client(options(password));
      assertEquals((await plain.depth()).waiting, 0);
    }
  }
});
