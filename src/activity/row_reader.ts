/**
 * Reads the rows of many who wait: what is asked in one turn, or while a statement is under way, goes out
 * together, so that thousands of handles and runs cost few statements and a single one waits for nobody.
 *
 * @module
 */
import type { TaskRow } from "./rows.ts";

/** Reads rows by their ids, in any order, those that there are. */
export type ReadRows = (ids: readonly string[]) => Promise<readonly TaskRow[]>;

/** Rows hold contexts and results of up to a MiB each, so that a statement must not ask for too many. */
const ROWS_AT_ONCE = 50;

interface Asked {
  readonly id: string;
  readonly resolve: (row: TaskRow | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/** Gathers reads of single rows into few statements. */
export class RowReader {
  readonly #readRows: ReadRows;
  #waiting: Asked[] = [];
  #reading: Promise<void> | undefined;

  /** Reads by `readRows`. */
  constructor(readRows: ReadRows) {
    this.#readRows = readRows;
  }

  /** The row as it is at some moment after this call; undefined where there is none. */
  read(id: string): Promise<TaskRow | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ id, resolve, reject });
      this.#reading ??= this.#readAll();
    });
  }

  async #readAll(): Promise<void> {
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      const asked = this.#waiting.slice(0, ROWS_AT_ONCE);
      this.#waiting = this.#waiting.slice(ROWS_AT_ONCE);
      try {
        const rows = await this.#readRows([...new Set(asked.map((each) => each.id))]);
        const byId = new Map(rows.map((row) => [row.agentId, row]));
        for (const { id, resolve } of asked) resolve(byId.get(id));
      } catch (error) {
        for (const { reject } of asked) reject(error);
      }
    }
    this.#reading = undefined;
  }
}
