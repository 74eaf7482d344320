/**
 * Processes that hold a broker each, kept from test to test: starting one takes longer than most tests.
 *
 * @module
 */
import { parseBrokerUrl, showBroker } from "../../src/addresses.ts";
import type { SubscribeOptions } from "../../src/broker/broker.ts";
import { RemoteBroker } from "./remote_broker.ts";
import { within } from "./wait.ts";
import { type Answer, decodeLine, encodeLine, errorOf, type Request } from "./wire.ts";

const PROGRAM = new URL("../fixtures/broker_process.ts", import.meta.url).pathname;

/** A call, as its caller words it. */
export interface RemoteCall {
  /** The method's name. */
  readonly method: string;
  /** The queue whose method it is; none where it is the broker's. */
  readonly queue?: string;
  /** Its arguments, but for functions and signals. */
  readonly args?: readonly unknown[];
  /** Aborts the call over there. */
  readonly signal?: AbortSignal;
}

/** What {@linkcode BrokerProcess} may be told. */
export interface BrokerProcessOptions {
  /** Words before the command: a program that sets limits or rights and becomes the command. */
  readonly launcher?: readonly string[];
  /** Flags of Deno beside those that it always has. */
  readonly flags?: readonly string[];
}

/**
 * One process. It is read from only while a test has it, so that the sanitizers of Deno find every read
 * that a test began ended with the test.
 */
export class BrokerProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  readonly #calls = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #listeners = new Map<number, SubscribeOptions>();
  #made = 0;
  #rest = "";
  #reading: Promise<void> | undefined;
  #last = 0;

  /** Starts the program. */
  constructor({ launcher = [], flags = [] }: BrokerProcessOptions = {}) {
    const rights = ["--allow-net=127.0.0.1", "--allow-env", "--allow-read", "--allow-write"];
    const [command, ...args] = [
      ...launcher,
      ...["deno", "run", "--no-prompt", "--no-check", "--allow-sys", ...rights, ...flags, PROGRAM],
    ];
    this.#child = new Deno.Command(command ?? "", { args, stdin: "piped", stdout: "piped" })
      .spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.getReader();
  }

  /** Its process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Makes it hold a new broker, not connected. */
  broker(url: string): RemoteBroker {
    this.#reading = this.#read();
    // Calls are made in the order in which they come; this one's answer is that of the next.
    void this.call({ method: "$open", args: [url] });
    return new RemoteBroker(this, showBroker(parseBrokerUrl({ value: url, source: "the test" })));
  }

  /** Makes a call there; rejects with an error of the same class. */
  async call({ method, queue, args = [], signal }: RemoteCall): Promise<unknown> {
    const call = ++this.#made;
    return await this.#ask(
      { call, method, args, ...(queue === undefined ? {} : { queue }) },
      signal,
    );
  }

  /** Makes a call that subscribes; gives the subscription's number. */
  async subscribe(
    { method, queue = "", args = [] }: RemoteCall,
    listener: SubscribeOptions,
  ): Promise<number> {
    const call = ++this.#made;
    this.#listeners.set(call, listener);
    await this.#ask({ call, method, queue, args });
    return call;
  }

  /** Ends a subscription. */
  async unsubscribe(subscription: number): Promise<void> {
    await this.call({ method: "$unsubscribe", args: [subscription] });
  }

  /** Closes the broker, and with it every call that is under way; reads no more until the next one. */
  async reset(): Promise<void> {
    this.#last = this.#made + 1;
    await this.call({ method: "$reset" });
    await this.#reading;
    this.#reading = undefined;
    this.#listeners.clear();
  }

  /** Ends it. */
  async stop(): Promise<void> {
    await this.#writer.close();
    await within(this.#child.status, { what: `the broker process ${this.pid} to end` });
    await this.#reader.cancel();
  }

  /** Ends what it holds, and itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#reading !== undefined) await this.reset();
    await this.stop();
  }

  async #ask(request: Request, signal?: AbortSignal): Promise<unknown> {
    const answered = Promise.withResolvers<unknown>();
    this.#calls.set(request.call, answered);
    const written = [this.#writer.write(encodeLine(request))];
    const abort = () => {
      written.push(this.#writer.write(encodeLine({ abort: request.call })));
    };
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
    try {
      return await answered.promise;
    } finally {
      signal?.removeEventListener("abort", abort);
      await Promise.all(written);
    }
  }

  /** Reads until the answer of the last call. */
  async #read(): Promise<void> {
    for (this.#last = 0;;) {
      const { value, done } = await this.#reader.read();
      if (done) return this.#fail();
      const lines = (this.#rest + this.#decoder.decode(value, { stream: true })).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) {
        const answer = decodeLine(line) as Answer;
        this.#take(answer);
        if ("call" in answer && answer.call === this.#last) return;
      }
    }
  }

  #take(answer: Answer): void {
    if ("subscription" in answer) {
      const listener = this.#listeners.get(answer.subscription);
      if ("message" in answer) listener?.onMessage(answer.message);
      else listener?.onReconnect?.();
      return;
    }
    const asked = this.#calls.get(answer.call);
    this.#calls.delete(answer.call);
    if (answer.error === undefined) asked?.resolve(answer.value);
    else asked?.reject(errorOf(answer.error));
  }

  #fail(): void {
    for (const { reject } of this.#calls.values()) {
      reject(new Error(`The broker process ${this.pid} ended`));
    }
    this.#calls.clear();
  }
}

/** Some processes, one per connection of a test. */
export class BrokerProcesses {
  readonly #count: number;
  #all: readonly BrokerProcess[] = [];
  #idle: BrokerProcess[] = [];

  /** As many as the connections that a test has at most. */
  constructor(count: number) {
    this.#count = count;
  }

  /** Starts all. */
  start(): void {
    this.#all = Array.from({ length: this.#count }, () => new BrokerProcess());
    this.#idle = [...this.#all];
  }

  /** One that holds no broker. */
  take(): BrokerProcess {
    const process = this.#idle.pop();
    if (process === undefined) throw new Error(`All ${this.#count} broker processes are in use`);
    return process;
  }

  /** Ends what processes hold, and keeps them for the next test. */
  async giveBack(processes: readonly BrokerProcess[]): Promise<void> {
    await Promise.all(processes.map((process) => process.reset()));
    this.#idle.push(...processes);
  }

  /** Ends all. */
  async stop(): Promise<void> {
    await Promise.all(this.#all.map((process) => process.stop()));
  }
}
