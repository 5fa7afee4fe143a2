/** Appends the admitted changes of a push, in as few flushes as its entries allow. */

import { type Access, type Entry, encodeEntry, type Push } from "../../src/wire/protocol.ts"
import type { AppendedChange } from "../log/contract.ts"
import {
  admitEntry,
  type By,
  JudgingBudget,
  LOGGED_ENTRY,
  type Refusal,
  refuseEntry,
  refuseJunk,
} from "./admit-entry.ts"
import type { ServeSizes } from "./serve-sizes.ts"
import type { ServedWorkspace } from "./served-workspace.ts"
import type { Work } from "./work.ts"

/** The connection that pushes, and its rights. */
export interface Pusher {
  /**
   * The connection's id. Its stream sends it the entries of its own pushes as runs, which refer to the push and leave
   * out the bytes.
   */
  readonly connection: number
  readonly principal: string
  readonly access: Access
  /** Lets other work have its turn. */
  breathe(): Promise<void>
}

export interface Appended {
  /** Position of the furthest entry that holds a change of the push, new or known; 0 when there is none. */
  readonly position: number
  readonly refusals: readonly Refusal[]
  /**
   * Position of the last entry that the refusals may depend on. That entry must be flushed before the refusals are
   * sent.
   */
  readonly restOn: number
  /** The number of junk chunks, and the bytes to count for them: see `Junk`. */
  readonly junk: { readonly chunks: number; readonly bytes: number }
}

/** An admitted entry that waits to be appended. */
interface Admitted {
  readonly entry: Entry
  /** The entry's encoding, `encodeEntry(entry)`. */
  readonly bytes: Uint8Array
  readonly changes: readonly AppendedChange[]
  /** The entry's index in the push. */
  readonly index: number
}

/**
 * Admits a push entry by entry and appends the entries together, unless one entry may depend on another. Call it within
 * a turn of the workspace, so that no other push appends meanwhile. Throws only when the log fails; then it is unknown
 * which entries were appended.
 */
export function* appendPush(workspace: ServedWorkspace, push: Push, pusher: Pusher, sizes: ServeSizes): Work<Appended> {
  const { connection, principal, access, breathe } = pusher
  const by = { principal, adopt: push.adopt === true }
  const budget = new JudgingBudget(sizes, breathe)
  const refusals: Refusal[] = []
  let position = 0
  let version = workspace.logVersion()
  const admitted = new Map<string, Admitted>()
  const appendAdmitted = () => {
    workspace.requireUnchanged(version)
    for (const { entry, bytes, changes, index } of admitted.values()) {
      position = workspace.append(entry, changes, { bytes, connection, push: push.id, index })
    }
    admitted.clear()
    version = workspace.logVersion()
  }
  for (const [index, entry] of push.entries.entries()) {
    if (admitted.has(entry.entity)) appendAdmitted() // this entry may depend on the admitted one
    // Entries that the client may not write are refused but are not junk: the client may push them again later.
    const outcome =
      access === "read" ? refuseEntry(entry, "FORBIDDEN") : yield* admitEntry(workspace.log, entry, by, budget)
    const { chunks, changes, known } = outcome
    refusals.push(...outcome.refusals)
    position = Math.max(position, known)
    if (chunks.length > 0) {
      // If all chunks are admitted, pass on the list itself: `encodeEntry` then writes the bytes that were received,
      // without encoding the chunks again.
      const stamped = stamp(entry, chunks.length === entry.chunks.length ? entry.chunks : chunks, by)
      const bytes = encodeEntry(stamped)
      if (bytes.length > LOGGED_ENTRY) refusals.push(...refuseJunk({ ...entry, chunks }, "TOO_LARGE", budget).refusals)
      else admitted.set(entry.entity, { entry: stamped, bytes, changes, index })
    }
  }
  appendAdmitted()
  return { position, refusals, restOn: workspace.log.appended, junk: budget.junk }
}

/**
 * Refuses every change of a push for now. After a failure of the log it is unknown which of them are on the disk, so
 * the replica must push all of them again.
 */
export function refusePush(push: Push, retryIn: number): Refusal[] {
  const refusals = push.entries.flatMap((entry) => refuseEntry(entry, "LOG_FAILED").refusals)
  return refusals.map((refusal) => ({ ...refusal, retryIn }))
}

/**
 * Returns the entry as it is logged, without the fields that only the relay reads. `by` is the principal that pushes,
 * or, in an adopting push, the principal that the entry names.
 */
function stamp(entry: Entry, chunks: readonly Uint8Array[], by: By): Entry {
  const { entity, collection, once, key, blobs } = entry
  return {
    entity,
    collection,
    kind: "change",
    chunks,
    by: (by.adopt && entry.by) || by.principal,
    ...(by.adopt && { adopted: true }),
    ...(once && { once }),
    ...(key && { key }),
    ...(blobs && { blobs }),
  }
}
