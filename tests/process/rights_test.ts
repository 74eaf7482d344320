import { workerEnvironment } from "../../src/process/environment.ts";
import { permissionFlags, resolveScope, type ScopeNeeds } from "../../src/process/scope.ts";
import { assertEquals } from "../support/assert.ts";

const NOTHING: ScopeNeeds = { net: [], env: [], read: [], write: [] };

interface Probe {
  permissions?: Deno.PermissionOptionsObject;
  needs?: ScopeNeeds;
  ask: readonly Deno.PermissionDescriptor[];
  values?: readonly string[];
  env?: Record<string, string>;
}

/** What a process may that runs under the flags of a scope. */
async function rightsOf(probe: Probe): Promise<{ states: string[]; values: (string | null)[] }> {
  const scope = resolveScope({ permissions: probe.permissions ?? {}, cwd: "/srv" });
  const { variables } = workerEnvironment({ granted: scope.env });
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      ...permissionFlags(scope, probe.needs ?? NOTHING),
      new URL("fixtures/rights.ts", import.meta.url).pathname,
      JSON.stringify(probe.ask),
      JSON.stringify(probe.values ?? []),
    ],
    env: { ...variables, ...probe.env },
    clearEnv: true,
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Per kind: what a list grants, a descriptor inside it, and others outside. */
const KINDS: Record<string, {
  list: string[];
  inside: Deno.PermissionDescriptor;
  outside: Deno.PermissionDescriptor[];
}> = {
  read: {
    list: ["data#1?"],
    inside: { name: "read", path: "/srv/data#1?/x" },
    outside: [{ name: "read", path: "/srv/data" }, { name: "read", path: "/etc" }],
  },
  write: {
    list: ["/data"],
    inside: { name: "write", path: "/data/x" },
    outside: [{ name: "write", path: "/etc" }],
  },
  net: {
    list: ["example.com:443", "[::1]:6379"],
    inside: { name: "net", host: "[::1]:6379" },
    outside: [{ name: "net", host: "example.com:80" }, { name: "net", host: "other.example" }],
  },
  env: {
    list: ["GRANTED"],
    inside: { name: "env", variable: "GRANTED" },
    outside: [{ name: "env", variable: "OTHER" }],
  },
  sys: {
    list: ["hostname"],
    inside: { name: "sys", kind: "hostname" },
    outside: [{ name: "sys", kind: "cpus" }],
  },
  run: {
    list: ["sleep"],
    inside: { name: "run", command: "sleep" },
    outside: [{ name: "run", command: "cat" }],
  },
  ffi: {
    list: ["/lib/granted.so"],
    inside: { name: "ffi", path: "/lib/granted.so" },
    outside: [{ name: "ffi", path: "/lib/other.so" }],
  },
};

Deno.test("a kind that is absent is not granted in a worker, in whole or in part", async () => {
  const ask = Object.entries(KINDS).flatMap(([name, { inside, outside }]) => [
    { name } as Deno.PermissionDescriptor,
    inside,
    ...outside,
  ]);
  const { states } = await rightsOf({ ask });
  assertEquals(states.filter((state) => state === "granted"), []);
});

for (const [kind, { list, inside, outside }] of Object.entries(KINDS)) {
  Deno.test(`a list of ${kind} grants a worker its entries, nothing else of the kind and no other kind`, async () => {
    const whole = Object.keys(KINDS).map((name) => ({ name }) as Deno.PermissionDescriptor);
    const strangers = Object.entries(KINDS).filter(([name]) => name !== kind)
      .map(([, other]) => other.inside);
    const { states: [granted, ...others] } = await rightsOf({
      permissions: { [kind]: list },
      ask: [inside, ...outside, ...whole, ...strangers],
    });
    assertEquals(granted, "granted");
    assertEquals(others.filter((state) => state === "granted"), []);
  });
}

for (const kind of ["read", "write", "net", "env", "sys"]) {
  Deno.test(`true grants a worker all of ${kind}, also where the library needs a part of it`, async () => {
    const needs = { net: ["127.0.0.1:1"], env: ["LIBRARY"], read: ["/file"], write: ["/file"] };
    const { states } = await rightsOf({
      permissions: { [kind]: true },
      needs,
      ask: [{ name: kind } as Deno.PermissionDescriptor],
    });
    assertEquals(states, ["granted"]);
  });
}

Deno.test("a worker gets what the library needs besides its list", async () => {
  const { states } = await rightsOf({
    permissions: { net: ["example.com"] },
    needs: { ...NOTHING, net: ["127.0.0.1:6379"], read: ["/db.sqlite"], write: ["/db.sqlite"] },
    ask: [
      { name: "net", host: "example.com" },
      { name: "net", host: "127.0.0.1:6379" },
      { name: "net", host: "127.0.0.1:6380" },
      { name: "read", path: "/db.sqlite" },
      { name: "write", path: "/db.sqlite" },
      { name: "read", path: "/" },
    ],
  });
  assertEquals(states.map((state) => state === "granted"), [true, true, false, true, true, false]);
});

Deno.test("a variable that is in a worker's environment and not granted reads undefined", async () => {
  const { values } = await rightsOf({
    permissions: { env: ["GRANTED"] },
    ask: [],
    values: ["GRANTED", "OTHER", "PATH"],
    env: { GRANTED: "yes", OTHER: "no" },
  });
  assertEquals(values, ["yes", null, null]);
});
