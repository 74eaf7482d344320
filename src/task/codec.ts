/**
 * Between a program's values and what is stored of them: contexts, results and metadata as JSON text,
 * checked by their schemas on both ways.
 *
 * @module
 */
import { types } from "node:util";
import { ValidationError } from "../errors.ts";
import { kindOf } from "../show.ts";
import type { ContextSchema } from "./context.ts";
import type { TaskDefinition } from "./definition.ts";
import { describeError } from "./describe_error.ts";
import { isPlain } from "./lossy.ts";
import { jsonText, showPath } from "./json_text.ts";
import { askSchema, type SchemaIssue } from "./schema.ts";

/** How large a text may be, and what errors call the value. */
export interface CodecLimits {
  /** The most bytes of UTF-8 that the JSON may have. */
  readonly maxBytes: number;
  /**
   * What errors call the value.
   *
   * @default {"context", "result" or "metadata"}
   */
  readonly what?: string;
}

/** What a task that takes no context stores in its place. */
const NO_CONTEXT = "";

/**
 * The JSON text of a context, after the definition's schema passed what comes back from that text; empty
 * where there is no context.
 *
 * @throws {ValidationError} If the schema refuses it, or it is no JSON, cannot be stored, or is too large.
 */
export async function encodeContext(
  definition: TaskDefinition,
  input: unknown,
  limits: CodecLimits,
): Promise<string> {
  const failure = `Cannot enqueue task '${definition.name}'`;
  const what = limits.what ?? "context";
  if (definition.context === undefined) {
    if (input === undefined) return NO_CONTEXT;
    throw new ValidationError(
      `${failure}: it takes no context, current value is ${kindOf(input)}; declare one with ` +
        `defineTask("${definition.name}", { context: … })`,
    );
  }
  const text = input === undefined
    ? NO_CONTEXT
    : jsonOf(input, { failure, what, limits, limitName: "maxContextBytes" });
  await check(definition.context, parseJson(text, failure), { failure, what, input });
  return text;
}

/**
 * The JSON text of a context that is enqueued by a task's name alone: only that it is JSON, can be stored
 * and is not too large is checked.
 *
 * @throws {ValidationError} If it is not.
 */
export function encodeUnchecked(name: string, input: unknown, limits: CodecLimits): string {
  if (input === undefined) return NO_CONTEXT;
  const failure = `Cannot enqueue task '${name}'`;
  return jsonOf(input, {
    failure,
    what: limits.what ?? "context",
    limits,
    limitName: "maxContextBytes",
  });
}

/**
 * The context as a handler gets it: the output of the definition's schema.
 *
 * @throws {ValidationError} If the schema refuses what was enqueued.
 */
export async function decodeContext(definition: TaskDefinition, payload: string): Promise<unknown> {
  const failure = `Cannot run task '${definition.name}'`;
  const value = parseJson(payload, failure);
  if (definition.context === undefined) {
    if (value === undefined) return undefined;
    throw new ValidationError(
      `${failure}: it takes no context and was enqueued with one, which is ${kindOf(value)}`,
    );
  }
  return await check(definition.context, value, {
    failure: `${failure}, the context no longer passes its schema`,
    what: "context",
    input: value,
  });
}

/**
 * The JSON text of what a handler returned, after the definition's schema passed what comes back from that
 * text; undefined where it returned nothing.
 *
 * @throws {ValidationError} If the schema refuses it, or it is no JSON, cannot be stored, or is too large.
 */
export async function encodeResult(
  definition: TaskDefinition,
  value: unknown,
  limits: CodecLimits,
): Promise<string | undefined> {
  const failure = `Cannot store the result of task '${definition.name}'`;
  const text = value === undefined ? undefined : jsonOf(value, {
    failure,
    what: "result",
    limits,
    limitName: "maxResultBytes",
    verb: "return",
  });
  if (definition.result !== undefined) {
    await check(definition.result, parseJson(text ?? "", failure), {
      failure,
      what: "result",
      input: value,
    });
  }
  return text;
}

/**
 * The result as a caller gets it: the output of the definition's schema, or plain JSON without one.
 *
 * @throws {ValidationError} If the schema refuses what was stored.
 */
export async function decodeResult(
  definition: TaskDefinition | undefined,
  json: string | null,
): Promise<unknown> {
  const failure = `Cannot read the result of task '${definition?.name ?? "(by name)"}'`;
  const value = parseJson(json ?? "", failure);
  if (definition?.result === undefined) return value;
  return await check(definition.result, value, {
    failure: `${failure}, what is stored does not pass its schema`,
    what: "result",
    input: value,
  });
}

/**
 * The JSON text of metadata: an object, empty where there is none.
 *
 * @throws {ValidationError} If it is no plain object, no JSON, cannot be stored, or is too large.
 */
export function encodeMetadata(
  metadata: Readonly<Record<string, unknown>> | undefined,
  limits: CodecLimits,
): string {
  if (metadata === undefined) return "{}";
  const failure = "Cannot use 'metadata'";
  if (typeof metadata !== "object" || metadata === null || !isPlain(metadata)) {
    throw new ValidationError(
      `${failure}: it must be a plain object, current value is ${kindOf(metadata)}`,
    );
  }
  return jsonOf(metadata, { failure, what: "metadata", limits, limitName: "maxContextBytes" });
}

interface JsonOf {
  readonly failure: string;
  readonly what: string;
  readonly limits: CodecLimits;
  readonly limitName: string;
  readonly verb?: string;
}

function jsonOf(value: unknown, { limits, ...options }: JsonOf): string {
  const { failure, what } = options;
  const text = jsonText(value, { ...options, maxBytes: limits.maxBytes });
  if (text !== undefined) return text;
  throw new ValidationError(`${failure}: its ${what} is ${kindOf(value)}, which is no JSON`);
}

function parseJson(text: string, failure: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ValidationError(`${failure}: what is stored is no JSON`, { cause: error });
  }
}

interface Checked {
  readonly failure: string;
  readonly what: string;
  /** The value before it became JSON, to say what kind it was. */
  readonly input: unknown;
}

async function check(schema: ContextSchema, value: unknown, checked: Checked): Promise<unknown> {
  let verdict;
  try {
    verdict = await askSchema(schema, value);
  } catch (error) {
    // A refinement or a transformation of the program's own threw.
    throw new ValidationError(
      `${checked.failure}: the schema of its ${checked.what} threw ${
        describeError(error).headline
      }`,
      { cause: error },
    );
  }
  if (verdict.kind === "passed") return verdict.output;
  const { issues } = verdict;
  const shown = issues.slice(0, SHOWN_ISSUES).map((issue) => showIssue(issue, checked));
  const more = issues.length - shown.length;
  throw new ValidationError(
    `${checked.failure}: ${shown.join("; ")}${more > 0 ? `; and ${more} more` : ""}`,
    { issues: issues.map(({ path, message }) => ({ path, message })) },
  );
}

const SHOWN_ISSUES = 3;

function showIssue(issue: SchemaIssue, { what, input }: Checked): string {
  const value = valueAt(input, issue.path);
  const said = `${showPath(what, issue.path)} is refused, ${issue.message}, current value is ${
    kindOf(value)
  }`;
  const { foreign } = issue;
  if (foreign !== undefined) {
    return `${said}; JSON has no ${foreign.name}: in the schema ${foreign.instead}`;
  }
  return types.isDate(value) ? `${said}, which JSON turns into a string` : said;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return undefined;
    try {
      value = Reflect.get(value, step);
    } catch {
      return undefined; // A getter that throws only now: the kind is not worth more.
    }
  }
  return value;
}
