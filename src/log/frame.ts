/**
 * What travels from a worker to its supervisor: log records in frames. A frame comes from a process that
 * runs foreign code, so reading one trusts nothing: what is no frame is `undefined`, never an exception.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { isLogLevel, type LogLevel, type LogRecord } from "@logtape/logtape";
import { decodeMembers, decodeValue, encodeMembers, encodeValue, type Json } from "./values.ts";

/** The version of the format. */
export const FRAME_VERSION = 1;
/** The most bytes that a publisher puts into one frame. */
export const MAX_FRAME_BYTES = 64 * 1024;
/** The most bytes that a relay reads. */
export const MAX_RECEIVED_BYTES = 1024 * 1024;
/** The most bytes of one record, so that it fits into a frame with room for the frame's own words. */
export const MAX_RECORD_BYTES = 56 * 1024;

/** The characters that a record may spend at first; a quarter of that where it came out too large. */
const RECORD_BUDGET = 48 * 1024;
const MAX_CATEGORY_PARTS = 32;
const MAX_CATEGORY_CHARS = 256;
const MAX_RECORDS = 10_000;
const MAX_WORKER_ID_CHARS = 256;

/** One frame. */
export interface Frame {
  /** The worker's id. */
  readonly worker: string;
  /** The worker's number. */
  readonly number: number;
  /** The worker's process id. */
  readonly pid: number;
  /** The number of the first record: each record that the worker accepted has the next one. */
  readonly seq: number;
  /** The records. */
  readonly records: readonly LogRecord[];
  /** How many records, since the worker began, it dropped since they came too fast. */
  readonly dropped: number;
  /** How many records, since the worker began, it wrote to standard error instead. */
  readonly diverted: number;
  /** Whether this is the worker's last frame. */
  readonly bye: boolean;
}

/** What a frame is made of, its records encoded already. */
export interface FrameParts extends Omit<Frame, "records"> {
  /** What {@linkcode encodeRecord} gave. */
  readonly records: readonly string[];
}

/** The frame as it is published. */
export function encodeFrame(parts: FrameParts): string {
  const { worker, number, pid, seq, records, dropped, diverted, bye } = parts;
  const head = JSON.stringify({
    v: FRAME_VERSION,
    worker,
    number,
    pid,
    seq,
    ...(dropped > 0 ? { dropped } : {}),
    ...(diverted > 0 ? { diverted } : {}),
    ...(bye ? { bye } : {}),
  });
  // The records are JSON already; joining them is what makes a frame of thousands cheap.
  return `${head.slice(0, -1)},"records":[${records.join(",")}]}`;
}

/** A frame, or undefined for whatever else was received. Never throws. */
export function decodeFrame(message: string): Frame | undefined {
  try {
    if (typeof message !== "string") return undefined;
    if (message.length > MAX_RECEIVED_BYTES) return undefined;
    if (Buffer.byteLength(message) > MAX_RECEIVED_BYTES) return undefined;
    return readFrame(JSON.parse(message));
  } catch {
    // No JSON, or nested so deeply that reading it overflows the stack: no frame. The relay counts it.
    return undefined;
  }
}

/**
 * A record as JSON of at most {@linkcode MAX_RECORD_BYTES}, with `facts` among its properties. Never
 * throws: the message and the properties of a record may be computed by the program's code only now.
 */
export function encodeRecord(record: LogRecord, facts: Readonly<Record<string, unknown>>): string {
  for (let budget = RECORD_BUDGET; budget > 256; budget = Math.floor(budget / 4)) {
    const json = encodeWithin(record, facts, budget);
    if (json.length <= MAX_RECORD_BYTES / 3 || Buffer.byteLength(json) <= MAX_RECORD_BYTES) {
      return json;
    }
  }
  return encodeWithin({ ...bare(record), message: ["[too large to be shown]"] }, facts, 256);
}

/** The record that {@linkcode encodeRecord} gave. */
export function decodeRecord(json: string): LogRecord | undefined {
  return readRecord(JSON.parse(json));
}

