/**
 * The activity store of one process: every read and write of activities goes through it.
 *
 * @module
 */
import { v7 as uuid } from "uuid";
import type { DatabaseAddress } from "../addresses.ts";
import type { ActivityMessages } from "../config.ts";
import { ConnectionError } from "../errors.ts";
import type { Contact } from "../contact.ts";
import type { Database } from "../task/context.ts";
import type {
  ActivityDetail,
  ActivityDetailOptions,
  ActivityFilter,
  ActivityListOptions,
  ActivityMetrics,
  ActivityMetricsOptions,
  ActivityPage,
  MetadataFilter,
} from "./activity.ts";
import type {
  ActivityWrite,
  InsertOutcome,
  NewTaskRow,
  RowState,
  TaskResultRow,
  TaskRow,
  WriteOutcome,
} from "./rows.ts";
import {
  type BrokerUse,
  type KnownBrokers,
  noteBrokersSeen,
  noteBrokerUse,
  readBrokers,
} from "./brokers.ts";
import { RowsLocked, toConnectionError } from "./failure.ts";
import { checkMetadataKey, meetsMetadata } from "./filters.ts";
import { insertTasks } from "./insert.ts";
import { readMetrics } from "./metrics.ts";
import { checkMigrated, migrate } from "./migrator.ts";
import { listActivities } from "./pages.ts";
import { countActivities, readDetail } from "./queries.ts";
import { changeRecord, createRecord, type NewRecordRow, type RecordChange } from "./records.ts";
import { RowReader } from "./row_reader.ts";
import { ActivityDatabase } from "./database.ts";
import {
  cancelRows,
  type LiveTask,
  liveTasks,
  type LiveTasksOptions,
  moveTasks,
  readResults,
  readTasks,
  refuseTasks,
} from "./tasks.ts";
import { type WriteOptions, Writer } from "./writer.ts";

/** What a store is made from. */
export interface ActivityStoreOptions {
  /** Where the database is. */
  readonly address: DatabaseAddress;
  /** Makes the Kysely instance in place of the library. */
  readonly db?: (url: string) => Database;
  /** The prefix of the tables. */
  readonly tablePrefix: string;
  /**
   * Told whether the database can be reached; one in a file always can.
   *
   * @default {undefined} (nobody is told)
   */
  readonly contact?: Contact | undefined;
  /** The library's own messages. */
  readonly messages: ActivityMessages;
  /**
   * How many connections at most.
   *
   * @default {1}
   */
  readonly connections?: number;
  /**
   * Members of the metadata that get an index.
   *
   * @default {[]}
   */
  readonly metadataIndexes?: readonly string[];
  /**
   * Whether rows keep the context.
   *
   * @default {true}
   */
  readonly storeContext?: boolean;
  /**
   * The time that rows and lines get, in milliseconds of the Unix epoch. SQLite alone: on Postgres times
   * are always the server's, of which there is one for all processes.
   *
   * @default {undefined} (the database's own clock)
   */
  readonly now?: () => number;
}

/** How a record is brought on. */
export interface RecordProgress {
  /** The message. */
  readonly message?: string | undefined;
  /** How far it is, 0 to 100. */
  readonly percentage?: number | undefined;
}

/** The activity store of one process. Trouble with the connection is a `ConnectionError` everywhere. */
export class ActivityStore {
  readonly #database: ActivityDatabase;
  readonly #writer: Writer;
  readonly #rows = new RowReader((ids) => this.readRows(ids));
  readonly #messages: ActivityMessages;
  readonly #storeContext: boolean;
  readonly #metadataIndexes: readonly string[];
  #closed: Promise<void> | undefined;

