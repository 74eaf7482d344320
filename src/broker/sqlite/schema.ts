/**
 * The tables of the SQLite broker. A file may hold any number of queues, and tables of others beside these.
 *
 * A task is one row: where it stands is its `state`, so it cannot be in two places or without its data. Waiting tasks
 * are claimed by rising `position`: what comes in takes a number above all others, what returns to the head one below
 * all others. `lease`, `due`, `since` and `at` are milliseconds of the Unix epoch.
 *
 * @module
 */
import { IncompatibleError } from "../../errors.ts";
import type { Transaction } from "./transaction.ts";

/** The version of the tables that this version of the library makes. */
const SCHEMA = 3;

const FORMERLY = `
create table if not exists agentexec_broker_formerly (
  queue text not null,
  id text not null,         -- an id that the broker had before it lost its data
  primary key (queue, id)
) without rowid;
`;

/** By the version that they brought. */
const ADDED: readonly (readonly [version: number, script: string])[] = [
  // That a supervisor lives shows whatever the clock says.
  [
    2,
    `
alter table agentexec_broker_supervisor add column renewals integer;
alter table agentexec_broker_supervisor add column lease_ms integer;
`,
  ],
  // One supervisor of a queue is its maintainer, and rows may know the broker by former ids.
  [
    3,
    `
alter table agentexec_broker_queue add column maintainer text;
alter table agentexec_broker_queue add column maintained_until integer;
${FORMERLY}
`,
  ],
];

const TABLES = `
create table if not exists agentexec_broker_schema (
  version integer not null, -- the newest library's that was here
  oldest integer not null   -- the oldest that may still work here
);
create table if not exists agentexec_broker_queue (
  name text not null primary key,
  id text,                  -- the broker's id, for the rows
  protocol integer not null,
  oldest integer not null,
  token integer not null,   -- the last one given
  head integer not null,    -- the lowest position given
  tail integer not null,    -- the highest position given
  served integer,           -- when a supervisor last renewed itself
  maintainer text,          -- the supervisor that runs the services of which a queue needs one
  maintained_until integer  -- until when it is
) without rowid;
create table if not exists agentexec_broker_task (
  queue text not null,
  id text not null,
  v integer not null,       -- the least protocol that it needs
  name text not null,
  state text not null,      -- waiting, delayed or claimed
  position integer not null,
  due integer not null,
  since integer not null,   -- since when it waits or is claimed
  token integer not null,
  owner text not null,      -- the workerId while claimed, else empty
  lease integer not null,   -- its end, while claimed
  cancel integer not null,  -- 1 where its worker is to stop
  attempt integer not null,
  failures integer not null,
  crashes integer not null,
  lapses integer not null,
  unknowns integer not null,
  unknown_since integer,
  payload text not null,
  primary key (queue, id)
);
create index if not exists agentexec_broker_waiting on agentexec_broker_task (queue, position, v)
  where state = 'waiting';
create index if not exists agentexec_broker_delayed on agentexec_broker_task (queue, due)
  where state = 'delayed';
create index if not exists agentexec_broker_lease on agentexec_broker_task (queue, lease)
  where state = 'claimed';
create index if not exists agentexec_broker_owner on agentexec_broker_task (queue, owner)
  where state = 'claimed';
create table if not exists agentexec_broker_supervisor (
  queue text not null,
  id text not null,
  lease integer not null,
  swept integer,            -- when it was taken for dead; it is kept for a while, so that it can learn of it
  renewals integer,         -- how often it has renewed itself; null where an older version does not count
  lease_ms integer,         -- how long its lease is
  primary key (queue, id)
) without rowid;
create table if not exists agentexec_broker_worker (
  queue text not null,
  id text not null,
  supervisor text not null,
  primary key (queue, id)
) without rowid;
create table if not exists agentexec_broker_ready (
  queue text not null,
  worker text not null,
  message text not null,
  until integer not null,
  primary key (queue, worker)
) without rowid;
create table if not exists agentexec_broker_message (
  seq integer primary key autoincrement,
  channel text not null,
  body text not null,
  total integer not null    -- characters of all bodies up to this one
);
${FORMERLY}`;

/** Makes the tables where they are not there yet, and makes sure that this version may use them. */
export function prepareSchema(transaction: Transaction, address: string): void {
  const there = transaction.get<{ found: number }>(
    "select count(*) as found from sqlite_schema where name = 'agentexec_broker_schema'",
  );
  if (there?.found !== 1) {
    transaction.script(TABLES);
    transaction.run(
      "insert into agentexec_broker_schema (version, oldest) values (?, ?)",
      SCHEMA,
      1,
    );
    return;
  }
  const row = transaction.get<{ version: number; oldest: number }>(
    "select version, oldest from agentexec_broker_schema",
  );
  if (row !== undefined && row.oldest > SCHEMA) {
    throw new IncompatibleError(
      `Cannot use the broker at ${address}: a newer version of the library wrote it, it needs schema ${row.oldest} or ` +
        `later, this version has ${SCHEMA}, update it`,
    );
  }
  for (const [version, script] of ADDED) {
    if (row !== undefined && row.version < version) transaction.script(script);
  }
  // Also where nothing changes: a file that cannot be written is told when it is opened, not at the first task.
  transaction.run("update agentexec_broker_schema set version = max(version, ?)", SCHEMA);
}
