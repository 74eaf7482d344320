/**
 * What a pool's workers may do: allow lists, checked, as Deno's flags, and as the hints that a handler's error
 * gets when it met a limit.
 *
 * @module
 */
import { asciiHost } from "../addresses.ts";
import { ConfigError } from "../errors.ts";
import { fromFileUrl, toFileUrl } from "../program/file_url.ts";
import { isUrl } from "../program/is_url.ts";
import { show } from "../show.ts";

/** Granted: all of a kind, or these entries. A kind that is absent is not granted. */
export type Grant = true | readonly string[];

/** A pool's permissions, checked. */
export interface Scope {
  /** Absolute paths. */
  readonly read?: Grant;
  /** Absolute paths. */
  readonly write?: Grant;
  /** Hosts, with or without port. */
  readonly net?: Grant;
  /** Names of variables. */
  readonly env?: Grant;
  /** Kinds of system information. */
  readonly sys?: Grant;
  /** Programs. */
  readonly run?: readonly string[];
  /** Absolute paths of libraries. */
  readonly ffi?: readonly string[];
}

/** What the library itself needs in a worker. */
export interface ScopeNeeds {
  /** Addresses. */
  readonly net: readonly string[];
  /** Variables. */
  readonly env: readonly string[];
  /** Files to read. */
  readonly read: readonly string[];
  /** Files to write. */
  readonly write: readonly string[];
}

const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi"] as const;
type Kind = typeof KINDS[number];
/** Kinds that no list can contain: granted whole, a worker could do anything. */
const LISTS_ONLY: readonly Kind[] = ["run", "ffi"];
const PATHS: readonly Kind[] = ["read", "write", "ffi"];

/**
 * Checks permissions. Relative paths are resolved against `cwd`.
 *
 * @throws {TypeError} If a kind is unknown, or its value is none that a worker can be given.
 */
export function resolveScope(
  options: { readonly permissions?: Deno.PermissionOptionsObject; readonly cwd: string },
): Scope {
  const scope: Partial<Record<Kind, Grant>> = {};
  for (const [kind, value] of Object.entries(permissionsObject(options.permissions))) {
    if (kind === "import") {
      throw new TypeError(
        "Cannot use permissions.import: workers load code from the cache alone; fetch it before, with deno cache",
      );
    }
    if (!KINDS.includes(kind as Kind)) {
      throw new TypeError(`Cannot use permissions.${kind}: allowed are ${KINDS.join(", ")}`);
    }
    const grant = grantOf(kind as Kind, value, options.cwd);
    if (grant !== undefined) scope[kind as Kind] = grant;
  }
  return scope as Scope;
}

/** `"inherit"` and `"none"`, which Deno's own option also takes, are no lists. */
function permissionsObject(permissions: unknown): object {
  if (permissions === undefined) return {};
  if (Object.prototype.toString.call(permissions) === "[object Object]") {
    return permissions as object;
  }
  throw new TypeError(
    `Cannot use permissions: it must be an object such as { read: ["data"] }, current value is ${
      show(permissions)
    }` + (permissions === "inherit" ? " (workers inherit nothing)" : ""),
  );
}

function grantOf(kind: Kind, value: unknown, cwd: string): Grant | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) {
    if (!LISTS_ONLY.includes(kind)) return true;
    throw new TypeError(
      `Cannot use permissions.${kind}: true would let workers do anything, it must be a list of what they may use`,
    );
  }
  if (!Array.isArray(value)) {
    throw new TypeError(
      `Cannot use permissions.${kind}: it must be a list${
        LISTS_ONLY.includes(kind) ? "" : " or true"
      }, current value is ${show(value)}` +
        (value === "inherit" ? " (workers inherit nothing)" : ""),
    );
  }
  if (value.length === 0) return undefined;
  return value.map((entry) => entryOf(kind, entry, cwd));
}