  /** Makes no connection. */
  constructor(options: ActivityStoreOptions) {
    this.#database = new ActivityDatabase(options);
    this.#writer = new Writer(this.#database);
    this.#messages = options.messages;
    this.#storeContext = options.storeContext ?? true;
    this.#metadataIndexes = options.metadataIndexes ?? [];
    for (const key of this.#metadataIndexes) checkMetadataKey(key, "index metadata");
  }

  /** The address as it may be shown. */
  get address(): string {
    return this.#database.address;
  }

  /** The Kysely on the store's own connection. */
  database(): Database {
    return this.#database.db;
  }

  /** Makes sure that the server answers and is new enough. */
  connect(): Promise<void> {
    return this.#database.connect();
  }

  /** Brings the tables up to this version. */
  migrate(): Promise<void> {
    return this.#database.migrating(({ db, address, dialect, prefix }) =>
      migrate({ db, address, dialect, prefix, metadataIndexes: this.#metadataIndexes })
    );
  }

  /** Makes sure that the tables are there and this version may use them. */
  checkMigrated(): Promise<void> {
    return this.#retrying("look at the schema", () => checkMigrated(this.#database));
  }

  /** Writes what gathered, and closes the connection; takes at most a second. */
  close(): Promise<void> {
    return this.#closed ??= this.#writer.close().then(() => this.#database.close());
  }

  /**
   * Makes the rows of tasks that are about to be pushed, in the order given. One that another transaction has in hand
   * is tried for two seconds, and is then `locked`.
   */
  async insertTasks(rows: readonly NewTaskRow[]): Promise<readonly InsertOutcome[]> {
    const kept = this.#storeContext ? rows : rows.map((row) => ({ ...row, context: null }));
    const outcomes: InsertOutcome[] = rows.map(() => ({ kind: "locked" }));
    await this.#whileLocked("insert tasks", [...rows.keys()], async (places) => {
      const some = places.flatMap((place) => kept[place] ?? []);
      const made = await insertTasks(this.#database, some, this.#messages.create);
      for (const [at, place] of places.entries()) outcomes[place] = made[at] ?? { kind: "locked" };
      return places.filter((place) => outcomes[place]?.kind === "locked");
    });
    return outcomes;
  }

  /** Marks tasks whose push failed; returns those that nobody had taken up. */
  async refuse(ids: readonly string[]): Promise<readonly string[]> {
    const refused: string[] = [];
    const left = await this.#whileLocked("refuse tasks", ids, async (some) => {
      const { changed, skipped } = await refuseTasks(this.#database, some);
      refused.push(...changed);
      return skipped;
    });
    if (left.length > 0) throw this.#locked("refuse tasks", left);
    return refused;
  }

  /** Notes that a broker holds tasks that another one held. */
  moveTasks(
    ids: readonly string[],
    brokers: { readonly from: string; readonly to: string },
  ): Promise<void> {
    return this.#retrying("move tasks", () => moveTasks(this.#database, ids, brokers));
  }

  /** Writes of a task's life, grouped with others; tried again until it is answered or the signal aborts. */
  write(write: ActivityWrite, options: WriteOptions = {}): Promise<WriteOutcome> {
    return this.#writer.write(write, options);
  }

  /**
   * One row, read together with those that others ask for at the same time; undefined if there is none, or its metadata
   * is another's (another tenant's).
   */
  async readRow(
    id: string,
    { metadata }: { readonly metadata?: MetadataFilter | undefined } = {},
  ): Promise<TaskRow | undefined> {
    const row = await this.#rows.read(id);
    if (row === undefined || metadata === undefined) return row;
    return meetsMetadata(row.metadata, metadata) ? row : undefined;
  }

  /** Rows; those that are not there are left out. */
  readRows(ids: readonly string[]): Promise<readonly TaskRow[]> {
    return this.#retrying("read tasks", () => readTasks(this.#database, ids));
  }

  /** What came of tasks, in one query; those that are not there are left out. */
  readResults(ids: readonly string[]): Promise<readonly TaskResultRow[]> {
    return this.#retrying("read results", () => readResults(this.#database, ids));
  }

  /** A page of activities, newest first. */
  list(options: ActivityListOptions = {}): Promise<ActivityPage> {
    return this.#retrying("list activities", () => listActivities(this.#database, options));
  }

  /** One activity with its log; undefined where there is none. */
  detail(id: string, options: ActivityDetailOptions = {}): Promise<ActivityDetail | undefined> {
    return this.#retrying("read an activity", () => readDetail(this.#database, id, options));
  }

  /** How many there are, counted to 10,000. */
  count(filter: ActivityFilter = {}): Promise<number> {
    return this.#retrying("count activities", () => countActivities(this.#database, filter));
  }

  /** How many have not ended, counted to 10,000. */
  countActive(filter: Omit<ActivityFilter, "status"> = {}): Promise<number> {
    return this.count({ ...filter, status: ["queued", "running"] });
  }

  /** Counts and times per task name. */
  metrics(options: ActivityMetricsOptions = {}): Promise<ActivityMetrics> {
    return this.#retrying("read metrics", () => readMetrics(this.#database, options));
  }

