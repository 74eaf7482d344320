/**
 * Why a database does not let itself be migrated, and what its administrator has to run.
 *
 * @module
 */
import { type Kysely, sql } from "kysely";
import { MigrationError } from "../errors.ts";
import type { MigrationContext } from "./migrations/migration.ts";

/** What the library's tables are called, behind the prefix. */
const TABLES = ["migration", "migration_lock", "activity", "activity_log", "broker"] as const;

/** What is wrong, and the statement that mends it; null where none does. */
interface Refusal {
  readonly problem: string;
  readonly remedy: string | null;
}

/**
 * The error that tells why Postgres refused to make the tables; undefined where it refused nothing: then the error
 * itself says what is wrong.
 */
export async function refusalOf(
  context: MigrationContext,
  error: unknown,
): Promise<MigrationError | undefined> {
  const code = sqlStateOf(error);
  if (context.dialect !== "postgres" || !["42501", "3F000", "25006"].includes(code)) {
    return undefined;
  }
  const reason = (error as Error).message;
  const { problem, remedy } = await explain(context, code);
  return new MigrationError(
    `Cannot migrate the database at ${context.address}: ${problem} (${reason})` +
      (remedy === null ? "" : `; run as its owner or a superuser: ${remedy}`),
    { cause: error },
  );
}

/** The same for a look at what has been migrated. */
export async function lookRefusalOf(
  context: MigrationContext,
  error: unknown,
): Promise<MigrationError | undefined> {
  if (context.dialect !== "postgres" || sqlStateOf(error) !== "42501") return undefined;
  const { user, schema } = await readRole(context.db);
  const table = `${context.prefix}migration`;
  return new MigrationError(
    `Cannot use the database at ${context.address}: user ${user} may not read table ${table} in schema ` +
      `${schema} (${
        (error as Error).message
      }); run as its owner or a superuser: GRANT SELECT ON ${table} TO ${user};`,
    { cause: error },
  );
}

function sqlStateOf(error: unknown): string {
  const code: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  return typeof code === "string" ? code : "";
}

async function explain(context: MigrationContext, code: string): Promise<Refusal> {
  const role = await readRole(context.db);
  if (code === "25006") return readOnly(role);
  if (role.schema === null) return await withoutSchema(context.db, role);
  return await withoutRights(context, { ...role, schema: role.schema });
}

/** Who we are, where; names are quoted as SQL wants them. */
interface Role {
  readonly user: string;
  readonly database: string;
  readonly schema: string | null;
  readonly path: string;
  readonly standby: boolean;
}

async function readRole(db: Kysely<unknown>): Promise<Role> {
  const { rows: [role] } = await sql<Role>`
    select quote_ident(current_user) as "user", quote_ident(current_database()) as database,
      quote_ident(current_schema()) as schema, current_setting('search_path') as path,
      pg_is_in_recovery() as standby`.execute(db);
  if (role === undefined) throw new MigrationError("Cannot read the role of a connection");
  return role;
}

function readOnly({ user, standby }: Role): Refusal {
  return standby
    ? { problem: "it is a standby, migrate at the address of its primary", remedy: null }
    : {
      problem: `transactions of user ${user} are read-only there`,
      remedy: `ALTER ROLE ${user} SET default_transaction_read_only = off;`,
    };
}

/** No schema of the search path is there, or may be used. */
async function withoutSchema(db: Kysely<unknown>, { user, path }: Role): Promise<Refusal> {
  const { rows: [first] } = await sql<{ schema: string; present: boolean }>`
    with named as (
      select place, case when trim(name) = '"$user"' then current_user::text
        else trim(both '"' from trim(name)) end as name
      from unnest(string_to_array(${path}::text, ',')) with ordinality as path(name, place)
    )
    select quote_ident(name) as schema, n.oid is not null as present
    from named left join pg_catalog.pg_namespace n on n.nspname = name
    where name <> '' order by n.oid is null, place desc limit 1`.execute(db);
  const problem = `there is no schema to make the tables in, the search_path of user ${user} is ${
    JSON.stringify(path)
  }`;
  if (first === undefined) {
    return { problem, remedy: `ALTER ROLE ${user} SET search_path = public;` };
  }
  return {
    problem,
    remedy: first.present
      ? `GRANT USAGE, CREATE ON SCHEMA ${first.schema} TO ${user};`
      : `CREATE SCHEMA ${first.schema} AUTHORIZATION ${user};`,
  };
}

interface Found {
  readonly name: string;
  readonly owner: string;
}

async function withoutRights(
  { db, prefix }: MigrationContext,
  { user, schema }: Role & { readonly schema: string },
): Promise<Refusal> {
  const names = TABLES.map((name) => `${prefix}${name}`);
  const { rows: [right] } = await sql<{ create: boolean }>`
    select has_schema_privilege(current_schema(), 'create') as "create"`.execute(db);
  // What a migration changes, only its owner may change.
  const { rows: foreign } = await sql<Found>`
    select quote_ident(relname) as name, quote_ident(pg_get_userbyid(relowner)) as owner
    from pg_catalog.pg_class
    where relname in (${sql.join(names)}) and relkind in ('r', 'p') and pg_table_is_visible(oid)
      and not pg_has_role(relowner, 'usage')
    order by relname`.execute(db);
  const problems: string[] = [];
  const remedies: string[] = [];
  if (right?.create !== true) {
    problems.push(`user ${user} may not make tables in schema ${schema}`);
    remedies.push(`GRANT USAGE, CREATE ON SCHEMA ${schema} TO ${user};`);
  }
  for (const { name, owner } of foreign) {
    problems.push(`table ${name} in schema ${schema} is owned by ${owner}, not by user ${user}`);
    const remedy = `GRANT ${owner} TO ${user};`;
    if (!remedies.includes(remedy)) remedies.push(remedy);
  }
  if (problems.length > 0) {
    return { problem: problems.join(", and "), remedy: remedies.join(" ") };
  }
  return {
    problem: `user ${user} may not do in schema ${schema} what the migration needs`,
    remedy: null,
  };
}
