/**
 * The records that wait to be sent, in their order, each with its number.
 *
 * @module
 */

/** One record that waits. */
export interface Entry {
  /** The record, encoded. */
  readonly json: string;
  /** Its bytes, with the comma that parts it from the next one. */
  readonly bytes: number;
}

/** Below this, what was taken is not worth clearing away. */
const FEW = 64;

/** Records in their order: taken at one end, and taken or dropped at the other. */
export class RecordQueue {
  #entries: Entry[] = [];
  /** Where the oldest stands: taking it moves this, and nothing else. */
  #head = 0;
  #bytes = 0;
  #nextSeq = 0;

  /** The bytes of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many they are. */
  get size(): number {
    return this.#entries.length - this.#head;
  }

  /** The number of the next record: each that ever came has the next one. */
  get nextSeq(): number {
    return this.#nextSeq;
  }

  /** The number of the oldest, or of the next record where there is none. */
  get firstSeq(): number {
    return this.#nextSeq - this.size;
  }

  /** Takes a record in. */
  push(entry: Entry): void {
    this.#entries.push(entry);
    this.#bytes += entry.bytes;
    this.#nextSeq++;
  }

  /** Takes the oldest out, as many as fit into `bytes`, at least one where there is one. */
  takeUpTo(bytes: number): Entry[] {
    const taken: Entry[] = [];
    let sum = 0;
    for (let entry = this.#entries[this.#head]; entry; entry = this.#entries[this.#head]) {
      sum += entry.bytes;
      if (taken.length > 0 && sum > bytes) break;
      taken.push(entry);
      this.dropOldest();
    }
    return taken;
  }

  /** Takes all out. */
  takeAll(): Entry[] {
    const taken = this.#entries.slice(this.#head);
    this.#entries = [];
    this.#head = 0;
    this.#bytes = 0;
    return taken;
  }

  /** Takes the oldest out, for nothing. */
  dropOldest(): void {
    const oldest = this.#entries[this.#head];
    if (oldest === undefined) return;
    this.#bytes -= oldest.bytes;
    this.#head++;
    if (this.#head * 2 > this.#entries.length && this.#head > FEW) {
      this.#entries = this.#entries.slice(this.#head);
      this.#head = 0;
    }
  }
}
