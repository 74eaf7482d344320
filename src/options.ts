/**
 * Options: each has one entry in a table, from which its name, its check, its default and the type of its setting
 * follow. The table says `satisfies OptionTable<…Options>`, so that neither it nor the documented interface can have an
 * option that the other has not.
 *
 * @module
 */
import type { Sourced } from "./addresses.ts";
import { type Duration, toMilliseconds } from "./clock.ts";
import { checkName } from "./config.ts";
import { kindOf, show } from "./show.ts";

/** One option. */
export interface Option<Given, Setting> {
  /** Checks a value and makes the setting of it. `all` is what was given with it. */
  readonly read: (value: Given, name: string, all: Readonly<Record<string, unknown>>) => Setting;
  /** The setting if no value is given, out of those that stand above it in the table. */
  readonly standard: (settings: never) => Setting;
  /** What the name of its setting ends in, if the setting is a time. */
  readonly unit?: "Ms";
}

/** A table with an entry for each option of an interface. */
export type OptionTable<Options = Record<string, never>> = {
  readonly [Name in keyof Options]-?: Option<Exclude<Options[Name], undefined>, unknown>;
};

/** What becomes of the options of a table: `lease` is `leaseMs` in milliseconds, the others keep their names. */
export type Settings<Table extends OptionTable> = {
  readonly [
    Name in keyof Table as Table[Name] extends { unit: "Ms" } ? `${Name & string}Ms` : Name
  ]: ReturnType<Table[Name]["read"] | Table[Name]["standard"]>;
};

/**
 * The settings of options.
 *
 * @throws {TypeError | RangeError | ConfigError} If a value is not allowed; the error names its option, or the variable
 *   of the environment that stands in for it.
 */
export function readOptions<Table extends OptionTable>(
  table: Table,
  given: object,
): Settings<Table> {
  const all = given as Readonly<Record<string, unknown>>;
  const settings: Record<string, unknown> = {};
  for (
    const [name, { read, standard, unit = "" }] of Object.entries<Option<never, unknown>>(table)
  ) {
    const value = all[name];
    settings[name + unit] = value === undefined
      ? standard(settings as never)
      : read(value as never, name, all);
  }
  return settings as Settings<Table>;
}

/**
 * Refuses anything but an object of known options: a misspelt one would otherwise be ignored in silence.
 *
 * @param doing What the call does, as errors say it: `list activities`.
 * @param options What the caller gave.
 * @param allowed The names of the options.
 * @throws {TypeError} If it is no object, or holds another name.
 */
export function checkOptions(doing: string, options: object, allowed: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot ${doing}: the options must be an object, current value is ${kindOf(options)}`,
    );
  }
  const unknown = Object.keys(options).find((key) => !allowed.includes(key));
  if (unknown === undefined) return;
  throw new TypeError(
    `Cannot ${doing}: unknown option '${unknown}', expected ${
      allowed.length === 1 ? allowed[0] : `one of ${allowed.join(", ")}`
    }`,
  );
}

/** Of settings, those of the options of a table. */
export function pickSettings<Table extends OptionTable>(
  table: Table,
  settings: Settings<Table>,
): Settings<Table> {
  const names = Object.entries<Option<never, unknown>>(table).map(([name, { unit = "" }]) =>
    name + unit
  );
  return Object.fromEntries(
    names.map((name) => [name, settings[name as keyof Settings<Table>]]),
  ) as Settings<Table>;
}

/** Why a value is not allowed. */
export function refusal(name: string, mustBe: string, shown: string): string {
  return `Cannot use option '${name}': it must be ${mustBe}, current value is ${shown}`;
}

/** For options without a default. */
export function none(): undefined {
  return undefined;
}

/** Reads values of one kind. */
export function ofType<Value>(type: "boolean" | "function" | "string") {
  return (value: Value, name: string): Value => {
    const actual = typeof value;
    if (actual === type) return value;
    throw new TypeError(refusal(name, `a ${type}`, kindOf(value)));
  };
}

/** Reads whole numbers of at least 1. */
export function count({ most = Infinity }: { readonly most?: number } = {}) {
  return (value: number, name: string): number => {
    if (Number.isSafeInteger(value) && value >= 1 && value <= most) return value;
    const range = most === Infinity ? "of at least 1" : `from 1 to ${most}`;
    throw new RangeError(refusal(name, `a whole number ${range}`, show(value)));
  };
}

/** Reads durations, in milliseconds. */
export function duration({ leastMs = 0 }: { readonly leastMs?: number } = {}) {
  return (value: Duration, name: string): number => {
    const ms = toMilliseconds(value, name);
    if (ms >= leastMs) return ms;
    throw new RangeError(refusal(name, `at least ${leastMs} ms`, `${ms} ms`));
  };
}

/** Reads one of some texts. */
export function oneOf<Value extends string>(...allowed: readonly Value[]) {
  return (value: Value, name: string): Value => {
    if (allowed.includes(value)) return value;
    const mustBe = allowed.map((each) => JSON.stringify(each)).join(" or ");
    throw new TypeError(refusal(name, mustBe, show(value)));
  };
}

/** Reads names, of what `what` says. */
export function nameOf(what: "pool" | "queue") {
  return (value: string, name: string): string => {
    checkName(value, what, name);
    return value;
  };
}

/** Reads lists, each entry by `readEntry`. */
export function listOf<Entry>(readEntry: (entry: Entry, name: string) => Entry) {
  return (value: readonly Entry[], name: string): readonly Entry[] => {
    if (Array.isArray(value)) return value.map((entry: Entry) => readEntry(entry, name));
    throw new TypeError(refusal(name, "an array", kindOf(value)));
  };
}

/** Reads the address of a store, which stays as it is. `foreign` says that the program itself connects (option `db`). */
export function address(
  parse: (given: Sourced, options: { readonly foreign: boolean }) => unknown,
) {
  return (value: string, name: string, all: Readonly<Record<string, unknown>>): string => {
    ofType("string")(value, name);
    parse({ value, source: `option '${name}'` }, { foreign: all["db"] !== undefined });
    return value;
  };
}
