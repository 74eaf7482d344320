/**
 * A Kysely whose database is known only when it is used: what a program keeps at the top level of its module serves in
 * its workers, over a stop and a new start, and with a test kit attached.
 *
 * @module
 */
import {
  type DatabaseConnection,
  type DatabaseIntrospector,
  type Dialect,
  type DialectAdapter,
  type Driver,
  Kysely,
  type MigrationLockOptions,
  PostgresDialect,
  type QueryCompiler,
  type TransactionSettings,
} from "kysely";

/** Where statements go, asked anew for each. */
export interface DeferredDatabase {
  /** Whose SQL, and how connections are made; undefined if that is not known yet. Each call may make a new one. */
  readonly dialect: () => Dialect | undefined;
  /** Called before each statement; one for which it never resolves holds up no other. */
  readonly enter: () => Promise<void>;
  /** Called before the first statement, and before the first one after {@linkcode DeferredKysely.disconnect}. */
  readonly prepare: () => Promise<void>;
}

/** A Kysely, and how its connections are closed. */
export interface DeferredKysely {
  /** The Kysely. */
  readonly db: Kysely<unknown>;
  /** Closes its connections; the next statement makes new ones. */
  readonly disconnect: () => Promise<void>;
}

/** Makes one. Connects at its first statement. */
export function deferredKysely(database: DeferredDatabase): DeferredKysely {
  const driver = new DeferredDriver(database);
  const dialect = () => database.dialect() ?? UNKNOWN;
  const db = new Kysely<unknown>({
    dialect: {
      createDriver: () => driver,
      createAdapter: () => new DeferredAdapter(() => dialect().createAdapter()),
      createQueryCompiler: () => deferredCompiler(() => dialect().createQueryCompiler()),
      createIntrospector: (db): DatabaseIntrospector => dialect().createIntrospector(db),
    },
  });
  return { db, disconnect: () => driver.destroy() };
}

/** For statements that are built before they can be sent. */
const UNKNOWN: Dialect = new PostgresDialect({
  pool: () => Promise.reject(new TypeError("Cannot connect: the database is not known yet")),
});

function deferredCompiler(compiler: () => QueryCompiler): QueryCompiler {
  return { compileQuery: (node, queryId) => compiler().compileQuery(node, queryId) };
}

class DeferredAdapter implements DialectAdapter {
  readonly #adapter: () => DialectAdapter;
  /** Kysely keeps nobody waiting: the drivers have connections of their own to give. */
  readonly supportsMultipleConnections = true;

  constructor(adapter: () => DialectAdapter) {
    this.#adapter = adapter;
  }

  get supportsCreateIfNotExists(): boolean {
    return this.#adapter().supportsCreateIfNotExists ?? false;
  }

  get supportsTransactionalDdl(): boolean {
    return this.#adapter().supportsTransactionalDdl ?? false;
  }

  get supportsReturning(): boolean {
    return this.#adapter().supportsReturning ?? false;
  }

  get supportsOutput(): boolean {
    return this.#adapter().supportsOutput ?? false;
  }

  acquireMigrationLock(db: Kysely<unknown>, options: MigrationLockOptions): Promise<void> {
    return this.#adapter().acquireMigrationLock(db, options);
  }

  releaseMigrationLock(db: Kysely<unknown>, options: MigrationLockOptions): Promise<void> {
    return this.#adapter().releaseMigrationLock(db, options);
  }
}

class DeferredDriver implements Driver {
  readonly #database: DeferredDatabase;
  #opened: Promise<Driver> | undefined;
  /** The driver of each connection in use: that of a statement under way may have been followed by another. */
  readonly #drivers = new WeakMap<DatabaseConnection, Driver>();

  constructor(database: DeferredDatabase) {
    this.#database = database;
  }

  init(): Promise<void> {
    return Promise.resolve();
  }

  async acquireConnection(): Promise<DatabaseConnection> {
    await this.#database.enter();
    const opened = this.#opened ??= this.#open();
    let driver;
    try {
      driver = await opened;
    } catch (error) {
      // The next statement tries again.
      if (this.#opened === opened) this.#opened = undefined;
      throw error;
    }
    const connection = await driver.acquireConnection();
    this.#drivers.set(connection, driver);
    return connection;
  }

  async #open(): Promise<Driver> {
    const { prepare, dialect } = this.#database;
    await prepare();
    const driver = (dialect() ?? UNKNOWN).createDriver();
    await driver.init();
    return driver;
  }

  #of(connection: DatabaseConnection): Driver {
    const driver = this.#drivers.get(connection);
    if (driver !== undefined) return driver;
    throw new TypeError("Cannot use a connection that was not acquired here");
  }

  async beginTransaction(connection: DatabaseConnection, settings: TransactionSettings) {
    await this.#of(connection).beginTransaction(connection, settings);
  }

  async commitTransaction(connection: DatabaseConnection): Promise<void> {
    await this.#of(connection).commitTransaction(connection);
  }

  async rollbackTransaction(connection: DatabaseConnection): Promise<void> {
    await this.#of(connection).rollbackTransaction(connection);
  }

  async savepoint(
    connection: DatabaseConnection,
    name: string,
    compileQuery: QueryCompiler["compileQuery"],
  ): Promise<void> {
    await this.#of(connection).savepoint?.(connection, name, compileQuery);
  }

  async rollbackToSavepoint(
    connection: DatabaseConnection,
    name: string,
    compileQuery: QueryCompiler["compileQuery"],
  ): Promise<void> {
    await this.#of(connection).rollbackToSavepoint?.(connection, name, compileQuery);
  }

  async releaseSavepoint(
    connection: DatabaseConnection,
    name: string,
    compileQuery: QueryCompiler["compileQuery"],
  ): Promise<void> {
    await this.#of(connection).releaseSavepoint?.(connection, name, compileQuery);
  }

  async releaseConnection(connection: DatabaseConnection): Promise<void> {
    await this.#of(connection).releaseConnection(connection);
  }

  async destroy(): Promise<void> {
    const opened = this.#opened;
    this.#opened = undefined;
    // What could not be opened need not be closed.
    const driver = await opened?.catch(() => undefined);
    await driver?.destroy();
  }
}
