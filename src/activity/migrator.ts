/**
 * Migrations, with bookkeeping tables of the library's own: beside a program's own migrations, several processes
 * at once, through PgBouncer in transaction mode. So the lock is a row lock in the migrations' own transaction.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type Kysely, sql } from "kysely";
import { IncompatibleError, MigrationError } from "../errors.ts";
import { inTransaction } from "./dialect.ts";
import { failureOf } from "./failure.ts";
import { metadataMember } from "./filters.ts";
import { ended } from "./migrations/ended.ts";
import { initial } from "./migrations/initial.ts";
import type { Migration, MigrationContext } from "./migrations/migration.ts";
import { records } from "./migrations/records.ts";
import { lookRefusalOf, refusalOf } from "./refusal.ts";

/** All of them, in order. */
export const MIGRATIONS: readonly Migration[] = [initial, ended, records];

/** How often a migrator that lost a race looks again. */
const RACES = 20;

const NEWEST = Math.max(...MIGRATIONS.map(({ id }) => id));

/** What {@linkcode migrate} works on. */
export interface MigrateOptions extends MigrationContext {
  /** Members of the metadata that get an index. */
  readonly metadataIndexes: readonly string[];
}

interface Applied {
  readonly id: number;
  readonly oldest: number;
}

/**
 * Brings the tables up to this version. Does nothing where they are.
 *
 * @throws {IncompatibleError} If there are tables of these names that the library did not make.
 * @throws {MigrationError} If a newer version made them such that this one may not use them, or the user may not make
 *   or change them.
 */
export async function migrate(options: MigrateOptions): Promise<void> {
  try {
    // Who may only use the tables is refused nothing where there is nothing to do.
    if (!await isUpToDate(options)) await migrateInOrder(options);
  } catch (error) {
    throw await refusalOf(options, error) ?? error;
  }
}

async function isUpToDate(options: MigrateOptions): Promise<boolean> {
  const applied = await readApplied(options) ?? [];
  refuseNewer(options, applied);
  if (MIGRATIONS.some(({ id }) => !applied.some((each) => each.id === id))) return false;
  for (const key of options.metadataIndexes) {
    if (!await exists(options, metadataIndexName(key))) return false;
  }
  return true;
}

async function migrateInOrder(options: MigrateOptions): Promise<void> {
  await withoutRaces(options, async (db) => {
    const context = { ...options, db };
    await refuseForeign(context);
    await createBookkeeping(context);
    await lock(context);
    const now = await readApplied(context) ?? [];
    refuseNewer(context, now);
    for (const migration of MIGRATIONS) {
      if (now.some(({ id }) => id === migration.id)) continue;
      await migration.up(context);
      const { id, name, oldest } = migration;
      await sql`insert into ${
        table(context, "migration")
      } (id, name, oldest) values (${id}, ${name}, ${oldest})`
        .execute(db);
    }
    for (const key of options.metadataIndexes) await createMetadataIndex(context, key);
  });
}

/**
 * Makes sure that the tables are there and this version may use them.
 *
 * @throws {MigrationError} If they are not, or may not be used.
 * @throws {IncompatibleError} If tables of their names are another program's.
 */
export async function checkMigrated(context: MigrationContext): Promise<void> {
  try {
    await refuseUnmigrated(context);
  } catch (error) {
    throw await lookRefusalOf(context, error) ?? error;
  }
}

async function refuseUnmigrated(context: MigrationContext): Promise<void> {
  const { address } = context;
  await refuseForeign(context);
  const applied = await readApplied(context);
  const version = Math.max(0, ...(applied ?? []).map(({ id }) => id));
  if (version < NEWEST) {
    throw new MigrationError(
      `Cannot use the database at ${address}: ${
        version === 0
          ? "it has not been migrated"
          : `its schema is ${version}, this version needs ${NEWEST}`
      }; call pool.migrate() or client.migrate() once, or with each release`,
    );
  }
  refuseNewer(context, applied ?? []);
}

function refuseNewer({ address }: MigrationContext, applied: readonly Applied[]): void {
  const newer = applied.find(({ oldest }) => oldest > NEWEST);
  if (newer === undefined) return;
  throw new MigrationError(
    `Cannot use the database at ${address}: a newer version of the library migrated it to schema ` +
      `${newer.id}, which needs schema ${newer.oldest} or newer and this version has ${NEWEST}; update this program`,
  );
}

