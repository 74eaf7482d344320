import { ConfigError } from "../../src/errors.ts";
import { assertEquals, assertMatch, assertThrows } from "../support/assert.ts";
import {
  explainDenied,
  permissionFlags,
  resolveScope,
  scopeWarnings,
} from "../../src/process/scope.ts";

const NOTHING = { net: [], env: [], read: [], write: [] };

function scopeOf(permissions: unknown) {
  return resolveScope({
    permissions: permissions as Deno.PermissionOptionsObject,
    cwd: "/srv/app dir",
  });
}

Deno.test("resolveScope() leaves out a kind that is absent, false or an empty list", () => {
  assertEquals(scopeOf({ read: false, net: [], write: undefined }), {});
  assertEquals(resolveScope({ cwd: "/" }), {});
});

Deno.test("resolveScope() resolves paths against the supervisor's folder", () => {
  const { read, run } = scopeOf({
    read: ["data", "./a/../b", "/abs", new URL("file:///x/with%20space"), "."],
    run: ["git", "./bin/tool"],
  });
  assertEquals(read, [
    "/srv/app dir/data",
    "/srv/app dir/b",
    "/abs",
    "/x/with space",
    "/srv/app dir/",
  ]);
  assertEquals(run, ["git", "/srv/app dir/bin/tool"]);
});

Deno.test("resolveScope() grants the path that a name says, whatever it holds", () => {
  const names = ["a#b/c", "what?", "100%/x", "a:b/c", "a\\b", "a\nb"];
  assertEquals(scopeOf({ read: names }).read, names.map((name) => `/srv/app dir/${name}`));
});

Deno.test("resolveScope() takes hosts as Deno's flag does", () => {
  const net = ["example.com", "example.com:443", "*.example.com", "10.0.0.1:80", "[::1]:6379"];
  assertEquals(scopeOf({ net }), { net });
});

Deno.test("resolveScope() writes hosts as Deno's flag reads them, and each is what it says in a worker", async () => {
  const given = ["bücher.example", "*.bücher.example:443", "::1", "2001:db8::7", "10.0.0.0/8"];
  const written = [
    "xn--bcher-kva.example",
    "*.xn--bcher-kva.example:443",
    "[::1]",
    "[2001:db8::7]",
    "10.0.0.0/8",
  ];
  const more = ["[fd00::1]:80", "10.0.0.0/8:5432", "localhost.", "a_b.internal", "Example.COM"];
  assertEquals(scopeOf({ net: [...given, ...more] }), { net: [...written, ...more] });
  const hosts = [
    "xn--bcher-kva.example:1",
    "[::1]:1",
    "[2001:db8::7]",
    "10.9.8.7:1",
    "example.com",
  ];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      ...permissionFlags(scopeOf({ net: [...given, ...more] }), NOTHING),
      new URL("fixtures/rights.ts", import.meta.url).pathname,
      JSON.stringify(hosts.map((host) => ({ name: "net", host }))),
    ],
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  assertEquals(
    JSON.parse(new TextDecoder().decode(stdout)).states,
    hosts.map(() => "granted"),
  );
});

Deno.test("resolveScope() refuses what a worker cannot be given, naming kind, value and what is allowed", () => {
  const cases: [unknown, RegExp][] = [
    [{ read: "inherit" }, /permissions\.read.*"inherit".*inherit nothing/],
    [{ run: true }, /permissions\.run.*list/],
    [{ ffi: true }, /permissions\.ffi.*list/],
    [{ read: ["/a,b"] }, /permissions\.read.*"\/a,b".*comma/],
    [{ read: ["a,b"] }, /permissions\.read: "a,b".*comma/],
    [
      { net: ["https://example.com"] },
      /"https:\/\/example\.com" holds a scheme, write "example\.com"/,
    ],
    [{ net: ["https://example.com:8443/v1"] }, /holds a scheme, write "example\.com:8443"/],
    [
      { net: ["fd00::/8"] },
      /"fd00::\/8" is an IPv6 network, which Deno grants as single addresses/,
    ],
    [{ net: ["[fd00::]/8"] }, /is an IPv6 network/],
    [{ net: ["10.0.0.0/40"] }, /neither a host nor a network such as "10\.0\.0\.0\/8"/],
    [{ net: ["example.com/path"] }, /neither a host nor a network/],
    [{ net: ["example.com:0"] }, /names port 0: a host:port has one from 1 to 65535/],
    [{ net: ["user@example.com"] }, /must be "host", "host:port"/],
    [{ net: ["*"] }, /must be "host", "host:port"/],
    [{ env: ["A=B"] }, /permissions\.env.*"A=B"/],
    [{ import: ["jsr.io"] }, /permissions\.import.*cache/],
    [{ disk: true }, /permissions\.disk.*read, write, net, env, sys, run, ffi/],
    [{ read: [""] }, /permissions\.read/],
    [{ read: 5 }, /permissions\.read.*5/],
    [
      { read: [new URL("https://a.b/c")] },
      /permissions\.read.*"https:\/\/a\.b\/c" is no file: URL/,
    ],
    [{ sys: ["hostname", "nonsense"] }, /permissions\.sys.*"nonsense".*expected one of cpus, /],
    [{ read: ["/a\0b"] }, /permissions\.read/],
    [{ net: ["example.com:70000"] }, /permissions\.net.*"example\.com:70000".*host:port/],
    [{ net: ["[::::]:1"] }, /permissions\.net.*"\[::::\]:1"/],
    [{ net: ["a..b"] }, /permissions\.net.*"a\.\.b"/],
    ["inherit", /permissions.*object.*"inherit".*inherit nothing/],
    [null, /permissions.*object.*null/],
  ];
  for (const [permissions, pattern] of cases) {
    assertMatch(assertThrows(() => scopeOf(permissions), TypeError).message, pattern);
  }
});

