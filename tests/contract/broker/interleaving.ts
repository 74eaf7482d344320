/**
 * The broker contract: whatever happens in whatever order, each id is in exactly one place.
 *
 * @module
 */
import fc from "fast-check";
import type { ClaimRef, Queue } from "../../../src/broker/broker.ts";
import { assertEquals } from "../../support/assert.ts";
import { Bench, type BrokerContract, type Crew, crew, LONG_LEASE } from "./bench.ts";

const HOUR = 3_600_000;
const IDS = Array.from({ length: 6 }, (_, n) => `0000000${n}-0000-4000-8000-000000000000`);

type Action =
  | { readonly kind: "enqueue"; readonly id: number; readonly delayed: boolean }
  | { readonly kind: "cancel"; readonly id: number }
  | {
    readonly kind: "claim";
    readonly worker: number;
    readonly slots: number;
    readonly lost: boolean;
  }
  | { readonly kind: "end"; readonly claim: number }
  | { readonly kind: "release"; readonly claim: number; readonly delayed: boolean }
  | { readonly kind: "strike"; readonly worker: number }
  | { readonly kind: "sweep" }
  | { readonly kind: "renew" };

const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant("enqueue" as const), id: fc.nat(5), delayed: fc.boolean() }),
  fc.record({ kind: fc.constant("cancel" as const), id: fc.nat(5) }),
  fc.record({
    kind: fc.constant("claim" as const),
    worker: fc.nat(2),
    slots: fc.integer({ min: 1, max: 3 }),
    lost: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("end" as const), claim: fc.nat(20) }),
  fc.record({ kind: fc.constant("release" as const), claim: fc.nat(20), delayed: fc.boolean() }),
  fc.record({ kind: fc.constant("strike" as const), worker: fc.nat(2) }),
  fc.constant({ kind: "sweep" as const }),
  fc.constant({ kind: "renew" as const }),
);

/** What the answers so far amount to. */
class Story {
  /** Per id: how often it was put in, less how often it was taken out for good. */
  readonly present = new Map<string, number>();
  /** All claims ever heard of, stale ones too. */
  readonly claims: ClaimRef[] = [];
  /** Per worker: what it knows to hold. */
  readonly holding = new Map<string, Set<string>>();
  readonly tokens: string[] = [];
  readonly #crew: Crew;

  constructor(crew: Crew) {
    this.#crew = crew;
  }

  async tell(queue: Queue, action: Action): Promise<void> {
    switch (action.kind) {
      case "enqueue": {
        const id = IDS[action.id] ?? "";
        const delay = action.delayed ? { delayMs: HOUR } : {};
        const [word] = await queue.enqueue([{ id, name: "x", payload: "", ...delay }]);
        if (word === "accepted") this.#count(id, 1);
        break;
      }
      case "cancel": {
        const id = IDS[action.id] ?? "";
        if (await queue.cancel(id) === "removed") this.#count(id, -1);
        break;
      }
      case "claim":
        await this.#claim(queue, action);
        break;
      case "end": {
        const claim = this.#pick(action.claim);
        if (claim !== undefined && await queue.end(claim) === "done") this.#count(claim.id, -1);
        break;
      }
      case "release": {
        const claim = this.#pick(action.claim);
        if (claim === undefined) break;
        await queue.release(claim, action.delayed ? { delayMs: HOUR } : {});
        break;
      }
      case "strike":
        await queue.removeWorker(this.#worker(action.worker));
        break;
      case "sweep": {
        const { supervisorId } = this.#crew;
        // Its own are alive; what is to be canceled and nobody runs is what it takes.
        for (const claim of await queue.sweep({ supervisorId, leaseMs: 0 })) {
          assertEquals(claim.outcome, "canceled");
          this.claims.push(claim);
          this.tokens.push(claim.token);
        }
        break;
      }
      case "renew":
        await queue.renew({ ...this.#crew, leaseMs: LONG_LEASE });
    }
  }

  async #claim(queue: Queue, { worker, slots, lost }: Action & { kind: "claim" }): Promise<void> {
    const workerId = this.#worker(worker);
    const holding = this.holding.get(workerId) ?? new Set();
    this.holding.set(workerId, holding);
    const request = { workerId, slots, holding: [...holding], leaseMs: LONG_LEASE };
    const { claims, orphans } = await queue.claim(request);
    assertEquals(orphans, []);
    for (const claim of claims) {
      this.claims.push(claim);
      this.tokens.push(claim.token);
      if (!lost) holding.add(claim.id);
    }
  }

  #worker(n: number): string {
    return this.#crew.workerIds[n] ?? "";
  }

  #pick(n: number): ClaimRef | undefined {
    return this.claims[n % Math.max(1, this.claims.length)];
  }

  #count(id: string, by: number): void {
    this.present.set(id, (this.present.get(id) ?? 0) + by);
  }
}

async function verify(queue: Queue, bench: Bench, story: Story): Promise<void> {
  await bench.ground.audit(bench.name);
  const places = await queue.whereabouts(IDS);
  const present = places.map((place) => place === "unknown" ? 0 : 1);
  assertEquals(present, IDS.map((id) => story.present.get(id) ?? 0));
  const { waiting, delayed, running } = await queue.depth();
  assertEquals(
    [waiting, delayed, running],
    // A canceled task whose claim was lost on its way is nobody's, until a sweep takes it.
    [["waiting"], ["delayed"], ["claimed", "abandoned"]].map((each) =>
      places.filter((p) => each.includes(p)).length
    ),
  );
  // Of all claims that were ever made of an id, one at most is in force.
  const states = await queue.check(story.claims);
  const own = story.claims.filter((_, n) => states[n] === "own" || states[n] === "cancel");
  assertEquals(new Set(own.map(({ id }) => id)).size, own.length);
  assertEquals(own.length, running);
  assertEquals(new Set(story.tokens).size, story.tokens.length);
}

/** Registers the property test. */
export function interleaving(contract: BrokerContract): void {
  Deno.test(`${contract.name}: whatever interleaves, each id is in one place`, async () => {
    const batches = fc.array(fc.array(action, { minLength: 1, maxLength: 5 }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(batches, async (story) => {
        await using bench = new Bench(await contract.open());
        const queues = [await bench.connect(), await bench.connect()] as const;
        const workers = crew(3);
        const told = new Story(workers);
        await queues[0].renew({ ...workers, leaseMs: LONG_LEASE });
        for (const batch of story) {
          await Promise.all(batch.map((each, n) => told.tell(queues[n % 2 === 0 ? 0 : 1], each)));
          await verify(queues[0], bench, told);
        }
      }),
      { numRuns: 60 },
    );
  });
}
