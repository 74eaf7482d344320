/**
 * One queue in Redis: what the interface promises, each by one script.
 *
 * @module
 */
import { SWEEP_CONTACT_MS } from "../protocol.ts";
import type { RedisAddress } from "../../addresses.ts";
import type {
  Claim,
  ClaimAnswer,
  ClaimRef,
  ClaimRequest,
  ClaimState,
  Depth,
  NewTask,
  OwnedClaim,
  Queue,
  ReleaseOptions,
  Renewal,
  Returned,
  SettleOutcome,
  SubscribeOptions,
  SweptClaim,
  Topic,
  Unsubscribe,
  Whereabouts,
} from "../broker.ts";
import { RegistrationWatch } from "../registration_watch.ts";
import type { RedisCommands } from "./connection.ts";
import { channelOf } from "./keys.ts";
import { Mender, type MendOptions } from "./mender.ts";
import { asNumber } from "./reply.ts";
import { readBrokerIds } from "./scripts/broker_ids.ts";
import { cancelOrMark } from "./scripts/cancel.ts";
import { checkClaims } from "./scripts/check.ts";
import { claimTasks } from "./scripts/claim.ts";
import { countDepth } from "./scripts/depth.ts";
import { deregister } from "./scripts/deregister.ts";
import { endClaim } from "./scripts/end.ts";
import { enqueueTasks } from "./scripts/enqueue.ts";
import { maintainQueue } from "./scripts/maintain.ts";
import { openQueue } from "./scripts/open.ts";
import { settleOrphans } from "./scripts/orphans.ts";
import { raiseToken } from "./scripts/raise_token.ts";
import { sayReady } from "./scripts/ready.ts";
import { reassertClaim } from "./scripts/reassert.ts";
import { releaseClaim } from "./scripts/release.ts";
import { removeWorker } from "./scripts/remove_worker.ts";
import { renewSupervisor } from "./scripts/renew.ts";
import { sweepLapsed } from "./scripts/sweep.ts";
import { takeToken } from "./scripts/token.ts";
import { findTasks } from "./scripts/whereabouts.ts";
import { readUnserved } from "./scripts/unserved.ts";
import type { Subscriptions } from "./subscriptions.ts";
import { Waiter, type WaitOptions } from "./wait.ts";

/** What a queue shares with the others of its broker. */
export interface QueueParts {
  /** Where Redis is. */
  readonly address: RedisAddress;
  /** What the server shall call its connections. */
  readonly clientName: string | undefined;
  /** The connection for commands. */
  readonly redis: RedisCommands;
  /** The connection that listens. */
  readonly subscriptions: Subscriptions;
}

/** A queue in Redis. */
export class RedisQueue implements Queue {
  readonly name: string;
  readonly #redis: RedisCommands;
  readonly #subscriptions: Subscriptions;
  readonly #waiter: Waiter;
  readonly #mender: Mender;
  readonly #watch = new RegistrationWatch();
  /** What is written where Redis lost its data, so that all who opened the queue before still agree. */
  #brokerId: string = crypto.randomUUID();

  /** The ids that the broker had before, as far as this process knows. */
  readonly #formerIds = new Set<string>();

  /** Makes no call. */
  constructor(name: string, parts: QueueParts) {
    this.name = name;
    this.#redis = parts.redis;
    this.#subscriptions = parts.subscriptions;
    this.#waiter = new Waiter(name, parts.address, parts.clientName);
    this.#mender = new Mender(parts.redis, name);
  }

  async open(): Promise<string> {
    this.#brokerId = await openQueue(this.#redis, this.name, this.#brokerId);
    return this.#brokerId;
  }

