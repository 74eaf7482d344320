/**
 * Schemas of any library that implements Standard Schema, version 1: looked at where a task is declared, and asked
 * about the JSON of contexts and results.
 *
 * @module
 */
import { types } from "node:util";
import { kindOf } from "../show.ts";
import type { ContextSchema } from "./context.ts";

/** One thing that a schema refuses. */
export interface SchemaIssue {
  /** The place in the value. */
  readonly path: readonly PropertyKey[];
  /** The schema's own words. */
  readonly message: string;
  /** Present if the schema asks for a type that JSON does not have: no value can ever pass it. */
  readonly foreign?: ForeignType;
}

/** A type that JSON does not have. */
export interface ForeignType {
  /** Its name. */
  readonly name: string;
  /** What to declare in its place. */
  readonly instead: string;
}

/** The answer of a schema. */
export type Verdict =
  | { readonly kind: "passed"; readonly output: unknown }
  | { readonly kind: "refused"; readonly issues: readonly SchemaIssue[] };

/** Asks a schema about a value. Rejects with whatever a check or a transformation of the program's own throws. */
export async function askSchema(schema: ContextSchema, value: unknown): Promise<Verdict> {
  const { validate, vendor } = schema["~standard"];
  const answer = await validate(value);
  if (answer.issues === undefined) return { kind: "passed", output: answer.value };
  return { kind: "refused", issues: answer.issues.map((issue) => readIssue(issue, vendor)) };
}

type Issue = NonNullable<
  Awaited<ReturnType<ContextSchema["~standard"]["validate"]>>["issues"]
>[number];

function readIssue(issue: Issue, vendor: string): SchemaIssue {
  const foreign = foreignType(issue, vendor);
  return {
    path: (issue.path ?? []).map((step) => typeof step === "object" ? step.key : step),
    message: String(issue.message),
    ...(foreign === undefined ? {} : { foreign }),
  };
}

/** What to declare in place of a type that JSON does not have: in zod's words, and in those of no library. */
const INSTEAD: Readonly<Record<string, readonly [zod: string, other: string]>> = {
  date: ["use z.iso.datetime() or z.coerce.date()", "take its ISO string and convert that"],
  map: ["use z.record() or an array of pairs", "take a record or an array of pairs"],
  set: ["use z.array()", "take an array"],
  bigint: ["use z.string() or z.coerce.bigint()", "take its text and convert that"],
  nan: ["use z.null() or leave it out", "take null or leave it out"],
  undefined: ["use z.null() or leave it out", "take null or leave it out"],
  void: ["use z.null() or leave it out", "take null or leave it out"],
  symbol: ["use z.string()", "take a string"],
  function: ["leave it out", "leave it out"],
  file: ["use z.string() with its path or its Base64", "take its path or its Base64"],
  blob: ["use z.string() with its path or its Base64", "take its path or its Base64"],
};

/** The same; undefined if JSON has the type. */
function insteadFor(type: string, vendor: string): string | undefined {
  if (!Object.hasOwn(INSTEAD, type)) return undefined;
  return INSTEAD[type]?.[vendor === "zod" ? 0 : 1];
}

/**
 * The standard has a path and a message alone. Libraries add the type that they expected, as `expected`, and the
 * issues of a union's members.
 */
function foreignType(issue: unknown, vendor: string): ForeignType | undefined {
  if (typeof issue !== "object" || issue === null) return undefined;
  const inner = membersOf(issue);
  if (inner.length > 0) {
    return inner.map((each) => foreignType(each, vendor))
      // That a member may be left out as well is not what is wrong here.
      .find((type) => type !== undefined && type.name !== "undefined" && type.name !== "void");
  }
  const expected: unknown = Reflect.get(issue, "expected");
  if (typeof expected !== "string") return undefined;
  const name = expected.replace(/^an? /, "");
  const instead = insteadFor(name.toLowerCase(), vendor);
  return instead === undefined ? undefined : { name, instead };
}

/** The issues of the members of a union: `errors` in zod 4, `unionErrors` in zod 3, `issues` in valibot. */
function membersOf(issue: object): readonly unknown[] {
  return ["errors", "unionErrors", "issues"]
    .map((key): unknown => Reflect.get(issue, key))
    .filter((list) => Array.isArray(list))
    .flat(2)
    .flatMap((each) => each instanceof Error && "issues" in each ? each.issues : each);
}

/**
 * What kind of value this is, and what to write in its place, if it cannot be the schema of a task; undefined if it
 * can. Schemas are objects in most libraries and functions in some.
 */
export function schemaProblem(schema: unknown): string | undefined {
  if (schema === undefined) {
    return "undefined; leave the option out if there is no schema, and look for modules that import each other";
  }
  if (schema === null || (typeof schema !== "object" && typeof schema !== "function")) {
    return kindOf(schema);
  }
  if ("~standard" in schema) return standardProblem(schema["~standard"]);
  if (typeof schema === "function") return functionProblem(schema);
  if ("_def" in schema && "safeParse" in schema) {
    return "a schema of a zod that is too old; use zod 4, or zod 3.24 or later";
  }
  if (types.isPromise(schema)) return "a Promise; await it";
  if (Array.isArray(schema)) return "an array; write z.array(…) or z.tuple([…])";
  return objectProblem(schema);
}

function standardProblem(standard: unknown): string | undefined {
  const version = memberOf(standard, "version");
  if (version !== 1) {
    return `one of version ${String(version)} of Standard Schema, of which version 1 is needed`;
  }
  if (typeof memberOf(standard, "validate") === "function") return undefined;
  return "one that describes values and cannot check them; its '~standard' has no 'validate'";
}

function functionProblem(schema: { readonly name: string }): string {
  const name = schema.name === "" ? "" : ` '${schema.name}'`;
  return /^class\b/.test(Function.prototype.toString.call(schema))
    ? `the class${name}, which says nothing of its members at run time; declare them in a schema`
    : `the function${name}; call it if it makes a schema`;
}

const JSON_SCHEMA = ["$schema", "$ref", "properties", "items", "anyOf", "oneOf", "allOf", "enum"];

function objectProblem(schema: object): string {
  const members = Object.entries(schema);
  if (members.length > 0 && members.every(([, each]) => schemaProblem(each) === undefined)) {
    return "a plain object of schemas; write z.object({ … }) around it";
  }
  const type = memberOf(schema, "type");
  if (typeof type === "string" || JSON_SCHEMA.some((key) => key in schema)) {
    return "a JSON Schema, which checks nothing by itself; z.fromJSONSchema(…) makes a zod schema of it";
  }
  const name: unknown = memberOf(memberOf(schema, "constructor"), "name");
  if (typeof name === "string" && name !== "" && name !== "Object") {
    return `an object of the class '${name}', which does not implement Standard Schema`;
  }
  return "a plain object; declare its members in a schema";
}

function memberOf(value: unknown, key: string): unknown {
  const holds = (typeof value === "object" && value !== null) || typeof value === "function";
  return holds ? Reflect.get(value, key) : undefined;
}
