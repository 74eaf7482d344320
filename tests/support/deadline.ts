/**
 * Gives every test an end. Loaded before each file of tests (`--preload`, by `tools/test.ts`): a test that takes too
 * long fails with what it waited for and the last output of its programs, which are then ended, and the run goes on.
 *
 * @module
 */
import { describePending, endPending } from "./pending.ts";

/** As they are before a test puts others in their place. */
const { setTimeout, clearTimeout } = globalThis;

/** Longer than any test takes on a machine with four other programs that never rest. */
const DEADLINE_S = Number(Deno.env.get("TEST_DEADLINE") ?? 480);
/** How long a test whose programs were ended may take to clean up. */
const GRACE_MS = 10_000;
/** Where `tools/test.ts` reads which tests have begun and not ended, should all stand still. */
const JOURNAL = Deno.env.get("TEST_JOURNAL");

type Body = (...args: unknown[]) => unknown;

/** The body with an end. */
function limited(body: Body, kind: string): Body {
  // Its name is the test's where it has no other.
  return Object.defineProperty(
    async (...args: unknown[]) => {
      const name = nameOf(args[0]) ?? kind;
      note("begin", name);
      try {
        return await inTime(Promise.resolve(body(...args)), name);
      } finally {
        note("end", name);
      }
    },
    "name",
    { value: body.name },
  );
}

async function inTime(work: Promise<unknown>, name: string): Promise<unknown> {
  const outcome = await settled(work, DEADLINE_S * 1_000);
  if (outcome === undefined) {
    const pending = await describePending();
    await endPending();
    await settled(work, GRACE_MS);
    throw new Error(`'${name}' has not ended within ${DEADLINE_S} s\n${pending}`);
  }
  if (outcome.status === "rejected") throw outcome.reason;
  return outcome.value;
}

/** The outcome; undefined where there is none in time. */
async function settled(
  work: Promise<unknown>,
  ms: number,
): Promise<PromiseSettledResult<unknown> | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    const outcomes = Promise.allSettled([work]).then(([outcome]) => outcome);
    return await Promise.race([outcomes, late]);
  } finally {
    clearTimeout(timer);
  }
}

function nameOf(context: unknown): string | undefined {
  const name: unknown = typeof context === "object" && context !== null
    ? Reflect.get(context, "name")
    : undefined;
  return typeof name === "string" ? name : undefined;
}

function note(what: "begin" | "end", name: string): void {
  if (JOURNAL === undefined) return;
  const file = new URL(Deno.mainModule).pathname.split("/tests/").at(-1);
  Deno.writeTextFileSync(JOURNAL, `${JSON.stringify([what, `${file}: ${name}`])}\n`, {
    append: true,
  });
}

/** The same call, of which the function among the arguments, or in their options, is given an end. */
function wrapped(register: Body, kind: string): Body {
  return (...args) =>
    register(...args.map((argument) => {
      if (typeof argument === "function") return limited(argument as Body, kind);
      if (typeof argument !== "object" || argument === null || !("fn" in argument)) return argument;
      return { ...argument, fn: limited(argument.fn as Body, kind) };
    }));
}

const plain = Deno.test as unknown as Body & Record<string, Body>;
const members = ["only", "ignore", "beforeAll", "beforeEach", "afterEach", "afterAll"];
Reflect.set(
  Deno,
  "test",
  Object.assign(
    wrapped(plain, "a test"),
    Object.fromEntries(members.flatMap((member) => {
      const register = plain[member];
      return register === undefined ? [] : [[member, wrapped(register.bind(plain), member)]];
    })),
  ),
);
