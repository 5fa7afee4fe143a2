/**
 * What may enter a log, decided from facts that were looked up before: plain, synchronous, the same on every relay. One
 * bad change is served to everybody for ever, so whatever a header and the log can prove wrong stops here; what they
 * cannot (operations that make no sense) is for replicas to quarantine.
 */

import type { Code } from "../../src/base/errors.ts"
import type { Change } from "../../src/wire/chunk.ts"
import { type Hash, limits } from "../../src/wire/protocol.ts"
import type { EntityState, Tail } from "../log/contract.ts"

/** How far a change may leave gaps in the numbering of operations: enough for any fork, too little to run into 2^31. */
export const OP_GAP = 2 ** 20

/** A change that somebody wants in an entity's log. */
export interface Offer {
  readonly hash: Hash
  /** The change, or the code that says why its bytes may not travel. */
  readonly change: Change | Code
  readonly collection: string
  /** Whether its actor is a function of its content, and so belongs to nobody. */
  readonly derived: boolean
  readonly adopt: boolean
  readonly principal: string
  /** Whether the entity's heads are those that its entry asks for with `if`. Absent when the entry asks for none. */
  readonly atHeads?: boolean | undefined
}

/** What was looked up, as of everything that is appended or was admitted before of the same entry. */
export interface Facts {
  /** Position of the entry that holds the change already; 0 when that is the same entry. Undefined: it is new. */
  readonly known: number | undefined
  /** Undefined: the entity does not exist yet. */
  readonly state: EntityState | undefined
  /** maxOp of each of its deps; undefined where this entity has no such change. */
  readonly deps: readonly (number | undefined)[]
  /** Its actor's last change in this entity. */
  readonly tail: Tail | undefined
  /** Whether its actor's last change is among its ancestors. True also where the walk was given up. */
  readonly follows: boolean
  /** The principal that its actor is bound to. */
  readonly bound: string | undefined
}

/**
 * `"KNOWN"`: the change is in the log and has taken effect. `undefined`: append it. A code: why it is refused.
 * Dedupe comes first, so that a replay is answered like the first time, whatever has become of the entity since.
 */
export function judge(offer: Offer, facts: Facts): Code | "KNOWN" | undefined {
  const { change, derived } = offer
  const { state } = facts
  if (facts.known !== undefined) return "KNOWN"
  if (state?.purged !== undefined) return "ENTITY_PURGED"
  if (typeof change === "string") return change
  if (state && state.collection !== offer.collection) return "COLLECTION_MISMATCH"

  let floor = 0
  for (const maxOp of facts.deps) {
    if (maxOp === undefined) return "DEPS_UNKNOWN"
    floor = Math.max(floor, maxOp)
  }
  // Everybody makes an entity by the same change, so that two who do it at once have made one entity.
  if (change.deps.length === 0 && state) return "COLLECTION_MISMATCH"
  if (change.deps.length === 0 && !derived) return "CHUNK_BAD"

  const last = facts.tail?.seq ?? 0
  if (change.seq <= last) return "SEQ_TAKEN"
  if (change.seq > last + 1) return "SEQ_GAP"
  if (!facts.follows) return "CHUNK_BAD"
  if (change.startOp <= floor || change.startOp > floor + OP_GAP) return "START_OP"
  if (!derived && !offer.adopt && facts.bound !== undefined && facts.bound !== offer.principal) return "ACTOR_BOUND"

  if (offer.atHeads !== undefined && !derived) return "FORBIDDEN"
  if (offer.atHeads === false) return "HEADS_MOVED"
  return headsAfter(state?.heads ?? [], change).length > limits.heads ? "QUOTA" : undefined
}

/** An entity's heads once this change is appended. */
export function headsAfter(heads: readonly Hash[], change: Pick<Change, "hash" | "deps">): Hash[] {
  const gone = finder(change.deps)
  const left = heads.filter((head) => !gone(head))
  left.push(change.hash)
  return left
}

export function sameHeads(a: readonly Hash[], b: readonly Hash[]): boolean {
  return a.length === b.length && a.every(finder(b))
}

/** Says whether a hash is among these. There may be a thousand, and mostly there is one. */
function finder(hashes: readonly Hash[]): (hash: Hash) => boolean {
  if (hashes.length < 8) return (hash) => hashes.includes(hash)
  const set = new Set(hashes)
  return (hash) => set.has(hash)
}
