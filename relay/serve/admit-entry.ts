/** Judges the changes of one pushed entry in order, each as if the admitted changes before it were already appended. */

import { type Code, HeadwaterError } from "../../src/base/errors.ts"
import { hashOf } from "../../src/wire/chunk.ts"
import { derivation } from "../../src/wire/named-changes.ts"
import { type Entry, type Hash, limits } from "../../src/wire/protocol.ts"
import { changeAt } from "../../src/wire/received-chunks.ts"
import type { AppendedChange, Log } from "../log/contract.ts"
import { judge, type Offer, sameHeads } from "./admission-rules.ts"
import { EntityFacts } from "./entity-facts.ts"
import type { ServeSizes } from "./serve-sizes.ts"
import { ready, type Work } from "./work.ts"

/**
 * Largest entry that may be logged, in bytes. A frame must hold the entry and the other fields of an `entries` message,
 * because an entry too large for a frame would stop every replica that pulls.
 */
export const LOGGED_ENTRY = limits.message - 64 * 1024
/** Each judged change counts against `judgedBytes` with this many bytes, besides the bytes of its chunk. */
const CHANGE_COST = 1024
/**
 * The bytes of a chunk that was refused unread are divided by this number before they count as junk, because the chunk
 * may be readable: see `Junk`.
 */
const READABLE = 8
/** Replaces the hash in the refusal of an entry that has no changes. */
const NO_CHANGE = "0".repeat(64)

/**
 * The principal that pushes an entry. `adopt`: the push says that somebody else may be the author of the changes, so it
 * does not bind the changes' actors to this principal.
 */
export interface By {
  readonly principal: string
  readonly adopt: boolean
}

/** Bounds the work that judging one push may cause. */
export class JudgingBudget {
  /** Look-ups that one walk over ancestors may make. */
  readonly walkLookUps: number
  /** Look-ups left for all walks of the push. Below 0 once a walk was broken off because no look-ups were left. */
  lookUpsLeft: number
  /** The number of junk chunks in the push, and the bytes to count for them: see `Junk`. */
  readonly junk = { chunks: 0, bytes: 0 }
  readonly #judgedBytes: number
  readonly #breathe: () => Promise<void>
  /** Bytes judged since `breathe` was last called. */
  #judged = 0

  /** `breathe`: resolves after other work has had its turn. */
  constructor(sizes: Pick<ServeSizes, "walkLookUps" | "pushLookUps" | "judgedBytes">, breathe: () => Promise<void>) {
    this.walkLookUps = sizes.walkLookUps
    this.lookUpsLeft = sizes.pushLookUps
    this.#judgedBytes = sizes.judgedBytes
    this.#breathe = breathe
  }

  /** Adds junk chunks, and the bytes to count for them. */
  addJunk(chunks: number, bytes: number): void {
    this.junk.chunks += chunks
    this.junk.bytes += bytes
  }

  /** Call it after each judged change. If it returns a promise, wait for the promise before the next change. */
  judged(chunk: Uint8Array): Promise<void> | undefined {
    this.#judged += chunk.length + CHANGE_COST
    if (this.#judged < this.#judgedBytes) return undefined
    this.#judged = 0
    return this.#breathe()
  }
}

export interface Refusal {
  readonly entity: string
  readonly hash: Hash
  readonly code: Code
  /** ms after which the change may be pushed again. */
  readonly retryIn?: number
}

/** The verdict on one pushed entry. */
export interface Outcome {
  /** The chunks to append, in the order of the entry: all chunks except those of known or refused changes. */
  readonly chunks: readonly Uint8Array[]
  /** The changes in these chunks. */
  readonly changes: readonly AppendedChange[]
  readonly refusals: readonly Refusal[]
  /** Position of the furthest logged entry that already holds one of the pushed changes; 0 if there is none. */
  readonly known: number
}

/**
 * Judges the changes of an entry. Until the outcome is appended, nothing else may be appended to this log. Throws only
 * when the log fails.
 */
export function* admitEntry(log: Log, entry: Entry, by: By, budget: JudgingBudget): Work<Outcome> {
  if (entry.kind !== "change") return refuseJunk(entry, "FORBIDDEN", budget)
  if (sizeOf(entry) > LOGGED_ENTRY) return refuseJunk(entry, "TOO_LARGE", budget)

  const entity = new EntityFacts(log, entry.entity, yield* ready(log.entity(entry.entity)))
  const atHeads = entry.if && sameHeads(entry.if, entity.state?.heads ?? [])
  const chunks: Uint8Array[] = []
  const refusals: Refusal[] = []
  let known = 0
  for (const [index, chunk] of entry.chunks.entries()) {
    const offer = offerOf(entry, index, atHeads, by)
    const { hash, change, derived } = offer
    const facts = yield* entity.facts(offer, budget)
    const verdict = judge(offer, facts)
    if (verdict === "KNOWN") known = Math.max(known, facts.known ?? 0)
    else if (verdict !== undefined) refusals.push({ entity: entry.entity, hash, code: verdict })
    else if (typeof change !== "string") {
      chunks.push(chunk)
      entity.admit(change, entry.collection, derived || by.adopt)
    }
    if (verdict === "CHUNK_BAD") budget.addJunk(1, chunk.length)
    if (verdict === "TOO_LARGE") budget.addJunk(1, chunk.length / READABLE)
    yield* ready(budget.judged(chunk))
  }
  return { chunks, changes: entity.admitted, refusals, known }
}

/** Refuses all changes of an entry for the same reason. */
export function refuseEntry({ entity, chunks }: Entry, code: Code): Outcome {
  const hashes = chunks.length === 0 ? [NO_CHANGE] : chunks.map(hashOf)
  const refusals = hashes.map((hash) => ({ entity, hash, code }))
  return { chunks: [], changes: [], refusals, known: 0 }
}

/**
 * Refuses all changes of an entry and counts them as junk, because no honest replica pushes such an entry twice. An
 * entry without chunks (a tombstone) counts as one chunk.
 */
export function refuseJunk(entry: Entry, code: Code, budget: JudgingBudget): Outcome {
  const outcome = refuseEntry(entry, code)
  budget.addJunk(outcome.refusals.length, sizeOf(entry) / READABLE)
  return outcome
}

function sizeOf({ chunks, blobs = [] }: Entry): number {
  let size = 0
  for (const chunk of chunks) size += chunk.length
  for (const blob of blobs) size += blob.length
  return size
}

/**
 * Reads the change in one of the entry's chunks, or finds the code with which the chunk must be refused. Both returned
 * objects are written out in full, because copying common fields with `...` took a fifteenth of the time of a push.
 */
function offerOf(
  { entity, collection, chunks }: Entry,
  index: number,
  atHeads: boolean | undefined,
  { principal, adopt }: By,
): Offer {
  try {
    const change = changeAt(chunks, index)
    const is = derivation(entity, collection, change)
    const [derived, forged] = [is !== undefined, is === "forged"]
    return { hash: change.hash, change, derived, forged, collection, atHeads, adopt, principal }
  } catch (error) {
    if (!(error instanceof HeadwaterError)) throw error
    const hash = hashOf(chunks[index] as Uint8Array)
    return { hash, change: error.code, derived: false, forged: false, collection, atHeads, adopt, principal }
  }
}
