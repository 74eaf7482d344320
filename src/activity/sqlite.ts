/**
 * `node:sqlite` as Kysely's own SQLite dialect wants it.
 *
 * @module
 */
import { type SqliteDatabase, SqliteDialect, type SqliteStatement } from "kysely";

/** How long a statement waits for another process's write. */
const BUSY_MS = 5_000;

/** A dialect on a file, which is made where it is not there. */
export function sqliteDialect(path: string): SqliteDialect {
  return new SqliteDialect({ database: () => openFile(path) });
}

/** Node 20, where producers may run, has no `node:sqlite`: it is loaded where it is needed. */
async function openFile(path: string): Promise<SqliteDatabase> {
  const { DatabaseSync } = await import("node:sqlite");
  const file = new DatabaseSync(path, { timeout: BUSY_MS });
  file.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");
  return {
    close: () => file.close(),
    prepare(text): SqliteStatement {
      const statement = file.prepare(text);
      const values = (parameters: readonly unknown[]) =>
        parameters as (string | number | bigint | null)[];
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...values(parameters)),
        run: (parameters) => {
          const { changes, lastInsertRowid } = statement.run(...values(parameters));
          return { changes: BigInt(changes), lastInsertRowid: BigInt(lastInsertRowid) };
        },
        iterate: (parameters) =>
          statement.iterate(...values(parameters)) as IterableIterator<unknown>,
      };
    },
  };
}
