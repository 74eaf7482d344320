/**
 * Messages: rows of a table that holds the last of them, read on by whoever listens.
 *
 * @module
 */
import type { SubscribeOptions, Topic, Unsubscribe } from "../broker.ts";
import type { Changes } from "./changes.ts";
import type { DatabaseFile } from "./database_file.ts";
import type { Transaction } from "./transaction.ts";

/** How many messages are kept, and how many characters of them: who listens reads within milliseconds. */
const KEEP = 4_096;
const KEEP_CHARS = 8 * 1024 * 1024;
/** How many more may stand there before the oldest are deleted. */
const SLACK = 64;

/** The channel of a topic. */
export function channelOf(queue: string, topic: Topic): string {
  switch (topic.kind) {
    case "log":
    case "stop":
      return `${queue}:${topic.kind}:${topic.supervisorId}`;
    case "ended":
    case "progress":
      return `${queue}:${topic.kind}:${topic.id}`;
  }
}

/** Writes a message, and deletes the oldest where there are too many. */
export function putMessage(transaction: Transaction, channel: string, body: string): void {
  const last = transaction.get<{ seq: number; total: number }>(
    "select seq, total from agentexec_broker_message order by seq desc limit 1",
  );
  const total = (last?.total ?? 0) + body.length;
  transaction.run(
    "insert into agentexec_broker_message (channel, body, total) values (?, ?, ?)",
    channel,
    body,
    total,
  );
  const seq = (last?.seq ?? 0) + 1;
  if (seq % SLACK === 0 || body.length > KEEP_CHARS / SLACK) deleteOld(transaction, { seq, total });
}

function deleteOld(
  transaction: Transaction,
  { seq, total }: { readonly seq: number; readonly total: number },
): void {
  transaction.run("delete from agentexec_broker_message where seq <= ?", seq - KEEP);
  for (;;) {
    const oldest = transaction.get<{ seq: number; total: number }>(
      "select seq, total from agentexec_broker_message order by seq limit 1",
    );
    // The newest one stays, however long it is.
    if (oldest === undefined || oldest.seq >= seq || oldest.total > total - KEEP_CHARS) return;
    transaction.run("delete from agentexec_broker_message where seq = ?", oldest.seq);
  }
}

interface Listener extends SubscribeOptions {
  /** The last message that was written before it listened. */
  readonly from: number;
}

/** The subscriptions of one process. */
export class Subscriptions {
  readonly #file: DatabaseFile;
  readonly #changes: Changes;
  readonly #channels = new Map<string, Set<Listener>>();
  /** The last message that was read. */
  #cursor = 0;
  #stopListening: (() => void) | undefined;

  /** Listens to nothing yet. */
  constructor(file: DatabaseFile, changes: Changes) {
    this.#file = file;
    this.#changes = changes;
  }

  /** Listens from now on. */
  async subscribe(channel: string, options: SubscribeOptions): Promise<Unsubscribe> {
    const listener = await this.#file.read(`listen on '${channel}'`, (transaction) => {
      const last = lastSeq(transaction);
      if (this.#channels.size === 0) this.#cursor = last;
      // What was written before is for those who listened before.
      const listener = { ...options, from: last };
      this.#add(channel, listener);
      return listener;
    });
    this.#stopListening ??= this.#changes.listen(() => this.#deliver());
    // What was written between the read and the listening.
    this.#deliver();
    return () => Promise.resolve(this.#remove(channel, listener));
  }

  #add(channel: string, listener: Listener): void {
    const listeners = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, listeners.add(listener));
  }

  #remove(channel: string, listener: Listener): void {
    const listeners = this.#channels.get(channel);
    if (listeners?.delete(listener) !== true || listeners.size > 0) return;
    this.#channels.delete(channel);
    if (this.#channels.size > 0) return;
    this.#stopListening?.();
    this.#stopListening = undefined;
  }

  #deliver(): void {
    if (this.#channels.size === 0) return;
    try {
      const news = this.#file.readNow((transaction) => this.#readOn(transaction));
      // Beside the reading: who listens may read as well, and what it throws is not for whoever has just written.
      if (news.length > 0) queueMicrotask(() => tellAll(news));
    } catch {
      // A file that cannot be read now is read at the next change, or the next look; a message is a hint, and the calls
      // that matter say what is wrong.
    }
  }

  /** What is new, as calls of those who listen. */
  #readOn(transaction: Transaction): readonly (() => void)[] {
    // Chosen here and not by SQLite: there may be thousands of channels, and it would be told of each every time.
    const rows = transaction.all<{ seq: number; channel: string }>(
      "select seq, channel from agentexec_broker_message where seq > ? order by seq",
      this.#cursor,
    );
    const news = rows.flatMap(({ seq, channel }) => {
      const listeners = this.#channels.get(channel);
      if (listeners === undefined) return [];
      const body = bodyOf(transaction, seq);
      return [...listeners].filter(({ from }) => seq > from).map((listener) => () => {
        if (listeners.has(listener)) listener.onMessage(body);
      });
    });
    if (this.#hasMissed(transaction)) {
      for (const listeners of this.#channels.values()) {
        for (const { onReconnect } of listeners) {
          if (onReconnect !== undefined) news.push(onReconnect);
        }
      }
    }
    this.#cursor = Math.max(this.#cursor, lastSeq(transaction));
    return news;
  }

  /** Whether messages were deleted before they were read here. */
  #hasMissed(transaction: Transaction): boolean {
    const oldest = transaction.get<{ seq: number }>(
      "select seq from agentexec_broker_message order by seq limit 1",
    );
    return oldest !== undefined && oldest.seq > this.#cursor + 1;
  }
}

function tellAll(news: readonly (() => void)[]): void {
  for (const tell of news) tell();
}

function bodyOf(transaction: Transaction, seq: number): string {
  const sql = "select body from agentexec_broker_message where seq = ?";
  return transaction.get<{ body: string }>(sql, seq)?.body ?? "";
}

function lastSeq(transaction: Transaction): number {
  const row = transaction.get<{ seq: number }>(
    "select seq from agentexec_broker_message order by seq desc limit 1",
  );
  return row?.seq ?? 0;
}
