/**
 * What the library itself writes of a task, and reads back: the rows behind the activities.
 *
 * @module
 */
import type { Counters } from "../task/counters.ts";
import type { ActivityFailure, ActivityKind, ActivityStatus } from "./activity.ts";

/** A row to be made for a task. */
export interface NewTaskRow {
  /** The task's id. */
  readonly agentId: string;
  /** The task's name. */
  readonly taskName: string;
  /** The queue it will wait in. */
  readonly queue: string;
  /** The broker's id. */
  readonly brokerId: string;
  /** The context's JSON; null where it takes none or is not to be stored. */
  readonly context: string | null;
  /** The metadata's JSON: an object. */
  readonly metadata: string;
  /** When it is due; undefined for at once. */
  readonly runAt?: Date;
  /** The task below whose handler it was enqueued. */
  readonly parentId?: string;
}

/** What became of a row to be made. */
export type InsertOutcome =
  /** It was made (or opened again, where a row of that id was never accepted). */
  | { readonly kind: "inserted" }
  /** There is one with the same task, context, queue and broker. */
  | { readonly kind: "same"; readonly status: ActivityStatus; readonly token: string }
  /** There is one with the same task, context and queue, and another broker; it was left as it is. */
  | { readonly kind: "elsewhere"; readonly brokerId: string }
  /** The id is taken by another task or context, by a record, or in another queue, which is then named. */
  | { readonly kind: "conflict"; readonly taskName: string; readonly queue?: string }
  /** Another transaction that has not ended makes, deletes or keeps a row of the id. */
  | { readonly kind: "locked" };

/** A row's state, as far as the fence goes. */
export interface RowState {
  /** Its status. */
  readonly status: ActivityStatus;
  /** Its token. */
  readonly token: string;
}

/** What is to be written of a task's life. */
export interface ActivityWrite {
  /** The task. */
  readonly agentId: string;
  /** The token of the transition; a row with a newer one refuses it. */
  readonly token: string;
  /** The status it comes to; undefined for progress alone, which needs a running row of this very token. */
  readonly status?: ActivityStatus;
  /** The message of row and log. */
  readonly message?: string;
  /** The percentage of row and log. */
  readonly percentage?: number;
  /** The result's JSON. */
  readonly result?: string;
  /** What went wrong. */
  readonly error?: string;
  /** The same in parts. */
  readonly failure?: ActivityFailure;
  /** Counters that changed. */
  readonly counters?: Partial<Counters>;
  /**
   * The message, without a status, is the last under this token: how an attempt failed that is to be tried again.
   * There is one such line, however often it is written, and by whomever.
   */
  readonly closesAttempt?: true;
}

/**
 * What became of a write: `written` (also if the very same write had been there already, if newer progress went out in
 * place of this one, and if its texts had to be replaced by words of ASCII that say so), `refused` by what the row
 * says, `missing` if there is no row, or `invalid` if the database refuses it in any words: for its values
 * (`data`), or by a rule such as a constraint, a trigger or a missing right (`rule`), which may let it pass later. Then
 * nothing was changed.
 */
export type WriteOutcome =
  | { readonly kind: "written" }
  | { readonly kind: "refused"; readonly row: RowState }
  | { readonly kind: "missing" }
  | { readonly kind: "invalid"; readonly of: "data" | "rule"; readonly reason: string };

/** What came of a task. */
export type TaskResultRow = Pick<
  TaskRow,
  "agentId" | "taskName" | "status" | "result" | "error"
>;

/** A task's row, as far as the library itself needs it. */
export interface TaskRow extends RowState, Counters {
  /** Its id. */
  readonly agentId: string;
  /** Its name. */
  readonly taskName: string;
  /** Its queue. */
  readonly queue: string | null;
  /** The broker that holds it; null if that was not noted. */
  readonly brokerId: string | null;
  /** Its kind. */
  readonly kind: ActivityKind;
  /** The context's JSON; null where it takes none or it is not stored. */
  readonly context: string | null;
  /** The result's JSON; null where there is none. */
  readonly result: string | null;
  /** What went wrong. */
  readonly error: string | null;
  /** The newest message. */
  readonly message: string | null;
  /** How far it says it is. */
  readonly percentage: number | null;
  /** The metadata's JSON. */
  readonly metadata: string;
  /** When it is due. */
  readonly runAt: Date | null;
}
