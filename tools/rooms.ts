/**
 * The rooms of `src/` and what each may import; `ARCHITECTURE.md` says what each is for.
 *
 * @module
 */

/** What a room may import. */
interface Room {
  /** Other rooms, or single files of them. The files directly in `src/` are everybody's. */
  readonly rooms: readonly string[];
  /** Files of other rooms that may be loaded by `import()` alone, so that they load when needed. */
  readonly dynamic?: readonly string[];
  /** Packages that the room must not know. */
  readonly notPackages?: readonly string[];
  /** Packages that only the files under a folder of the room may know, by the folder. */
  readonly packagesOf?: Readonly<Record<string, readonly string[]>>;
  /** Packages of which it may know the types. */
  readonly typesOnly?: readonly string[];
}

const SQL = ["kysely", "pg", "node:sqlite"];
const REDIS = ["@redis/client"];

const ROOMS: Readonly<Record<string, Room>> = {
  // The files directly in src/.
  "": { rooms: [], notPackages: [...SQL, ...REDIS, "@logtape/logtape"] },
  program: { rooms: [], notPackages: [...SQL, ...REDIS, "@logtape/logtape", "zod"] },
  // SQLite is loaded at one place, for the two rooms that open files.
  sqlite: { rooms: [], notPackages: ["kysely", "pg", ...REDIS, "@logtape/logtape"] },
  task: {
    rooms: ["program"],
    notPackages: [...SQL, ...REDIS, "@logtape/logtape", "node:child_process"],
    typesOnly: ["kysely"],
  },
  process: { rooms: ["program"], notPackages: [...SQL, ...REDIS, "@logtape/logtape", "zod"] },
  broker: {
    rooms: ["program", "sqlite", "task"],
    notPackages: ["kysely", "pg"],
    packagesOf: { "redis/drivers": REDIS },
  },
  activity: { rooms: ["program", "sqlite", "task"], notPackages: REDIS },
  log: { rooms: ["task"], notPackages: [...SQL, ...REDIS] },
  stores: { rooms: ["program", "task", "broker", "activity", "log"], notPackages: REDIS },
  // The only room that pairs a row with the broker: every change of a task's state is made here.
  lifecycle: {
    rooms: ["task", "broker", "activity", "log", "stores"],
    notPackages: [...SQL, ...REDIS, "node:child_process"],
  },
  worker: {
    rooms: [
      ...["program", "task", "broker", "activity", "log", "stores", "lifecycle"],
      // Both ends of a worker's pipe speak one language, and word a denied permission alike.
      ...["process/handshake.ts", "process/marked_lines.ts", "process/scope.ts"],
    ],
  },
  client: {
    rooms: ["program", "task", "process", "broker", "activity", "log", "stores", "lifecycle"],
  },
  // The services that a supervisor runs beside its workers.
  maintenance: { rooms: ["task", "broker", "activity", "log", "stores", "lifecycle"] },
  pool: {
    rooms: [
      ...["program", "task", "process", "broker", "activity", "log", "stores", "lifecycle"],
      ...["client", "maintenance"],
    ],
    dynamic: ["worker/main.ts", "worker/worker.ts"],
  },
  // A worker, a supervisor and a producer in one process: it takes of each what production takes.
  testing: {
    rooms: [
      ...["program", "task", "broker", "activity", "log", "stores", "lifecycle"],
      ...["client", "maintenance", "pool", "worker"],
    ],
    notPackages: [...SQL, ...REDIS],
  },
  // Starts before anything of the library is there.
  init: { rooms: [], notPackages: [...SQL, ...REDIS, "@logtape/logtape", "zod"] },
};

/** The rooms that run on Node.js too: they use no `Deno` and no `Temporal`. */
export const PORTABLE_ROOMS: readonly string[] = [
  ...["", "program", "sqlite", "task", "broker", "activity", "stores", "lifecycle", "client"],
];

/** The files that are programs: they write to the console, and read the package's manifest. */
export const PROGRAMS: readonly string[] = ["src/init/main.ts"];

/** One import of a file. */
export interface ImportOf {
  /** The importing file from the project's root, as `src/pool/pool.ts`. */
  readonly file: string;
  /** What it imports, as written. */
  readonly specifier: string;
  /** Whether it is written `import()`. */
  readonly dynamic?: boolean;
  /** Whether only types are imported. */
  readonly typeOnly?: boolean;
}

/** The room of a file of `src/`, `""` for one directly in it, or null for one elsewhere. */
export function roomOf(file: string): string | null {
  const match = /^src\/(?:([^/]+)\/)?/.exec(file);
  return match === null ? null : match[1] ?? "";
}

/** Why a file may not import what it does, or null where it may. */
export function importProblem(found: ImportOf): string | null {
  const { file, specifier } = found;
  if (/^(jsr|https?):/.test(specifier)) {
    return `Only npm: packages are used, by their name in the import map: ${specifier}`;
  }
  const name = roomOf(file);
  if (name === null) return null;
  const room = ROOMS[name];
  if (room === undefined) return `src/${name}/ is no room: add it to tools/rooms.ts`;
  if (/^@agentexec\/core(\/|$)/.test(specifier)) {
    return `Nothing in src/ imports the package itself`;
  }
  return specifier.startsWith(".")
    ? fileProblem(name, room, found)
    : packageProblem(name, room, found);
}

function fileProblem(name: string, room: Room, found: ImportOf): string | null {
  const target = resolve(found.file, found.specifier);
  const targetRoom = roomOf(target);
  if (target === "deno.json" && PROGRAMS.includes(found.file)) return null;
  if (targetRoom === null) return `Nothing in src/ imports ${target}`;
  if (targetRoom === name || targetRoom === "") return null;
  const inRoom = target.slice("src/".length);
  if (room.rooms.includes(targetRoom) || room.rooms.includes(inRoom)) return null;
  if (found.dynamic && room.dynamic?.includes(inRoom)) return null;
  const allowed = ["the files of src/", ...room.rooms.map((each) => `src/${each}`)];
  if (room.dynamic) allowed.push(...room.dynamic.map((each) => `import("src/${each}")`));
  return `${titleOf(name)} may not import ${target}, only ${allowed.join(", ")}`;
}

function packageProblem(name: string, room: Room, found: ImportOf): string | null {
  for (const [folder, packages] of Object.entries(room.packagesOf ?? {})) {
    const path = `src/${name}/${folder}/`;
    if (!packages.includes(found.specifier) || found.file.startsWith(path)) continue;
    return `Only the files of ${path} may know ${found.specifier}`;
  }
  if (!room.notPackages?.includes(found.specifier)) return null;
  if (room.typesOnly?.includes(found.specifier)) {
    return found.typeOnly ? null : `${titleOf(name)} may import types only of ${found.specifier}`;
  }
  return `${titleOf(name)} must not know ${found.specifier}`;
}

function titleOf(room: string): string {
  return room === "" ? "A file directly in src/" : `The room ${room}`;
}

/** The path from the project's root of what a relative specifier names. */
function resolve(file: string, specifier: string): string {
  return new URL(specifier, `file:///${file}`).pathname.slice(1);
}