function entryOf(kind: Kind, entry: unknown, cwd: string): string {
  const text = isUrl(entry) ? String(entry) : entry;
  if (typeof text !== "string" || text === "" || text.includes("\0")) {
    throw new TypeError(
      `Cannot use permissions.${kind}: ${show(text)} is no entry of a list`,
    );
  }
  const path = PATHS.includes(kind) || (kind === "run" && text.includes("/"));
  if (path && isUrl(entry) && !text.startsWith("file:")) {
    throw new TypeError(`Cannot use permissions.${kind}: ${show(text)} is no file: URL`);
  }
  const resolved = path ? absolute(text, cwd) : text;
  if (resolved.includes(",")) {
    throw new TypeError(
      `Cannot use permissions.${kind}: ${
        JSON.stringify(text.includes(",") ? text : resolved)
      } holds a comma, which Deno's flag cannot say`,
    );
  }
  if (kind === "net") return netEntry(resolved);
  if (kind === "sys" && !isSystemKind(resolved)) {
    throw new TypeError(
      `Cannot use permissions.sys: ${
        JSON.stringify(resolved)
      } is no kind of system information, expected one of ${SYSTEM_KINDS.join(", ")}`,
    );
  }
  if (kind === "env" && !/^[A-Za-z_][A-Za-z0-9_]*\*?$/.test(resolved)) {
    throw new TypeError(
      `Cannot use permissions.env: ${JSON.stringify(resolved)} is no name of a variable`,
    );
  }
  return resolved;
}

type SysKind = NonNullable<Deno.SysPermissionDescriptor["kind"]>;

/**
 * A host as Deno's flag reads it: a name, an address or an IPv4 network, with a port or without. Names are given in
 * their ASCII form and IPv6 addresses in brackets, however they were written.
 */
