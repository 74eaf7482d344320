/**
 * An SQLite file as the ground of the broker contract.
 *
 * @module
 */
import { parseBrokerUrl } from "../../src/addresses.ts";
import { openBroker } from "../../src/broker/open_broker.ts";
import type { BrokerContract } from "../contract/broker_contract.ts";
import { stepClock } from "../support/clock_steps.ts";
import { auditSqlite, rawSqlite } from "./sqlite_audit.ts";

const TABLES_OF_A_QUEUE = [
  ["queue", "name"],
  ["task", "queue"],
  ["supervisor", "queue"],
  ["worker", "queue"],
  ["ready", "queue"],
  ["formerly", "queue"],
] as const;

/** The contract on a new file each time. */
export function sqliteContract(name: string): BrokerContract {
  return {
    name,
    losesTasks: false,
    async open() {
      const dir = await Deno.makeTempDir({ prefix: "agentexec-sqlite-" });
      const path = `${dir}/broker.db`;
      const url = `sqlite:${path}`;
      return {
        url,
        broker: () => openBroker(parseBrokerUrl({ value: url, source: "the test" })),
        loseTask: () => Promise.reject(new TypeError("A row has no id without its task")),
        loseQueue(queue) {
          using database = rawSqlite(path);
          for (const [table, column] of TABLES_OF_A_QUEUE) {
            database.prepare(`delete from agentexec_broker_${table} where ${column} = ?`)
              .run(queue);
          }
          return Promise.resolve();
        },
        stepClock: (queue, ms) => stepClock(url, queue, ms),
        audit(queue) {
          using database = rawSqlite(path);
          auditSqlite(database, queue);
          return Promise.resolve();
        },
        [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
      };
    },
  };
}
