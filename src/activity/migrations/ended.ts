/**
 * An index over the ends of activities: metrics ask for those of the last hour.
 *
 * @module
 */
import { sql } from "kysely";
import type { Migration } from "./migration.ts";

/** The index over the ends. */
export const ended: Migration = {
  id: 2,
  name: "ended",
  oldest: 1,
  tables: [],
  async up({ db, prefix }) {
    await db.schema.createIndex(`${prefix}activity_ended`).on(`${prefix}activity`)
      .column("ended_at")
      .where(sql.ref("ended_at"), "is not", null)
      .execute();
  },
};