  async brokerIds(): Promise<readonly string[]> {
    return await readBrokerIds(this.#redis, this.name);
  }

  async nextToken(): Promise<string> {
    return await takeToken(this.#redis, this.name);
  }

  async raiseToken(token: string): Promise<void> {
    await raiseToken(this.#redis, this.name, token);
  }

  async depth(): Promise<Depth> {
    return await countDepth(this.#redis, this.name);
  }

  async unservedMs(): Promise<number | null> {
    return await readUnserved(this.#redis, this.name);
  }

  async whereabouts(ids: readonly string[]): Promise<readonly Whereabouts[]> {
    return ids.length === 0 ? [] : await findTasks(this.#redis, this.name, ids);
  }

  async publish(topic: Topic, message: string): Promise<boolean> {
    const channel = channelOf(this.name, topic);
    const doing = `publish on '${channel}'`;
    return asNumber(await this.#redis.call(["PUBLISH", channel, message], doing)) > 0;
  }

  async subscribe(topic: Topic, options: SubscribeOptions): Promise<Unsubscribe> {
    return await this.#subscriptions.subscribe(channelOf(this.name, topic), options);
  }

  async enqueue(tasks: readonly NewTask[]): Promise<readonly ("accepted" | "known")[]> {
    if (tasks.length === 0) return [];
    return await enqueueTasks(this.#redis, this.name, { brokerId: this.#brokerId, tasks });
  }

  async cancel(id: string): Promise<"removed" | "requested" | "unknown"> {
    return await cancelOrMark(this.#redis, this.name, id);
  }

  async wait(options: WaitOptions): Promise<void> {
    await this.#waiter.wait(options);
  }

  async claim(request: ClaimRequest): Promise<ClaimAnswer> {
    return await claimTasks(this.#redis, this.name, request);
  }

  async settleOrphans(ids: readonly string[], as: "ended" | "foreign"): Promise<void> {
    if (ids.length > 0) await settleOrphans(this.#redis, this.name, { ids, as });
  }

  async ready(workerId: string, message: string): Promise<void> {
    await sayReady(this.#redis, this.name, { workerId, message });
  }

  async check(claims: readonly ClaimRef[]): Promise<readonly ClaimState[]> {
    return claims.length === 0 ? [] : await checkClaims(this.#redis, this.name, claims);
  }

  async reassert(
    claim: Claim,
    { workerId, leaseMs }: { readonly workerId: string; readonly leaseMs: number },
  ): Promise<boolean> {
    return await reassertClaim(this.#redis, this.name, { claim, workerId, leaseMs });
  }

  async end({ id, token }: ClaimRef): Promise<SettleOutcome> {
    return await endClaim(this.#redis, this.name, { id, token });
  }

  async release({ id, token }: ClaimRef, options: ReleaseOptions = {}): Promise<Returned> {
    const { delayMs, charge } = options;
    return await releaseClaim(this.#redis, this.name, { id, token, delayMs, charge });
  }

  async renew(
    { supervisorId, workerIds, leaseMs }: {
      readonly supervisorId: string;
      readonly workerIds: readonly string[];
      readonly leaseMs: number;
    },
  ): Promise<Renewal> {
    const known = this.#brokerId;
    const { renewal, registrations, brokerId = known } = await renewSupervisor(
      this.#redis,
      this.name,
      { supervisorId, workerIds, leaseMs, brokerId: known, formerIds: [...this.#formerIds] },
    );
    if (brokerId !== known) {
      this.#formerIds.add(known);
      this.#formerIds.delete(brokerId);
      this.#brokerId = brokerId;
    }
    this.#watch.observe(registrations, this.#redis.contactMs);
    return renewal;
  }

  async removeWorker(workerId: string): Promise<readonly OwnedClaim[]> {
    return await removeWorker(this.#redis, this.name, workerId);
  }

  async deregister(supervisorId: string): Promise<void> {
    await deregister(this.#redis, this.name, supervisorId);
  }

  async sweep(
    options: { readonly supervisorId: string; readonly leaseMs: number },
  ): Promise<readonly SweptClaim[]> {
    const { leaseMs } = options;
    const { contactMs } = this.#redis;
    // Until then others may have been cut off as this one was, and not have come back yet.
    if (contactMs < Math.min(leaseMs, SWEEP_CONTACT_MS)) return [];
    const dead = this.#watch.dead({ contactMs, leaseMs });
    return await sweepLapsed(this.#redis, this.name, { ...options, dead });
  }

  async maintain(supervisorId: string): Promise<boolean> {
    return await maintainQueue(this.#redis, this.name, supervisorId);
  }

  async mend(options: MendOptions): Promise<void> {
    await this.#mender.mend(options);
  }

  /** Ends the connection that waits. */
  async close(): Promise<void> {
    await this.#waiter.close();
  }
}
