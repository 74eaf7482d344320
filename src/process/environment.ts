/**
 * A worker's environment: made from nothing, so that what is not passed on is not there.
 *
 * @module
 */
import { HARMLESS_VARIABLES } from "../config.ts";
import { WORKER_MARKER } from "../program/role.ts";
import type { Grant } from "./scope.ts";

/** Passed on when set, for Deno and the system; not readable by handlers unless granted. */
const SYSTEM = [
  "PATH",
  "HOME",
  "TMPDIR",
  "TZ",
  "LANG",
  "LANGUAGE",
  "LC_ALL",
  "LC_COLLATE",
  "LC_CTYPE",
  "LC_MESSAGES",
  "LC_MONETARY",
  "LC_NUMERIC",
  "LC_TIME",
  "NO_COLOR",
  "DENO_DIR",
  "XDG_CACHE_HOME",
  "DENO_CERT",
  "DENO_TLS_CA_STORE",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
  "NODE_EXTRA_CA_CERTS",
  "HTTP_PROXY",
  "HTTPS_PROXY",
  "ALL_PROXY",
  "NO_PROXY",
  "http_proxy",
  "https_proxy",
  "all_proxy",
  "no_proxy",
  // Without them a module graph that came from another registry is not found in the cache.
  "JSR_URL",
  "NPM_CONFIG_REGISTRY",
  // Deno's own telemetry, from the first moment of the process.
  "OTEL_DENO",
  "OTEL_DENO_CONSOLE",
  "OTEL_DENO_METRICS",
  "OTEL_DENO_TRACING",
  "OTEL_EXPORTER_OTLP_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_CLIENT_KEY",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_EXPORTER_OTLP_PROTOCOL",
  "OTEL_METRIC_EXPORT_INTERVAL",
  "OTEL_PROPAGATORS",
  "OTEL_RESOURCE_ATTRIBUTES",
  "OTEL_SERVICE_NAME",
  "OTEL_TRACES_SAMPLER",
  "OTEL_TRACES_SAMPLER_ARG",
];

/** Whole families of these; of one that may not be listed, the names above are passed on. */
const SYSTEM_FAMILIES = /^(LC|OTEL)_/;

/** What a later Deno may grant without being asked: a worker has what its flags say. */
const NO_WIDER_DEFAULTS = {
  DENO_UNSTABLE_RELAXED_PERMISSIONS: "0",
  DENO_UNSTABLE_ALLOW_ALL_BY_DEFAULT: "0",
};

/**
 * What the system's loader reads. With one of them in the environment of a child, Deno refuses the start under a list
 * of programs, `--allow-run=deno`.
 */
const LOADER = /^(LD_|DYLD_)/i;

/** A worker's environment. */
export interface WorkerEnvironment {
  /** All of it. */
  readonly variables: Readonly<Record<string, string>>;
  /** Those of the library that the worker may read. */
  readonly own: readonly string[];
  /** Names that are granted, but that this process itself may not read. */
  readonly unreadable: readonly string[];
  /** Names that are granted and not set. */
  readonly unset: readonly string[];
  /** Patterns that are granted, whose names this process may not list. */
  readonly unlistable: readonly string[];
  /** Names that are granted and set, but that Deno lets only a process of unlimited run permission pass on. */
  readonly unpassable: readonly string[];
  /** Names that are set here and not granted. */
  readonly ungranted: readonly string[];
}

/** Makes a worker's environment from this process's. */
export function workerEnvironment(
  options: { readonly granted: Grant | undefined },
): WorkerEnvironment {
  const { granted } = options;
  const variables: Record<string, string> = {};
  const unreadable: string[] = [];
  const unset: string[] = [];
  const unpassable: string[] = [];
  const mayPassAll = Deno.permissions.querySync({ name: "run" }).state === "granted";
  const all = readAll();
  const names = granted === true
    ? Object.keys(all)
    : (granted ?? []).flatMap((name) => expand(name, all));
  const families = Object.keys(all).filter((name) => SYSTEM_FAMILIES.test(name));
  for (const name of new Set([...SYSTEM, ...families, ...HARMLESS_VARIABLES, ...names])) {
    const value = read(name);
    if (value === null) {
      if (names.includes(name)) unreadable.push(name);
    } else if (value !== undefined) {
      if (mayPassAll || !LOADER.test(name)) variables[name] = value;
      else unpassable.push(name);
    } else if (names.includes(name)) unset.push(name);
  }
  const barren = granted === true
    ? []
    : (granted ?? []).filter((name) => expand(name, all).length === 0);
  const mayList = Deno.permissions.querySync({ name: "env" }).state === "granted";
  if (mayList) unset.push(...barren);
  const own = HARMLESS_VARIABLES.filter((name) => name in variables);
  const ungranted = granted === true
    ? []
    : Object.keys(all).filter((name) => !names.includes(name) && !own.includes(name));
  return {
    variables: {
      ...variables,
      ...NO_WIDER_DEFAULTS,
      DENO_NO_UPDATE_CHECK: "1",
      [WORKER_MARKER]: "1",
    },
    own,
    unreadable,
    unset,
    unlistable: mayList ? [] : barren,
    unpassable,
    ungranted,
  };
}

/**
 * The variables that a text names, that are set here, and that a worker was not given. Each is asked for by its name:
 * a process may know variables that it may not list.
 */
export function ungrantedIn(text: string, granted: Grant | undefined): readonly string[] {
  if (granted === true) return [];
  const isGranted = (name: string) =>
    granted?.some((each) =>
      each === name || (each.endsWith("*") && name.startsWith(each.slice(0, -1)))
    );
  const names = new Set(
    text.match(/(?<![A-Za-z0-9_])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![A-Za-z0-9_])/g),
  );
  return [...names].filter((name) => !isGranted(name) && typeof read(name) === "string");
}

/** Deno's lists may end a name in `*`. */
function expand(name: string, all: Readonly<Record<string, string>>): readonly string[] {
  if (!name.endsWith("*")) return [name];
  return Object.keys(all).filter((each) => each.startsWith(name.slice(0, -1)));
}

/** A variable's value; undefined where it is not set, null where this process may not read it. */
function read(name: string): string | undefined | null {
  if (Deno.permissions.querySync({ name: "env", variable: name }).state !== "granted") return null;
  return Deno.env.get(name);
}

/** All that this process may list; nothing where it may read names of a list alone. */
function readAll(): Readonly<Record<string, string>> {
  if (Deno.permissions.querySync({ name: "env" }).state !== "granted") return {};
  return Deno.env.toObject();
}
