/**
 * What a pool's workers may do: allow lists, checked, as Deno's flags, and as the hints that a handler's error
 * gets when it met a limit.
 *
 * @module
 */
import { fromFileUrl, toFileUrl } from "./file_url.ts";

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
  for (const [kind, value] of Object.entries(options.permissions ?? {})) {
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

function grantOf(kind: Kind, value: unknown, cwd: string): Grant | undefined {
  if (value === undefined || value === false) return undefined;
  if (value === true) {
    if (!LISTS_ONLY.includes(kind)) return true;
    throw new TypeError(
      `Cannot use permissions.${kind}: true would let workers do anything, name what they may use in a list`,
    );
  }
  if (!Array.isArray(value)) {
    throw new TypeError(
      `Cannot use permissions.${kind}: it must be a list${
        LISTS_ONLY.includes(kind) ? "" : " or true"
      }, current value is ${JSON.stringify(value)}` +
        (value === "inherit" ? " (workers inherit nothing)" : ""),
    );
  }
  if (value.length === 0) return undefined;
  return value.map((entry) => entryOf(kind, entry, cwd));
}

function entryOf(kind: Kind, entry: unknown, cwd: string): string {
  const text = entry instanceof URL ? entry.href : entry;
  if (typeof text !== "string" || text === "") {
    throw new TypeError(
      `Cannot use permissions.${kind}: ${JSON.stringify(text)} is no entry of a list`,
    );
  }
  const path = PATHS.includes(kind) || (kind === "run" && text.includes("/"));
  const resolved = path ? absolute(text, cwd) : text;
  if (resolved.includes(",")) {
    throw new TypeError(
      `Cannot use permissions.${kind}: ${
        JSON.stringify(resolved)
      } holds a comma, which Deno's flag cannot say`,
    );
  }
  if (kind === "net" && !/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.*-]+)(:\d{1,5})?$/.test(resolved)) {
    throw new TypeError(
      `Cannot use permissions.net: ${
        JSON.stringify(resolved)
      } must be "host" or "host:port", without a scheme`,
    );
  }
  if (kind === "env" && !/^[A-Za-z_][A-Za-z0-9_]*\*?$/.test(resolved)) {
    throw new TypeError(
      `Cannot use permissions.env: ${JSON.stringify(resolved)} is no name of a variable`,
    );
  }
  return resolved;
}

function absolute(path: string, cwd: string): string {
  if (path.startsWith("file:")) return fromFileUrl(path);
  return path.startsWith("/") ? path : fromFileUrl(new URL(path, toFileUrl(`${cwd}/`)).href);
}

/** The flags of `deno run` that give a worker its scope, and nothing besides. */
export function permissionFlags(scope: Scope, needs: ScopeNeeds): string[] {
  const flags = ["--no-prompt"];
  for (const kind of KINDS) {
    const granted = scope[kind];
    const needed = kind in needs ? needs[kind as keyof ScopeNeeds] : [];
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

/** What to grant, where an error's text shows that a limit was met; undefined where it does not. */
export function explainDenied(
  text: string,
  options: { readonly environment: readonly string[] },
): string | undefined {
  const hints = [];
  const denied = /Requires (read|write|net|env|sys|run|ffi) access(?: to "([^"]*)")?/.exec(text);
  if (denied !== null) {
    const [, kind, entry] = denied;
    const list = entry === undefined || entry.startsWith("<") ? "[…]" : JSON.stringify([entry]);
    hints.push(`grant it with permissions: { ${kind}: ${list.replace(/^\["/, '["')} }`);
  }
  for (const name of options.environment) {
    if (!new RegExp(`(?<![A-Za-z0-9_])${name}(?![A-Za-z0-9_])`).test(text)) continue;
    hints.push(`${name} is set here but not granted: permissions: { env: ["${name}"] }`);
  }
  return hints.length === 0 ? undefined : hints.join("; ");
}
