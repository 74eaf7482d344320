/**
 * A broker that lives in another process, used as if it were here.
 *
 * @module
 */
import type {
  Broker,
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
} from "../../src/broker/broker.ts";
import type { BrokerProcess } from "./broker_process.ts";

type Lease = { readonly supervisorId: string; readonly leaseMs: number };

/** A broker of another process. */
export class RemoteBroker implements Broker {
  readonly address: string;
  readonly #process: BrokerProcess;
  readonly #queues = new Map<string, RemoteQueue>();

  /** The broker that `process` holds. */
  constructor(process: BrokerProcess, address: string) {
    this.#process = process;
    this.address = address;
  }

  /** The process that it lives in. */
  get pid(): number {
    return this.#process.pid;
  }

  async connect(): Promise<void> {
    await this.#process.call({ method: "connect" });
  }

  queue(name: string): Queue {
    const queue = this.#queues.get(name) ?? new RemoteQueue(this.#process, name);
    this.#queues.set(name, queue);
    return queue;
  }

  async close(): Promise<void> {
    await this.#process.call({ method: "close" });
  }
}

class RemoteQueue implements Queue {
  readonly name: string;
  readonly #process: BrokerProcess;

  constructor(process: BrokerProcess, name: string) {
    this.#process = process;
    this.name = name;
  }

  open(): Promise<string> {
    return this.#call("open");
  }

  brokerIds(): Promise<readonly string[]> {
    return this.#call("brokerIds");
  }

  nextToken(): Promise<string> {
    return this.#call("nextToken");
  }

  raiseToken(token: string): Promise<void> {
    return this.#call("raiseToken", token);
  }

  depth(): Promise<Depth> {
    return this.#call("depth");
  }

  unservedMs(): Promise<number | null> {
    return this.#call("unservedMs");
  }

  whereabouts(ids: readonly string[]): Promise<readonly Whereabouts[]> {
    return this.#call("whereabouts", ids);
  }

  publish(topic: Topic, message: string): Promise<boolean> {
    return this.#call("publish", topic, message);
  }

  async subscribe(topic: Topic, listener: SubscribeOptions): Promise<Unsubscribe> {
    const subscription = await this.#process.subscribe(
      { method: "subscribe", queue: this.name, args: [topic] },
      listener,
    );
    return () => this.#process.unsubscribe(subscription);
  }

  enqueue(tasks: readonly NewTask[]): Promise<readonly ("accepted" | "known")[]> {
    return this.#call("enqueue", tasks);
  }

  cancel(id: string): Promise<"removed" | "requested" | "unknown"> {
    return this.#call("cancel", id);
  }

  async wait(
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    await this.#process.call({ method: "wait", queue: this.name, args: [timeoutMs], signal });
  }

  claim(request: ClaimRequest): Promise<ClaimAnswer> {
    return this.#call("claim", request);
  }

  settleOrphans(ids: readonly string[], as: "ended" | "foreign"): Promise<void> {
    return this.#call("settleOrphans", ids, as);
  }

  ready(workerId: string, message: string): Promise<void> {
    return this.#call("ready", workerId, message);
  }

  check(claims: readonly ClaimRef[]): Promise<readonly ClaimState[]> {
    return this.#call("check", claims);
  }

  reassert(
    claim: Claim,
    options: { readonly workerId: string; readonly leaseMs: number },
  ): Promise<boolean> {
    return this.#call("reassert", claim, options);
  }

  end(claim: ClaimRef): Promise<SettleOutcome> {
    return this.#call("end", claim);
  }

  release(claim: ClaimRef, options: ReleaseOptions = {}): Promise<Returned> {
    return this.#call("release", claim, options);
  }

  renew(options: Lease & { readonly workerIds: readonly string[] }): Promise<Renewal> {
    return this.#call("renew", options);
  }

  removeWorker(workerId: string): Promise<readonly OwnedClaim[]> {
    return this.#call("removeWorker", workerId);
  }

  deregister(supervisorId: string): Promise<void> {
    return this.#call("deregister", supervisorId);
  }

  sweep(options: Lease): Promise<readonly SweptClaim[]> {
    return this.#call("sweep", options);
  }

  maintain(supervisorId: string): Promise<boolean> {
    return this.#call("maintain", supervisorId);
  }

  mend(options: Lease): Promise<void> {
    return this.#call("mend", options);
  }

  async #call<T>(method: string, ...args: readonly unknown[]): Promise<T> {
    return await this.#process.call({ method, queue: this.name, args }) as T;
  }
}
