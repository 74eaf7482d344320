/**
 * Where a client's broker and database are: its worker's supervisor's, those that the options or the environment name,
 * or, where neither is named, the embedded ones.
 *
 * @module
 */
import {
  type BrokerAddress,
  type DatabaseAddress,
  parseBrokerUrl,
  parseDatabaseUrl,
  type Sourced,
} from "../addresses.ts";
import { BROKER_VARIABLES, DATABASE_VARIABLES, findBrokerUrl, findDatabaseUrl } from "../config.ts";
import { ConfigError } from "../errors.ts";
import { workerConnections } from "../program/role.ts";
import { type EmbeddedOptions, type EmbeddedStores, embeddedStores } from "./embedded.ts";

/** What names the stores. */
export interface AddressOptions extends EmbeddedOptions {
  /** The broker's address. */
  readonly brokerUrl?: string | undefined;
  /** The database's address. */
  readonly databaseUrl?: string | undefined;
  /** Makes the database connection: a program that gives it has configured a database. */
  readonly db?: unknown;
}

/** The addresses of one client, each found when it is first asked for. */
export class StoreAddresses {
  readonly #options: AddressOptions;
  #broker: BrokerAddress | undefined;
  #database: DatabaseAddress | undefined;
  #embedded: EmbeddedStores | undefined;

  /** Looks for nothing yet. */
  constructor(options: AddressOptions) {
    this.#options = options;
  }

  /** Where the broker is. */
  get broker(): BrokerAddress {
    return this.#broker ??= workerConnections()?.broker ?? this.#findBroker();
  }

  /** Where the database is. */
  get database(): DatabaseAddress {
    return this.#database ??= workerConnections()?.database ?? this.#findDatabase();
  }

  /** The embedded stores where the client runs on them; never in a worker, which is told by its supervisor. */
  get embedded(): EmbeddedStores | undefined {
    const { brokerUrl, databaseUrl, db } = this.#options;
    if (this.#embedded !== undefined) return this.#embedded;
    if (workerConnections() !== undefined || db !== undefined) return undefined;
    if (findBrokerUrl(brokerUrl) !== undefined || findDatabaseUrl(databaseUrl) !== undefined) {
      return undefined;
    }
    return this.#embedded = embeddedStores(this.#options);
  }

  #findBroker(): BrokerAddress {
    const { brokerUrl, databaseUrl } = this.#options;
    const found = findBrokerUrl(brokerUrl);
    if (found !== undefined) return parseBrokerUrl(found);
    return this.embedded?.broker ?? missing("broker", findDatabaseUrl(databaseUrl));
  }

  #findDatabase(): DatabaseAddress {
    const { brokerUrl, databaseUrl, db } = this.#options;
    const found = findDatabaseUrl(databaseUrl);
    if (found !== undefined) return parseDatabaseUrl(found, { foreign: db !== undefined });
    return this.embedded?.database ?? missing("database", findBrokerUrl(brokerUrl));
  }
}

function missing(what: "broker" | "database", other: Sourced | undefined): never {
  const [option, variables] = what === "broker"
    ? ["brokerUrl", BROKER_VARIABLES] as const
    : ["databaseUrl", DATABASE_VARIABLES] as const;
  const otherWhat = what === "broker" ? "database" : "broker";
  throw new ConfigError(
    `Cannot find the ${what}: set the option '${option}' or one of the variables ${
      variables.join(", ")
    }, since ` +
      (other === undefined
        ? `the option 'db' is called with the database's`
        : `${other.source} names a ${otherWhat}`) +
      `; under Deno each variable must also be granted, such as --allow-env=${variables.at(-1)}`,
  );
}
