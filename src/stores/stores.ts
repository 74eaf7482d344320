/**
 * One process's connections to the broker and the database: made when they are first needed, shared by
 * all that one client or pool does, closed together.
 *
 * @module
 */
import type { Dialect } from "kysely";
import { PROGRAM } from "../activity/acquire.ts";
import { dialectOf } from "../activity/connection.ts";
import { deferredKysely } from "../activity/deferred_dialect.ts";
import { ActivityStore } from "../activity/store.ts";
import type { Broker, ProducerQueue, Queue } from "../broker/broker.ts";
import { openBroker } from "../broker/open_broker.ts";
import { monotonicMs, wallClockMs } from "../clock.ts";
import {
  type BrokerAddress,
  type DatabaseAddress,
  showBroker,
  showDatabase,
} from "../addresses.ts";
import { activityMessages, CONF } from "../config.ts";
import { Contact, type ContactListener } from "../contact.ts";
import { AgentexecError } from "../errors.ts";
import { beforeActing, isDeclaring, workerConnections } from "../program/role.ts";
import type { Rights } from "../program/permissions.ts";
import type { Database } from "../task/context.ts";
import { describeEmbedded, prepareEmbedded } from "./embedded.ts";
import { type ConnectOptions, keepTryingWith } from "./keep_trying.ts";
import { Lazy } from "./lazy.ts";
import { ProducerQueues } from "./producer_queues.ts";
import { type Connections, KitPlace, type Replacement } from "./replacement.ts";
import { type AddressOptions, StoreAddresses } from "./store_addresses.ts";
import { databaseRightsOf, explainDenial, rightsOf } from "./store_rights.ts";
import { warn } from "./warn.ts";

/** What connections are made from. Everything missing comes from the environment. */
export interface StoreOptions extends Omit<AddressOptions, "entrypoint"> {
  /** Makes the database connection instead of the library. */
  readonly db?: ((url: string) => Database) | undefined;
  /** The prefix of the tables. */
  readonly tablePrefix?: string | undefined;
  /** Whether rows keep the context. */
  readonly storeContext?: boolean | undefined;
  /** Metadata keys that get an index in `migrate()`. */
  readonly metadataIndexes?: readonly string[] | undefined;
}

/** Where a store is, and who opens it. */
export interface StoreLocation {
  /** Its address. */
  readonly address: DatabaseAddress;
  /** Makes the database connection instead of the library. */
  readonly db?: ((url: string) => Database) | undefined;
  /** Its clock in place of the database's own. */
  readonly now?: (() => number) | undefined;
  /** Told whether it can be reached. */
  readonly contact?: Contact | undefined;
}

/** How many connections the statements of the program itself go by, at most. */
const OWN_CONNECTIONS = 4;

