/**
 * Decides which changes may enter a log, from facts that were looked up before. The decision is synchronous, and the
 * same on every relay. A bad change would be served to everybody for ever, so a change that its header or the log
 * proves wrong is refused here. Operations that make no sense cannot be detected here; replicas quarantine them.
 */

import type { Code } from "../../src/base/errors.ts"
import type { Change } from "../../src/wire/chunk.ts"
import { type Hash, limits } from "../../src/wire/protocol.ts"
import type { EntityState, Tail } from "../log/contract.ts"

/**
 * The most by which a change's startOp may exceed the highest maxOp of its deps. This is enough for any fork, and too
 * little for a few changes to bring the operation numbers near 2^31, from which on Automerge cannot load a document.
 */
export const OP_GAP = 2 ** 20

/** A change that is offered for an entity's log. */
export interface Offer {
  readonly hash: Hash
  /** The change, or the code with which its chunk must be refused. */
  readonly change: Change | Code
  /** Whether the change has the form of a genesis or of a text's container but is not the real one (`derivation`). */
  readonly forged: boolean
  readonly collection: string
  /** Whether the change's actor is derived: computed from the change, and so bound to no principal. */
  readonly derived: boolean
  readonly adopt: boolean
  readonly principal: string
  /** Whether the entity's heads equal the heads in the `if` of its entry. Absent when the entry has no `if`. */
  readonly atHeads?: boolean | undefined
}

/**
 * Facts about a change. They take into account all appended entries, and the changes of the same entry that were
 * admitted before this change.
 */
export interface Facts {
  /**
   * Position of the entry that already holds the change; 0 when this is the entry being judged. Undefined: the change
   * is new.
   */
  readonly known: number | undefined
  /** Undefined: the entity does not exist yet. */
  readonly state: EntityState | undefined
  /** maxOp of each dep of the change; undefined for a dep that this entity does not have. */
  readonly deps: readonly (number | undefined)[]
  /** The last change of the change's actor in this entity. */
  readonly tail: Tail | undefined
  /**
   * Whether the actor's last change is an ancestor of the change. Also true if the actor has no last change, if the
   * change has a wrong seq anyway, or if the walk over the ancestors ran out of look-ups.
   */
  readonly follows: boolean
  /** The principal to which the actor is bound. */
  readonly bound: string | undefined
}

/**
 * Returns `"KNOWN"` if the change is in the log, undefined if it may be appended, else the code with which it is
 * refused. `"KNOWN"` comes before all refusals, so that a change in the log is acknowledged whenever it is pushed
 * again, even if its entity was purged since.
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
  // Only an entity's first change has no deps, and all replicas make the same first change for an entity of a
  // collection. If this change were in the log, it would be known. So it was made for another collection, or by a
  // client that breaks the rules.
  if (change.deps.length === 0 && state) return "COLLECTION_MISMATCH"
  if (offer.forged) return "CHUNK_BAD"

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

/** Returns the entity's heads after this change is appended. */
export function headsAfter(heads: readonly Hash[], change: Pick<Change, "hash" | "deps">): Hash[] {
  const gone = finder(change.deps)
  const left = heads.filter((head) => !gone(head))
  left.push(change.hash)
  return left
}

export function sameHeads(a: readonly Hash[], b: readonly Hash[]): boolean {
  return a.length === b.length && a.every(finder(b))
}

/**
 * Returns a function that tells whether a hash is among `hashes`. Mostly `hashes` has one element, but it may have a
 * thousand.
 */
function finder(hashes: readonly Hash[]): (hash: Hash) => boolean {
  if (hashes.length < 8) return (hash) => hashes.includes(hash)
  const set = new Set(hashes)
  return (hash) => set.has(hash)
}
