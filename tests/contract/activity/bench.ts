/**
 * What the tests of the contract stand on.
 *
 * @module
 */
import { type RawBuilder, sql } from "kysely";
import { v7 as uuid } from "uuid";
import type { ActivityDetail } from "../../../src/activity/activity.ts";
import type { ActivityWrite, NewTaskRow, WriteOutcome } from "../../../src/activity/rows.ts";
import { ActivityStore, type ActivityStoreOptions } from "../../../src/activity/store.ts";
import type { DatabaseAddress } from "../../../src/addresses.ts";
import type { Database } from "../../../src/task/context.ts";
import { assertTrue } from "../../support/assert.ts";

/** An empty database. */
export interface ActivityGround extends AsyncDisposable {
  /** Where it is. */
  readonly address: DatabaseAddress;
  /** Makes the connection instead of the library. */
  readonly db?: (url: string) => Database;
}

/** One database and how the tests get it. */
export interface ActivityContract {
  /** The beginning of each test's name. */
  readonly name: string;
  /** Makes an empty database. */
  ground(): Promise<ActivityGround>;
}

/** A store on a database of its own. */
export class Bench implements AsyncDisposable {
  /** The database. */
  readonly ground: ActivityGround;
  /** The store that most tests use. */
  readonly store: ActivityStore;
  readonly #stores: ActivityStore[] = [];

  private constructor(ground: ActivityGround, options: Partial<ActivityStoreOptions>) {
    this.ground = ground;
    this.store = this.another(options);
  }

  /** A migrated store. */
  static async make(
    contract: ActivityContract,
    options: Partial<ActivityStoreOptions> = {},
  ): Promise<Bench> {
    const bench = await Bench.bare(contract, options);
    await bench.store.migrate();
    return bench;
  }

  /** A store on an empty database. */
  static async bare(
    contract: ActivityContract,
    options: Partial<ActivityStoreOptions> = {},
  ): Promise<Bench> {
    return new Bench(await contract.ground(), options);
  }

  /** Another store on the same database, as another process has it. */
  another(options: Partial<ActivityStoreOptions> = {}): ActivityStore {
    const store = new ActivityStore({
      address: this.ground.address,
      ...(this.ground.db === undefined ? {} : { db: this.ground.db }),
      tablePrefix: "agentexec_",
      messages: MESSAGES,
      ...options,
    });
    this.#stores.push(store);
    return store;
  }

  /** Makes the row of a task; gives its id. */
  async task(given: Partial<NewTaskRow> = {}): Promise<string> {
    const row = newRow(given);
    const [outcome] = await this.store.insertTasks([row]);
    assertTrue(outcome?.kind === "inserted");
    return row.agentId;
  }

  /** Makes the row of a task that runs under a token. */
  async running(token: string, given: Partial<NewTaskRow> = {}): Promise<string> {
    const agentId = await this.task(given);
    assertTrue((await this.write({ agentId, token, status: "running" })).kind === "written");
    return agentId;
  }

  /** Makes the row of a task that failed by an error of this name. */
  async failed(name: string): Promise<string> {
    const agentId = await this.running("1");
    const failure = { name, message: "m", stack: null };
    await this.write({ agentId, token: "1", status: "error", error: `${name}: m`, failure });
    return agentId;
  }

  /** Makes an activity look as if it was made at that time. */
  async createdAt(id: string, time: string): Promise<void> {
    await this.#set(id, ["created_at"], time);
  }

  /** Makes all times of an activity lie in the past. */
  async backdate(id: string): Promise<void> {
    const columns = ["created_at", "queued_at", "started_at", "updated_at"];
    await this.#set(id, columns, "2026-01-01T00:00:00.000Z");
  }

  async #set(id: string, columns: readonly string[], time: string): Promise<void> {
    const value = this.ground.address.kind === "postgres"
      ? sql`cast(${time}::text as timestamptz)`
      : sql`${time}`;
    const changes = sql.join(columns.map((column) => sql`${sql.ref(column)} = ${value}`));
    await this.sql(sql`update agentexec_activity set ${changes} where agent_id = ${id}`);
  }

  /** Writes. */
  async write(write: ActivityWrite): Promise<WriteOutcome> {
    return await this.store.write(write);
  }

  /** All there is of an activity. */
  async detail(id: string): Promise<ActivityDetail> {
    const detail = await this.store.detail(id);
    assertTrue(detail !== undefined, `there is no activity ${id}`);
    return detail;
  }

  /** The log of an activity, as `status: message`. */
  async log(id: string): Promise<readonly string[]> {
    return (await this.detail(id)).log.map(({ status, message }) => `${status}: ${message}`);
  }

  /** Runs SQL of the test's own. */
  async sql(query: RawBuilder<unknown>): Promise<readonly unknown[]> {
    return (await query.execute(this.store.database())).rows;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#stores.map((store) => store.close()));
    await this.ground[Symbol.asyncDispose]();
  }
}

/** The messages of the stores. */
export const MESSAGES = {
  create: "Waiting",
  started: "Started",
  complete: "Completed",
  error: "Failed: {error}",
} as const;

/** The row of a task that nobody has made yet. */
export function newRow(given: Partial<NewTaskRow> = {}): NewTaskRow {
  return {
    agentId: uuid(),
    taskName: "research",
    queue: "q",
    brokerId: "b",
    context: '{"company":"Acme"}',
    metadata: "{}",
    ...given,
  };
}