/** The connections of one client or pool. */
export class Stores {
  readonly #options: StoreOptions;
  /** What the program's own statements go by. */
  readonly #ownKysely = deferredKysely({
    dialect: () => this.#dialect(),
    enter: async () => {
      await beforeActing();
      this.#refuseClosed();
    },
    prepare: () => this.#prepareDatabase(),
  });
  /** The one that the program made. */
  #foreignKysely: Database | undefined;
  #addresses: StoreAddresses;
  #broker: Lazy<Broker>;
  #store: Lazy<ActivityStore>;
  readonly #kit = new KitPlace();
  /** Settles once the tables are known to be there. */
  #migrated: Promise<void> | undefined;
  #queues: ProducerQueues;
  /** Queues that were used, or are served here. */
  readonly #known = new Set<string>();
  /** What the operator was told of. */
  readonly #warned = new Set<string>();
  #session = new AbortController();
  #contacts = { broker: new Contact(), database: new Contact() };
  #closed = false;

  /** Makes no connection. */
  constructor(options: StoreOptions) {
    this.#options = options;
    this.#addresses = new StoreAddresses(options);
    this.#broker = this.#lazyBroker();
    this.#store = this.#lazyStore();
    this.#queues = this.#queuesOf(this.#broker);
  }

  /** Says which module declares the tasks, where it is not the main module: the embedded stores stand beside it. */
  locate(entrypoint: URL): void {
    this.#addresses = new StoreAddresses({ ...this.#options, entrypoint });
  }

  /**
   * Where the broker is: in a worker its supervisor's, else what the option or the environment names, else embedded.
   *
   * @throws {ConfigError} If it is not configured, and the program may not run embedded.
   */
  get brokerAddress(): BrokerAddress {
    return this.#addresses.broker;
  }

  /** Where the database is, found in the same way. */
  get databaseAddress(): DatabaseAddress {
    return this.#addresses.database;
  }

  /** The folder of stores that are embedded; undefined where they are not. */
  get embeddedFolder(): string | undefined {
    return this.#addresses.embedded?.folder;
  }

  /** Whether the program makes the connections to its database itself. */
  get isForeign(): boolean {
    return this.#options.db !== undefined;
  }

  /** What an operator should know of stores that are embedded; undefined where they are not. */
  get embeddedNote(): string | undefined {
    const { embedded } = this.#addresses;
    return embedded === undefined ? undefined : describeEmbedded(embedded);
  }

  /** The prefix of the tables. */
  get tablePrefix(): string {
    return workerConnections()?.tablePrefix ?? this.#options.tablePrefix ?? CONF.tablePrefix;
  }

  /** Says that this program itself serves a queue, from now on. */
  serve(queueName: string): void {
    this.#known.add(queueName);
  }

  /** Whether a queue is used for the first time, and not served by this program itself. */
  isFirstUse(queueName: string): boolean {
    if (this.#kit.present !== undefined) return false;
    const first = !this.#known.has(queueName);
    this.#known.add(queueName);
    return first;
  }

  /** Whether the operator is to be told of this: the first time, and not if a test kit is attached. */
  mayWarn(topic: string): boolean {
    if (this.#kit.present !== undefined || this.#warned.has(topic)) return false;
    this.#warned.add(topic);
    return true;
  }

  /** The time in milliseconds of the Unix epoch, for what is shown. */
  now(): number {
    return this.#kit.present?.now() ?? wallClockMs();
  }

  /** Aborts when the present connections are closed: whoever waits on them must not wait on. */
  get session(): AbortSignal {
    return this.#session.signal;
  }

  /**
   * A queue, connected and known to be ours, for a producer: a broker that is away fails its calls within 2 s.
   *
   * @throws {ConnectionError} If the broker cannot be reached.
   * @throws {IncompatibleError} If the queue is another program's.
   */
  async queue(name: string): Promise<ProducerQueue> {
    this.#refuseClosed();
    return (await this.#queues.get(name)).queue;
  }

  /** The same for a supervisor, which would rather wait: its calls have the broker's own deadlines. */
  async ownQueue(name: string): Promise<Queue> {
    this.#refuseClosed();
    const queue = (await this.#broker.get()).queue(name);
    await queue.open();
    return queue;
  }

  /** The id of the broker that holds a queue, for the rows. */
  async brokerId(queueName: string): Promise<string> {
    this.#refuseClosed();
    return (await this.#queues.get(queueName)).brokerId;
  }

  /**
   * The same, asked for again: a broker that lost its data has another one. If it is away, the one that it had.
   *
   * @throws {ConnectionError} If the broker could never be reached.
   */
  async currentBrokerId(queueName: string): Promise<string> {
    this.#refuseClosed();
    return await this.#queues.brokerIdNow(queueName);
  }

  /** Whether a test kit's connections are in place of the client's own. */
  get isReplaced(): boolean {
    return this.#kit.present !== undefined;
  }

  /**
   * The database, connected and migrated.
   *
   * @throws {ConnectionError} If it cannot be reached.
   * @throws {MigrationError} If its tables are missing or of another version.
   */
  async activity(): Promise<ActivityStore> {
    const store = await this.activityUnchecked();
    this.#migrated ??= this.#seeToTables(store).catch((error) => {
      this.#migrated = undefined; // It may be migrated by the next call.
      throw error;
    });
    await this.#migrated;
    return store;
  }

  async #seeToTables(store: ActivityStore): Promise<void> {
    // Nobody else looks after an embedded database; a replacement has been seen to when it was opened.
    const embedded = this.#kit.present === undefined && this.#addresses.embedded !== undefined;
    await (embedded ? store.migrate() : store.checkMigrated());
  }

  /** The database, connected, whatever its tables: for `migrate()`. */
  async activityUnchecked(): Promise<ActivityStore> {
    this.#refuseClosed();
    try {
      return await this.#store.get();
    } catch (error) {
      throw await this.#explained(error);
    }
  }

  /** What Deno has to allow this process for its two stores. */
  get rights(): Rights {
    return rightsOf(this.#addresses);
  }

  /** The same for its database alone. */
  get databaseRights(): Rights {
    return databaseRightsOf(this.#addresses);
  }

  async #explained(error: unknown): Promise<unknown> {
    return this.#kit.present === undefined ? await explainDenial(error, this.#addresses) : error;
  }

  /**
   * A Kysely on the database for the program's own statements, one for the whole life of the client.
   *
   * @throws {AgentexecError} If the client was closed.
   */
  get database(): Database {
    this.#refuseClosed();
    const { db } = this.#options;
    const own = db === undefined || this.#kit.present !== undefined || isDeclaring();
    if (own) return this.#ownKysely.db;
    return this.#foreignKysely ??= db(this.databaseAddress.url);
  }

  /** How the program's own statements reach the database, as it is now; a worker is told after it evaluated the program. */
  #dialect(): Dialect | undefined {
    if (this.#kit.present !== undefined) return this.#kit.present.dialect;
    if (isDeclaring()) return undefined;
    return dialectOf(this.databaseAddress, {
      connections: OWN_CONNECTIONS,
      acquire: PROGRAM,
      onLongLock: warn,
    });
  }

  async #prepareDatabase(): Promise<void> {
    if (this.#kit.present !== undefined) await this.#kit.present.open();
    // Nobody else makes the tables of an embedded database.
    else if (this.#addresses.embedded !== undefined) await this.activity();
  }

  /** A store with what this client says of its tables, not connected yet. */
  makeStore(where: StoreLocation): ActivityStore {
    const { storeContext, metadataIndexes } = this.#options;
    const { address, db, now, contact } = where;
    return new ActivityStore({
      address,
      tablePrefix: this.tablePrefix,
      messages: activityMessages(),
      ...(db === undefined ? {} : { db }),
      ...(contact === undefined ? {} : { contact }),
      ...(now === undefined ? {} : { now }),
      ...(storeContext === undefined ? {} : { storeContext }),
      ...(metadataIndexes === undefined ? {} : { metadataIndexes }),
    });
  }

  /**
   * Keeps the connections for a pool that is to run, until {@linkcode Stores.disconnect}. May be called twice.
   *
   * @throws {AgentexecError} If a test kit is attached, or they were closed.
   */
  hold(): void {
    this.#refuseClosed();
    this.#kit.hold();
  }

  /**
   * Connects to both for a pool that is to run, again and again until they answer, the time is up, or the signal
   * aborts.
   *
   * @throws {ConnectionError} If one cannot be reached in time, or refuses for good.
   * @throws {AgentexecError} If a test kit is attached.
   */
  async connect(options: ConnectOptions): Promise<void> {
    this.hold();
    const stop = new AbortController();
    const signal = options.signal === undefined
      ? stop.signal
      : AbortSignal.any([stop.signal, options.signal]);
    const both = { ...options, giveUpAt: monotonicMs() + options.timeoutMs, signal };
    try {
      await Promise.all([
        keepTryingWith(this.#contacts.broker, {
          ...both,
          address: showBroker(this.brokerAddress),
          connect: () => this.#broker.get(),
        }),
        keepTryingWith(this.#contacts.database, {
          ...both,
          address: showDatabase(this.databaseAddress),
          connect: () => this.#store.get(),
        }),
      ]);
      options.signal?.throwIfAborted();
    } finally {
      // Where one gave up, the other need not go on.
      stop.abort();
    }
  }

  /**
   * Connects to the database alone, as patiently.
   *
   * @throws {ConnectionError} If it cannot be reached in time, or refuses for good.
   */
  async connectDatabase(
    { timeoutMs, listener }: {
      readonly timeoutMs: number;
      /** Makes who is told that it is away, and back. */
      readonly listener: (address: string) => ContactListener;
    },
  ): Promise<void> {
    this.#refuseClosed();
    if (this.#kit.present !== undefined) return;
    const address = showDatabase(this.databaseAddress);
    const contact = new Contact();
    contact.listen(listener(address));
    await keepTryingWith(contact, {
      address,
      connect: () => this.#store.get(),
      timeoutMs,
      giveUpAt: monotonicMs() + timeoutMs,
      signal: new AbortController().signal,
    });
  }

  /** Tells these when a store goes away and when it is back, until the connections are closed. */
  watch(listeners: { readonly broker: ContactListener; readonly database: ContactListener }): void {
    this.#contacts.broker.listen(listeners.broker);
    this.#contacts.database.listen(listeners.database);
  }

  /** Contact with the two stores. */
  get contacts(): readonly Contact[] {
    return Object.values(this.#contacts);
  }

  /** Closes the client's own connections; the next call makes them anew. */
  async disconnect(): Promise<void> {
    this.#kit.letGo();
    const database = this.#closeDatabase();
    if (this.#kit.present !== undefined) return await database; // A start that was refused: nothing of it is open.
    const [broker, store] = [this.#broker, this.#store];
    for (const contact of this.contacts) contact.listen(undefined);
    this.#contacts = { broker: new Contact(), database: new Contact() };
    this.#beginSession({ broker: this.#lazyBroker(), store: this.#lazyStore() });
    await Promise.all([broker.close(), store.close(), database]);
  }

  async #closeDatabase(): Promise<void> {
    const foreign = this.#foreignKysely;
    this.#foreignKysely = undefined;
    await Promise.all([this.#ownKysely.disconnect(), foreign?.destroy()]);
  }

  /** Closes the connections for good. May be called twice. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#kit.takeOut();
    await this.disconnect();
    this.#session.abort();
  }

  /**
   * Uses other connections from now on. What is open stays open beside them; whoever waits over it gets an
   * error.
   *
   * @returns Puts the client's own connections back, and closes none. May be called twice.
   * @throws {AgentexecError} If the connections were replaced already, or a running pool uses them.
   */
  replace(replacement: Replacement): () => void {
    this.#refuseClosed();
    const own = { broker: this.#broker, store: this.#store };
    return this.#kit.put(replacement, (connections) => this.#beginSession(connections ?? own));
  }

  /** Other connections than before: nothing that is known over the old ones holds for them. */
  #beginSession({ broker, store }: Connections): void {
    const session = this.#session;
    this.#session = new AbortController();
    this.#broker = broker;
    this.#store = store;
    this.#queues = this.#queuesOf(broker);
    this.#migrated = undefined;
    // The next statement goes to the other database. What is still open is closed in passing, or cut.
    this.#ownKysely.disconnect().catch(() => {});
    session.abort();
  }

  #refuseClosed(): void {
    if (this.#closed) throw new AgentexecError("Cannot use this client: it was closed");
  }

  #queuesOf(broker: Lazy<Broker>): ProducerQueues {
    return new ProducerQueues({
      broker,
      address: () => this.#kit.present === undefined ? this.brokerAddress : undefined,
      explained: (error) => this.#explained(error),
    });
  }

  #lazyBroker(): Lazy<Broker> {
    return new Lazy<Broker>({
      make: () => this.#makeBroker(),
      connect: (broker) => broker.connect(),
      address: () => showBroker(this.brokerAddress),
    });
  }

  #lazyStore(): Lazy<ActivityStore> {
    return new Lazy<ActivityStore>({
      make: () => this.#makeStore(),
      connect: (store) => store.connect(),
      address: () => showDatabase(this.databaseAddress),
      attemptMs: () => connectMsOf(this.databaseAddress) + 1_000,
    });
  }

  #makeBroker(): Broker {
    this.#prepare();
    const contact = this.#contacts.broker;
    return openBroker(this.brokerAddress, { clientName: "agentexec", contact });
  }

  #makeStore(): ActivityStore {
    this.#prepare();
    const contact = this.#contacts.database;
    return this.makeStore({ address: this.databaseAddress, db: this.#options.db, contact });
  }

  #prepare(): void {
    const { embedded } = this.#addresses;
    if (embedded !== undefined) prepareEmbedded(embedded);
  }
}

/** How long the address allows for connecting; 0 if it does not say. */
function connectMsOf(address: DatabaseAddress): number {
  return address.kind === "postgres" ? address.connectMs ?? 0 : 0;
}