function netEntry(text: string): string {
  const refuse = (rule: string): never => {
    throw new TypeError(`Cannot use permissions.net: ${show(text)} ${rule}`);
  };
  if (/:\/\//.test(text)) {
    return refuse(`holds a scheme, write ${show(hostOfUrl(text) ?? "host:port")}`);
  }
  const network = /^(\[?[^/]*)\/([^/]*)$/.exec(text);
  if (network !== null && !IPV4_NETWORK.test(text)) {
    return refuse(
      network[1]?.includes(":")
        ? "is an IPv6 network, which Deno grants as single addresses alone"
        : `is neither a host nor a network such as "10.0.0.0/8"`,
    );
  }
  if (network !== null) return checkedPort(text, text, refuse);
  if (!text.startsWith("[") && isIpv6(text)) return `[${text}]`;
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(text);
  if (bracketed !== null && isIpv6(bracketed[1] ?? "")) return checkedPort(text, text, refuse);
  const [, wildcard = "", name = "", port = ""] = /^(\*\.)?([^:[\]*\s@]+)(:\d+)?$/.exec(text) ??
    refuse(NET_FORMS);
  const ascii = asciiHost(name);
  if (ascii === undefined) return refuse(NET_FORMS);
  return checkedPort(`${wildcard}${ascii}${port}`, text, refuse);
}

const NET_FORMS =
  `must be "host", "host:port", "*.domain", an address ("[::1]:443" with a port) or an IPv4 network ("10.0.0.0/8")`;

const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4_NETWORK = new RegExp(`^(?:${OCTET}\\.){3}${OCTET}/(?:3[0-2]|[12]?\\d)(?::\\d+)?$`);

function checkedPort(entry: string, text: string, refuse: (rule: string) => never): string {
  const port = /:(\d+)$/.exec(text.replace(/^\[.*\]/, ""))?.[1];
  if (port === undefined || (Number(port) >= 1 && Number(port) <= 65_535)) return entry;
  return refuse(`names port ${port}: a host:port has one from 1 to 65535`);
}

function isIpv6(text: string): boolean {
  return text.includes(":") && URL.canParse(`http://[${text}]/`);
}

function hostOfUrl(text: string): string | undefined {
  return URL.canParse(text) ? new URL(text).host || undefined : undefined;
}

/** The kinds of system information that the flags of Deno 2.9 know. */
const SYSTEM_KINDS: readonly string[] = [
  ...["cpus", "getPriority", "getegid", "gid", "homedir", "hostname", "loadavg"],
  ...["networkInterfaces", "osRelease", "osUptime", "setPriority", "statfs", "systemMemoryInfo"],
  ...["uid", "userInfo", "username"],
];

/**
 * Whether Deno knows this kind of system information: a flag that it cannot read would end each worker at its start.
 * A later Deno may know more, and is asked; if this process is granted all kinds, it does not look at the name.
 */
function isSystemKind(kind: string): boolean {
  return SYSTEM_KINDS.includes(kind) || (!takesKind("no kind") && takesKind(kind));
}

function takesKind(kind: string): boolean {
  try {
    Deno.permissions.querySync({ name: "sys", kind: kind as SysKind });
    return true;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

/** A name may hold anything but "/": as a reference it could be cut at a "?" or "#", or read as a scheme. */
function absolute(path: string, cwd: string): string {
  if (path.startsWith("file:")) return fromFileUrl(path);
  return path.startsWith("/") ? path : fromFileUrl(toFileUrl(`${cwd}/${path}`).href);
}

/**
 * The flags of `deno run` that give a worker its scope, and nothing besides.
 *
 * @throws {ConfigError} If the library needs a file whose path Deno's flag cannot say.
 */
export function permissionFlags(scope: Scope, needs: ScopeNeeds): string[] {
  const flags = ["--no-prompt"];
  for (const kind of KINDS) {
    const granted = scope[kind];
    const needed = kind in needs ? needs[kind as keyof ScopeNeeds] : [];
    const comma = needed.find((entry) => entry.includes(","));
    if (comma !== undefined) {
      // Deno would read it as two entries, and grant the second one to handlers.
      throw new ConfigError(
        `Cannot grant ${kind} of ${
          JSON.stringify(comma)
        } to workers: it holds a comma, which Deno's flag cannot say`,
      );
    }
    if (granted === true) flags.push(`--allow-${kind}`);
    else {
      const entries = [...new Set([...(granted ?? []), ...needed])];
      if (entries.length > 0) flags.push(`--allow-${kind}=${entries.join(",")}`);
    }
  }
  // A name that is not granted reads undefined: a throw would kill most SDKs when they are imported.
  if (scope.env !== true) flags.push("--ignore-env");
  return flags;
}

/** What an operator should know of a scope, a line each. */
export function scopeWarnings(scope: Scope): string[] {
  return LISTS_ONLY.flatMap((kind) => {
    const granted = scope[kind];
    if (granted === undefined) return [];
    const what = kind === "run"
      ? "programs run outside the workers' scope"
      : "native code is not held by any scope";
    return [`permissions.${kind} grants ${(granted as readonly string[]).join(", ")}: ${what}`];
  });
}

/** A permission that Deno refused. */
export interface Denied {
  /** Its kind, as `permissions` names it. */
  readonly kind: string;
  /** What exactly was asked for; undefined where the text does not say. */
  readonly entry: string | undefined;
}

/** The permission that an error's text says was refused; undefined where it says no such thing. */
export function deniedIn(text: string): Denied | undefined {
  const found = /Requires (read|write|net|env|sys|run|ffi) access(?: to "([^"]*)")?/.exec(text);
  if (found === null) return undefined;
  const [, kind = "", entry] = found;
  return { kind, entry: entry?.startsWith("<") ? undefined : entry };
}

/** What to grant, where an error's text shows that a limit was met; undefined where it does not. */
export function explainDenied(
  text: string,
  options: { readonly environment: readonly string[] },
): string | undefined {
  const hints = [];
  const denied = deniedIn(text);
  if (denied !== undefined) {
    const { kind, entry } = denied;
    const list = entry === undefined ? "[…]" : JSON.stringify([entry]);
    hints.push(`grant it with permissions: { ${kind}: ${list} }`);
  }
  for (const name of options.environment) {
    // Names such as "_" or "BASH_FUNC_x()" are a shell's, not those that a program would miss.
    if (!/^[A-Za-z][A-Za-z0-9_]*$/.test(name)) continue;
    if (!new RegExp(`(?<![A-Za-z0-9_])${name}(?![A-Za-z0-9_])`).test(text)) continue;
    hints.push(`${name} is set here but not granted: permissions: { env: ["${name}"] }`);
  }
  return hints.length === 0 ? undefined : hints.join("; ");
}