function encodeWithin(
  record: LogRecord,
  facts: Readonly<Record<string, unknown>>,
  chars: number,
): string {
  const budget = { left: chars };
  const category = record.category.slice(0, MAX_CATEGORY_PARTS)
    .map((part) => String(part).slice(0, MAX_CATEGORY_CHARS));
  const message = encodeMessage(record, budget);
  return JSON.stringify({
    level: record.level,
    category,
    ...message,
    // The facts come last, so that they are true, and have a budget of their own, so that they are whole.
    properties: {
      ...encodeProperties(record, budget),
      ...encodeMembers(facts, { left: 1024 }),
    },
    timestamp: Number.isFinite(record.timestamp) ? record.timestamp : 0,
  });
}

function encodeMessage(
  record: LogRecord,
  budget: { left: number },
): { readonly message: readonly Json[]; readonly raw: Json } {
  try {
    const message = record.message.map((part) => encodeValue(part, budget));
    const raw = record.rawMessage;
    // A message without values is its own template: said once.
    if (typeof raw === "string" && message.length === 1 && record.message[0] === raw) {
      return { message, raw: null };
    }
    return { message, raw: encodeValue(typeof raw === "string" ? raw : [...raw], budget) };
  } catch (error) {
    return { message: [`[log message that could not be made: ${shortly(error)}]`], raw: null };
  }
}

function encodeProperties(
  record: LogRecord,
  budget: { left: number },
): { readonly [key: string]: Json } {
  try {
    return encodeMembers(record.properties, budget);
  } catch (error) {
    return { problem: `[properties that could not be made: ${shortly(error)}]` };
  }
}

function shortly(error: unknown): string {
  return error instanceof Error ? String(error.message).slice(0, 256) : typeof error;
}

function bare(record: LogRecord): LogRecord {
  return {
    level: record.level,
    category: record.category,
    message: [],
    rawMessage: "",
    timestamp: record.timestamp,
    properties: {},
  };
}

function readFrame(json: unknown): Frame | undefined {
  if (!isObject(json) || json.v !== FRAME_VERSION) return undefined;
  const { worker, number, pid, seq, records, dropped = 0, diverted = 0, bye = false } = json;
  if (typeof worker !== "string" || worker === "" || worker.length > MAX_WORKER_ID_CHARS) {
    return undefined;
  }
  if (!isCount(number) || !isCount(pid) || !isCount(seq)) return undefined;
  if (!isCount(dropped) || !isCount(diverted) || typeof bye !== "boolean") return undefined;
  if (!Array.isArray(records) || records.length > MAX_RECORDS) return undefined;
  const read: LogRecord[] = [];
  for (const each of records) {
    const record = readRecord(each);
    if (record === undefined) return undefined;
    read.push(record);
  }
  return { worker, number, pid, seq, records: read, dropped, diverted, bye };
}

function readRecord(json: unknown): LogRecord | undefined {
  if (!isObject(json)) return undefined;
  const { level, category, message, raw, properties, timestamp } = json;
  if (!isLevel(level) || !isCategory(category)) return undefined;
  if (!Array.isArray(message) || message.length % 2 !== 1) return undefined;
  if (!isObject(properties)) return undefined;
  if (typeof timestamp !== "number" || !Number.isFinite(timestamp)) return undefined;
  const parts = message.map(decodeValue);
  const rawMessage = readRaw(raw ?? parts[0]);
  if (rawMessage === undefined) return undefined;
  return {
    level,
    category,
    message: parts,
    rawMessage,
    properties: decodeMembers(properties),
    timestamp,
  };
}

function readRaw(raw: unknown): LogRecord["rawMessage"] | undefined {
  if (typeof raw === "string") return raw;
  if (!Array.isArray(raw) || !raw.every((part) => typeof part === "string")) return undefined;
  return Object.freeze(Object.assign([...raw], { raw: Object.freeze([...raw]) }));
}

function isObject(json: unknown): json is Record<string, unknown> {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function isCount(json: unknown): json is number {
  return typeof json === "number" && Number.isSafeInteger(json) && json >= 0;
}

function isLevel(json: unknown): json is LogLevel {
  return typeof json === "string" && isLogLevel(json);
}

function isCategory(json: unknown): json is readonly string[] {
  return Array.isArray(json) && json.length <= MAX_CATEGORY_PARTS &&
    json.every((part) => typeof part === "string" && part.length <= MAX_CATEGORY_CHARS);
}