Deno.test("permissionFlags() grants the lists and what the library needs, and names no other kind", () => {
  const flags = permissionFlags(scopeOf({ net: ["api.openai.com"], read: ["/data"] }), {
    net: ["127.0.0.1:6379"],
    env: ["AGENTEXEC_WORKER"],
    read: [],
    write: [],
  });
  assertEquals(flags, [
    "--no-prompt",
    "--allow-read=/data",
    "--allow-net=api.openai.com,127.0.0.1:6379",
    "--allow-env=AGENTEXEC_WORKER",
    "--ignore-env",
  ]);
});

Deno.test("permissionFlags() refuses a needed file whose path Deno would read as two", () => {
  const needs = { ...NOTHING, read: ["/data/a,/etc"] };
  assertMatch(
    assertThrows(() => permissionFlags({}, needs), ConfigError).message,
    /read of "\/data\/a,\/etc".*comma/,
  );
});

Deno.test("permissionFlags() does not narrow a kind that is granted whole", () => {
  const flags = permissionFlags(scopeOf({ net: true, env: true }), {
    ...NOTHING,
    net: ["127.0.0.1:1"],
  });
  assertEquals(flags, ["--no-prompt", "--allow-net", "--allow-env"]);
});

Deno.test("scopeWarnings() warns of programs and native code", () => {
  const warnings = scopeWarnings(scopeOf({ run: ["git"], ffi: ["/lib/x.so"], read: ["/data"] }));
  assertEquals(warnings.length, 2);
  assertMatch(
    warnings.join("\n"),
    /permissions\.run grants git[\s\S]*permissions\.ffi grants \/lib\/x\.so/,
  );
});

Deno.test("explainDenied() names the grant for each kind of limit that Deno reports", () => {
  const cases: [string, string][] = [
    [
      'NotCapable: Requires read access to "/etc/passwd", run again',
      'permissions: { read: ["/etc/passwd"] }',
    ],
    ['Requires net access to "example.com:443"', 'permissions: { net: ["example.com:443"] }'],
    ['Requires run access to "sh"', 'permissions: { run: ["sh"] }'],
    ['Requires sys access to "hostname"', 'permissions: { sys: ["hostname"] }'],
    ["Requires ffi access to <all>", "permissions: { ffi: […] }"],
  ];
  for (const [text, hint] of cases) {
    assertEquals(explainDenied(text, { environment: [] }), `grant it with ${hint}`);
  }
});

Deno.test("explainDenied() names a variable that is set here and not granted, by its whole name only", () => {
  const environment = ["KEY", "OPENAI_API_KEY"];
  assertEquals(
    explainDenied("The OPENAI_API_KEY environment variable is missing", { environment }),
    'OPENAI_API_KEY is set here but not granted: permissions: { env: ["OPENAI_API_KEY"] }',
  );
  assertEquals(explainDenied("MY_KEYS and API_KEY", { environment }), undefined);
});

Deno.test("explainDenied() passes over names that no program would miss, and bears any name", () => {
  const environment = ["_", "BASH_FUNC_which()", "A(B"];
  assertEquals(explainDenied("the _ helper, A(B", { environment }), undefined);
});

Deno.test("a kind of system information that Deno does not know is refused by a process that may do all too", async () => {
  const code = `
    const { resolveScope } = await import(${
    JSON.stringify(import.meta.resolve("../../src/process/scope.ts"))
  });
    for (const kind of ["osRelease", "userInfo", "nonsense"]) {
      try {
        resolveScope({ permissions: { sys: [kind] }, cwd: "/" });
        console.log(kind);
      } catch (error) {
        console.log(error.message.slice(0, 37));
      }
    }`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", "--cached-only", code],
    stdin: "null",
  }).output();
  assertEquals(
    new TextDecoder().decode(stdout),
    'osRelease\nuserInfo\nCannot use permissions.sys: "nonsense\n',
  );
});
