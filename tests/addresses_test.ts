import {
  brokerGrants,
  parseBrokerUrl,
  parseDatabaseUrl,
  showBroker,
  showDatabase,
} from "../src/addresses.ts";
import { ConfigError } from "../src/errors.ts";
import fc from "fast-check";
import { assertEquals, assertMatch, assertThrows, assertTrue } from "./support/assert.ts";

const READERS = [
  { name: "broker", read: parseBrokerUrl, show: showBroker, scheme: "redis", end: "0" },
  { name: "database", read: parseDatabaseUrl, show: showDatabase, scheme: "postgres", end: "db" },
] as const;

/** All that anybody can be shown of an error. */
function shownOf(error: Error): string {
  return `${error.message}\n${Deno.inspect(error)}`.replaceAll(/^ +at .*$/gm, "");
}

/** The pieces of a password that no message may hold; those that any message could hold by itself are not asked for. */
function piecesOf(password: string): string[] {
  return password.split(/[#/?@:%&=\s]/).filter((piece) => piece.length > 5);
}

for (const { name, read, show, scheme, end } of READERS) {
  Deno.test(`whatever characters a password of a ${name} holds, it is read exactly or refused without being shown`, () => {
    const marks = fc.constantFrom(..."#/?@:%&=[]\\ \t\n'\"<>^|`{}~+;,ü€😀\u0000");
    const piece = fc.stringMatching(/^[A-Z]{6,10}$/);
    const password = fc.oneof(
      fc.string({ unit: "binary", maxLength: 30 }),
      fc.array(fc.oneof(marks, piece), { maxLength: 8 }).map((parts) => parts.join("")),
      fc.tuple(fc.nat({ max: 70_000 }), marks, piece).map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(password, (password) => {
        const value = `${scheme}://user:${password}@host.example:1234/${end}`;
        let address;
        try {
          address = read({ value, source: "URL_OF_TEST" });
        } catch (error) {
          assertTrue(error instanceof ConfigError, String(error));
          for (const piece of piecesOf(password)) {
            assertTrue(!shownOf(error).includes(piece), `${piece} in: ${shownOf(error)}`);
          }
          return;
        }
        assertTrue(address.kind !== "sqlite");
        assertEquals(address.password ?? "", decodeURIComponent(password));
        const { host, port } = address.kind === "redis" ? address.nodes[0] : address;
        assertEquals([host, port], ["host.example", 1234]);
        const shown = show(address as never);
        for (const piece of piecesOf(password)) assertTrue(!shown.includes(piece), shown);
      }),
      { numRuns: 3_000 },
    );
  });

  Deno.test(`an escaped password of a ${name} is always accepted and read exactly`, () => {
    const password = fc.string({ unit: "grapheme", maxLength: 30 })
      .filter((text) => text !== "" && !text.includes("\0") && text.isWellFormed());
    fc.assert(fc.property(password, (password) => {
      const value = `${scheme}://user:${encodeURIComponent(password)}@host.example/${end}`;
      const address = read({ value, source: "URL_OF_TEST" });
      assertTrue(address.kind !== "sqlite");
      assertEquals(address.password, password);
    }));
  });
}

Deno.test("a password that ends an address early is refused with what to write, and nothing behind the user is shown", () => {
  const cases = [
    ["postgres://app:57#S3CRET@host/db", "postgres://app:***"],
    ["postgres://app:57/S3CRET@host/db", "postgres://app:***"],
    ["postgres://app:57?S3CRET@host/db", "postgres://app:***"],
    ["postgres://app:57@S3CRET/x@host/db", "postgres://app:***"],
    ["redis://default:9/S3CRET@host/0", "redis://default:***"],
    ["redis://default:9#S3CRET@host/0", "redis://default:***"],
    ["redis://:9?S3CRET@host/0", "redis://:***"],
    ["redis://host/0#S3CRET", "redis://…"],
    ["redis://S3CRET/x@host/0", "redis://…"],
  ] as const;
  for (const [value, shown] of cases) {
    const read = value.startsWith("redis") ? parseBrokerUrl : parseDatabaseUrl;
    const error = assertThrows(() => read({ value, source: "SOME_URL" }), ConfigError);
    assertTrue(error.message.startsWith(`Cannot use SOME_URL: ${shown} `), error.message);
    assertMatch(error.message, /write # as %23, \/ as %2F, \? as %3F/);
    assertTrue(!shownOf(error).includes("S3CRET"), shownOf(error));
  }
});

Deno.test("an address whose host was forgotten shows no password", () => {
  for (
    const value of ["redis://user:S3CRET", "redis://user:9/S3CRET", "user:S3CRET@host", "S3CRET"]
  ) {
    for (const read of [parseBrokerUrl, parseDatabaseUrl]) {
      const error = assertThrows(() => read({ value, source: "SOME_URL" }), ConfigError);
      assertTrue(!shownOf(error).includes("S3CRET"), shownOf(error));
    }
  }
});

Deno.test("a parameter that nobody reads is refused by name, with those that are read, and its value is not shown", () => {
  const cases = [
    ["redis://host?ssl_cert_reqs=S3CRET", /unknown parameter 'ssl_cert_reqs', expected one of db=/],
    ["redis://host?db=2&password=S3CRET", /unknown parameter 'password', expected one of db=/],
    ["redis://host/1?db=2", /names two databases/],
    ["redis://host?db=two", /database that is not a number/],
    ["redis://host?db=1&db=2", /has the parameter 'db' twice/],
    [
      "postgres://host/db?target_session_attrs=S3CRET",
      /unknown parameter 'target_session_attrs', expected one of host=.*sslmode=.*schema=.*options=/,
    ],
    ["postgres://host/db?password=S3CRET", /unknown parameter 'password'/],
    ["postgres://host/db?sslmode=S3CRET", /sslmode that is not one of disable, /],
    ["postgres://127.0.0.1/db?sslrootcert=/ca.pem", /'sslrootcert' but no TLS/],
    ["postgres://host/db?sslcert=/c.pem", /both of 'sslcert' and 'sslkey'/],
    ["postgres://host/db?connect_timeout=S3CRET", /connect_timeout that is not a whole number/],
    ["postgres://host/db?schema=", /empty 'schema'/],
    ["postgres:///db", /names no host/],
    ["postgres://a..b/db", /host that is neither a name nor an address/],
    ["postgres:///db?host=a%25b", /host that is neither a name nor an address/],
    ["redis://a..b", /host that is neither a name nor an address/],
    ["postgres://host/db?host=one,two", /names no host, or several/],
    ["postgres://host:1/db?port=2", /names two ports/],
    ["postgres:///db?host=/run/pg&sslmode=verify-full", /which a Unix socket does not have/],
    ["postgres://host:70000/db", /port that is not a number from 1 to 65535/],
    ["sqlite:/tmp/x.db?mode=ro", /unknown parameter 'mode', expected none/],
  ] as const;
  for (const [value, pattern] of cases) {
    const readers = value.startsWith("redis")
      ? [parseBrokerUrl]
      : value.startsWith("sqlite")
      ? [parseBrokerUrl, parseDatabaseUrl]
      : [parseDatabaseUrl];
    for (const read of readers) {
      const error = assertThrows(() => read({ value, source: "SOME_URL" }), ConfigError);
      assertMatch(error.message, pattern);
      assertTrue(!shownOf(error).includes("S3CRET"), shownOf(error));
    }
  }
});

Deno.test("the parameters of an address that are read stand in it, and not in what is shown", () => {
  const redis = parseBrokerUrl({ value: "redis://host?db=2", source: "test" });
  assertEquals([redis.kind === "redis" && redis.database, showBroker(redis)], [
    2,
    "redis://host:6379/2",
  ]);
  const postgres = parseDatabaseUrl({
    value:
      'postgres://u@host/db?application_name=me&connect_timeout=7&schema=a b"c&sslmode=verify-ca' +
      "&options=-c statement_timeout=9&sslrootcert=/ca&sslcert=/cert&sslkey=/key",
    source: "test",
  });
  const { url: _, ...rest } = postgres as typeof postgres & { url: string };
  assertEquals(rest as unknown, {
    kind: "postgres",
    host: "host",
    port: 5432,
    user: "u",
    database: "db",
    tls: "verify",
    ca: "/ca",
    cert: "/cert",
    key: "/key",
    applicationName: "me",
    options: '-c statement_timeout=9 -c search_path="a\\ b""c"',
    connectMs: 7_000,
  });
  assertEquals(showDatabase(postgres), "postgres://u@host:5432/db");
  for (
    const value of ["postgres://u@/db?host=/run/pg&port=5433", "postgres://u@%2Frun%2Fpg:5433/db"]
  ) {
    const socket = parseDatabaseUrl({ value, source: "test" });
    assertEquals(showDatabase(socket), "postgres://u@/db?host=/run/pg&port=5433");
    assertEquals(socket.kind === "postgres" && socket.tls, "off");
  }
});

Deno.test("a Redis of several servers is shown, and granted, with each of them", () => {
  const address = {
    kind: "redis",
    nodes: [{ host: "one.example", port: 1 }, { host: "::1", port: 2 }],
    password: "S3CRET",
    database: 0,
    tls: true,
  } as const;
  assertEquals(showBroker(address), "rediss://:***@one.example:1,[::1]:2/0");
  assertEquals(brokerGrants(address), ["one.example:1", "[::1]:2"]);
});

Deno.test("an address for a driver of the program's own keeps whatever parameters that driver has", () => {
  const value = "postgres://host/db?max=10&ssl=require";
  const address = parseDatabaseUrl({ value, source: "test" }, { foreign: true });
  assertEquals(address.url, value);
  assertThrows(() => parseDatabaseUrl({ value, source: "test" }), ConfigError);
});

Deno.test("a host's name in another script is looked up, and granted, in ASCII", () => {
  const source = "option 'x'";
  const redis = parseBrokerUrl({ value: "redis://bücher.example", source });
  assertEquals(redis.kind === "redis" && redis.nodes[0].host, "xn--bcher-kva.example");
  for (
    const value of ["postgres://bücher.example/db", "postgres://b%C3%BCcher.example/db"]
  ) {
    const postgres = parseDatabaseUrl({ value, source });
    assertEquals(postgres.kind === "postgres" && postgres.host, "xn--bcher-kva.example");
  }
  for (const name of ["my_redis", "UPPER.example", "a.b."]) {
    const kept = parseBrokerUrl({ value: `redis://${name}`, source });
    assertEquals(kept.kind === "redis" && kept.nodes[0].host, name);
  }
});