async function withoutRaces(
  context: MigrationContext,
  body: (db: Kysely<unknown>) => Promise<void>,
): Promise<void> {
  for (let attempt = 1;; attempt++) {
    try {
      return await inTransaction(context.db, context.dialect, body);
    } catch (error) {
      // Two processes that create the same table at once: the loser finds it made when it looks again.
      if (attempt === RACES || !isRace(error)) throw error;
    }
  }
}

function isRace(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "23505" || code === "42P07" || code === "42710" || code === "40P01";
}

function table({ prefix }: MigrationContext, name: "activity" | "migration" | "migration_lock") {
  return sql.table(`${prefix}${name}`);
}

async function createBookkeeping({ db, dialect, prefix }: MigrationContext): Promise<void> {
  const now = dialect === "postgres" ? sql`now()` : sql`(strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))`;
  await db.schema.createTable(`${prefix}migration`).ifNotExists()
    .addColumn("id", "integer", (column) => column.primaryKey())
    .addColumn("name", "text", (column) => column.notNull())
    .addColumn("oldest", "integer", (column) => column.notNull())
    .addColumn(
      "applied_at",
      dialect === "postgres" ? "timestamptz" : "text",
      (column) => column.defaultTo(now),
    )
    .execute();
  await db.schema.createTable(`${prefix}migration_lock`).ifNotExists()
    .addColumn("id", "integer", (column) => column.primaryKey())
    .execute();
}

async function lock(context: MigrationContext): Promise<void> {
  const name = table(context, "migration_lock");
  await sql`insert into ${name} (id) values (1) on conflict do nothing`.execute(context.db);
  if (context.dialect === "postgres") {
    await sql`select id from ${name} where id = 1 for update`.execute(context.db);
  }
}

async function exists({ db, dialect, prefix }: MigrationContext, name: string): Promise<boolean> {
  const full = `${prefix}${name}`;
  const { rows } = dialect === "postgres"
    ? await sql`select 1 from pg_catalog.pg_class c where c.relname = ${full}
        and c.relkind in ('r', 'p', 'v', 'm', 'f', 'i') and pg_catalog.pg_table_is_visible(c.oid)`
      .execute(db)
    : await sql`select 1 from sqlite_master where name = ${full}`.execute(db);
  return rows.length > 0;
}

/** What has been applied; undefined where there are no bookkeeping tables. */
async function readApplied(context: MigrationContext): Promise<readonly Applied[] | undefined> {
  if (!await exists(context, "migration")) return undefined;
  try {
    const { rows } = await sql<Applied>`select id, oldest from ${
      table(context, "migration")
    } order by id`
      .execute(context.db);
    return rows;
  } catch (error) {
    if (failureOf(error) !== "unmigrated") throw error;
    throw foreign(context, `${context.prefix}migration`, error);
  }
}

/**
 * Ours are made in one transaction with the bookkeeping: where that does not name their migration even after a table
 * was seen, the table is another program's.
 */
async function refuseForeign(context: MigrationContext): Promise<void> {
  for (const { id, tables } of MIGRATIONS) {
    for (const name of tables) {
      if (!await exists(context, name)) continue;
      const applied = await readApplied(context) ?? [];
      if (!applied.some((each) => each.id === id)) {
        throw foreign(context, `${context.prefix}${name}`);
      }
    }
  }
}

function foreign(
  { address, prefix }: MigrationContext,
  name: string,
  cause?: unknown,
): IncompatibleError {
  return new IncompatibleError(
    `Cannot use the database at ${address}: it has a table '${name}' that this library did not make; ` +
      `choose another prefix than '${prefix}' by the option 'tablePrefix' or AGENTEXEC_TABLE_PREFIX`,
    { cause },
  );
}

/**
 * An index for filters on one member of the metadata. A table that is in use and large takes writes again
 * only when it is built; an index of the same name that an operator made `concurrently` before is left.
 */
async function createMetadataIndex(context: MigrationContext, key: string): Promise<void> {
  const { db, dialect, prefix } = context;
  await sql`create index if not exists ${sql.id(`${prefix}${metadataIndexName(key)}`)}
    on ${table(context, "activity")} ((${metadataMember(dialect, key)}), created_at, agent_id)`
    .execute(db);
}

/** The hash tells apart keys that read alike once they are cut to what a name may hold. */
function metadataIndexName(key: string): string {
  const hash = createHash("sha256").update(key).digest("hex").slice(0, 10);
  const shown = key.toLowerCase().replace(/[^a-z0-9_]/g, "_").slice(0, 10);
  return `metadata_${shown}_${hash}`;
}