  /** Makes a record of the program's own, under a new id if it brings none; returns the id. */
  createRecord(record: Omit<NewRecordRow, "agentId"> & { agentId?: string }): Promise<string> {
    const made = { message: this.#messages.create, agentId: uuid(), ...record };
    return this.#retrying("create an activity", () => createRecord(this.#database, made));
  }

  /** Brings a record on. */
  updateRecord(id: string, progress: RecordProgress): Promise<void> {
    return this.#change(id, { ...progress, status: "running" });
  }

  /** Ends a record well. */
  completeRecord(
    id: string,
    message?: string,
    { percentage }: Pick<RecordProgress, "percentage"> = {},
  ): Promise<void> {
    return this.#change(id, {
      status: "complete",
      message: message ?? this.#messages.complete,
      percentage: percentage ?? 100,
    });
  }

  /** Ends a record in an error. */
  failRecord(
    id: string,
    error: string,
    { percentage }: Pick<RecordProgress, "percentage"> = {},
  ): Promise<void> {
    return this.#change(id, {
      percentage,
      status: "error",
      message: this.#messages.error.replaceAll("{error}", () => error),
      error,
    });
  }

  /** Cancels a task that waits; says what else it is. */
  async cancelRow(id: string, token: string): Promise<"canceled" | RowState | undefined> {
    let outcome: "canceled" | RowState | undefined;
    const left = await this.#whileLocked("cancel a task", [id], async (ids) => {
      const { changed, rows: [row], skipped } = await cancelRows(this.#database, ids, token, {
        from: "queued",
      });
      outcome = changed.length > 0 ? "canceled" : row && { status: row.status, token: row.token };
      return skipped;
    });
    if (left.length > 0) throw this.#locked("cancel a task", left);
    return outcome;
  }

  /**
   * Cancels tasks that wait, or that wait or run; returns those that were canceled. A row that another transaction
   * holds locked for two seconds is left as it is.
   */
  async cancelRows(
    ids: readonly string[],
    token: string,
    options: { readonly from: "queued" | "live" },
  ): Promise<readonly string[]> {
    const canceled: string[] = [];
    await this.#whileLocked("cancel tasks", ids, async (some) => {
      const { changed, skipped } = await cancelRows(this.#database, some, token, options);
      canceled.push(...changed);
      return skipped;
    });
    return canceled;
  }

  /** A page of the tasks of a queue that have not ended, by id. */
  liveTasks(options: LiveTasksOptions): Promise<readonly LiveTask[]> {
    return this.#retrying("read live tasks", () => liveTasks(this.#database, options));
  }

  /** Notes that a broker is used now. Tried once: whoever says it says it again in a minute. */
  noteBrokerUse(use: BrokerUse): Promise<void> {
    return this.#database.call("note the broker's use", () => noteBrokerUse(this.#database, use));
  }

  /** Notes brokers of which nobody has said anything, as used now. */
  noteBrokersSeen(queue: string, ids: readonly string[]): Promise<void> {
    return this.#retrying("note brokers", () => noteBrokersSeen(this.#database, queue, ids));
  }

  /** The brokers that hold a queue, or held it. */
  readBrokers(queue: string): Promise<KnownBrokers> {
    return this.#retrying("read brokers", () => readBrokers(this.#database, queue));
  }

  #change(id: string, change: Omit<RecordChange, "again">): Promise<void> {
    // A second try that finds the record ended in the same way finds the work of the first.
    let tries = 0;
    return this.#retrying(
      "change an activity",
      () => changeRecord(this.#database, id, { ...change, again: tries++ > 0 }),
    );
  }

  /**
   * Acts on all that it can, and again for two seconds on what it is told that other transactions hold locked. Returns
   * what they then still hold.
   */
  async #whileLocked<T>(
    doing: string,
    all: readonly T[],
    act: (some: readonly T[]) => Promise<readonly T[]>,
  ): Promise<readonly T[]> {
    let left = all;
    try {
      await this.#retrying(doing, async () => {
        left = await act(left);
        if (left.length > 0) throw new RowsLocked(left.map(String));
      });
    } catch (error) {
      if (!(error instanceof ConnectionError && error.cause instanceof RowsLocked)) throw error;
    }
    return left;
  }

  #locked(doing: string, ids: readonly string[]): unknown {
    return toConnectionError(new RowsLocked(ids), doing, this.address);
  }

  #retrying<T>(doing: string, body: () => Promise<T>): Promise<T> {
    return this.#database.retrying(doing, body);
  }
}
