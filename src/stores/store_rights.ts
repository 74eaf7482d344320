/**
 * What Deno has to allow a process for its two stores.
 *
 * @module
 */
import { filesOf } from "../activity/connection.ts";
import {
  brokerGrants,
  databaseGrant,
  showBroker,
  showDatabase,
  sqliteFiles,
} from "../addresses.ts";
import { ConnectionError } from "../errors.ts";
import { isDenied, missingFlags, type Rights } from "../program/permissions.ts";
import type { StoreAddresses } from "./store_addresses.ts";

/** For both stores. */
export function rightsOf(addresses: StoreAddresses): Rights {
  const { broker, embedded } = addresses;
  const { net = [], read = [], write = [] } = databaseRightsOf(addresses);
  const isFile = broker.kind === "sqlite" && embedded === undefined;
  const files = isFile ? sqliteFiles(broker.path) : [];
  return {
    net: [...brokerGrants(broker), ...net],
    read: [...files, ...read],
    write: [...files, ...write],
  };
}

/** For the database alone. */
export function databaseRightsOf({ database, embedded }: StoreAddresses): Rights {
  // The folder is made too, and what else stands in it.
  if (embedded !== undefined) return { read: [embedded.folder], write: [embedded.folder] };
  const net = database.kind === "postgres" ? [databaseGrant(database)] : [];
  return { net, ...filesOf(database) };
}

/** If Deno allows neither store, the error that names what is missing for both; else the given one. */
export async function explainDenial(error: unknown, addresses: StoreAddresses): Promise<unknown> {
  if (!(error instanceof ConnectionError) || error.retryable || !isDeniedBelow(error)) return error;
  const flags = await missingFlags(rightsOf(addresses));
  if (flags.length === 0) return error;
  const { broker, database } = addresses;
  return new ConnectionError(
    `Cannot reach ${showBroker(broker)} and ${
      showDatabase(database)
    }: Deno does not allow it, add ${flags.join(" ")}`,
    { cause: error, retryable: false },
  );
}

function isDeniedBelow(error: unknown): boolean {
  for (let each = error; each instanceof Error; each = each.cause) if (isDenied(each)) return true;
  return false;
}
