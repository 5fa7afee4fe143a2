/** When an entity was created, updated and deleted. */

import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { History } from "./history/history.ts"

/** The times are ms since 1970. `createdAt` and `updatedAt` are 0 when no change has a time. */
export interface Facts {
  readonly createdAt: number
  readonly updatedAt: number
  readonly deletedAt?: number
  /** The changes from which the times come. Rows show who pushed them: `$createdBy`, `$updatedBy`, `$deletedBy`. */
  readonly createdIn?: Hash
  readonly updatedIn?: Hash
  readonly deletedIn?: Hash
}

/** `deletedBy`: the newest change that deleted the entity; undefined when it is not deleted. */
export function factsOf({ earliest, latest }: History, deletedBy: Change | undefined): Facts {
  return {
    createdAt: (earliest?.time ?? 0) * 1000,
    updatedAt: (latest?.time ?? 0) * 1000,
    ...(earliest && { createdIn: earliest.hash }),
    ...(latest && { updatedIn: latest.hash }),
    ...(deletedBy && { deletedAt: deletedBy.time * 1000, deletedIn: deletedBy.hash }),
  }
}
