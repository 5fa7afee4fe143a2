/**
 * The waits of `whenStored`. Each covers the changes that are in the outbox when it begins. An app may wait after every
 * write of a long flight, so no wait copies the whole outbox: it notes only the changes that no earlier wait has noted,
 * and is over when these are answered and all earlier waits are over.
 */

import { HeadwaterError } from "../base/errors.ts"
import { isOurs } from "../replica/disk/ours.ts"
import type { Outbox } from "../replica/disk/outbox.ts"
import type { Replica } from "../replica/replica.ts"
import type { Hash } from "../wire/protocol.ts"

export interface StoredWait {
  /** The changes that this wait has noted and that the relay has not answered for, as far as anybody has looked. */
  readonly owed: Map<Hash, string>
  /** False: whoever waited has given up. What is noted stays, for the waits that follow. */
  wanted: boolean
  over: boolean
  /** A change that the relay refused for good while the wait lasted. */
  refused: Hash | undefined
  error: HeadwaterError | undefined
}

export class StoredWaits {
  readonly #replica: Replica
  /** The waits that are not over, the oldest first. Only the last one may be unwanted. */
  #waits: StoredWait[] = []
  /**
   * The outbox, its number of additions, and the principal when the last wait began. What of that outbox was that
   * principal's own then is in `#waits`, or answered.
   */
  #noted: { readonly outbox: Outbox; readonly additions: number; readonly principal: string | null } | undefined
  /** The principal for which `#waits` were looked at last. */
  #principal: string | null = null

  constructor(replica: Replica) {
    this.#replica = replica
  }

  begin(): StoredWait {
    this.#look()
    this.#noteRefused()
    const wait = this.#next()
    const { outbox, state } = this.#replica
    const { principal } = state
    const noted = this.#noted?.outbox === outbox && this.#noted.principal === principal ? this.#noted : undefined
    const added = noted && outbox.addedSince(noted.additions)
    const covered = added === undefined ? new Set(this.#waits.flatMap(({ owed }) => [...owed.keys()])) : undefined
    // Changes of another principal wait until that one connects again; nobody waits for them here.
    for (const owed of added ?? outbox) {
      const left = outbox.get(owed.entity, owed.hash) // what was added may be answered already
      if (left !== undefined && isOurs(left, state) && !covered?.has(owed.hash)) wait.owed.set(owed.hash, owed.entity)
    }
    this.#noted = { outbox, additions: outbox.additions, principal }
    this.#waits.push(wait)
    if (this.#waits.some((one) => this.#isBlocked(one))) wait.error = principalChanged()
    return wait
  }

  /** The wait that begins now: the last one again when it is unwanted, for what it has noted is to be waited for as well. */
  #next(): StoredWait {
    const last = this.#waits.at(-1)
    const fresh = { owed: new Map(), wanted: true, over: false, refused: undefined, error: undefined }
    if (last === undefined || last.wanted) return fresh
    this.#waits.pop()
    if (this.#noted?.principal !== this.#replica.state.principal) return fresh
    return { ...fresh, owed: last.owed }
  }

  /**
   * Whether the relay has answered for everything that the wait covers. Throws `PRINCIPAL_CHANGED` when a change of it
   * waits for another principal than the one that is connected, `REJECTED` when it is over and a change was refused.
   */
  isOver(wait: StoredWait): boolean {
    this.#look()
    if (wait.error !== undefined) throw wait.error
    if (wait.over && wait.refused !== undefined) {
      const message = `the relay refused change ${wait.refused} for good; it is on the rejected list`
      throw new HeadwaterError("REJECTED", message)
    }
    return wait.over
  }

  /** Nobody waits any more. */
  leave(wait: StoredWait): void {
    wait.wanted = false
    const at = this.#waits.indexOf(wait)
    const next = this.#waits[at + 1]
    if (at < 0 || next === undefined) return
    for (const [hash, entity] of wait.owed) next.owed.set(hash, entity)
    this.#waits.splice(at, 1)
  }

  /** Ends the waits, from the oldest on, whose changes are all answered. */
  #look(): void {
    const { principal } = this.#replica.state
    if (principal !== this.#principal) this.#failBlocked()
    this.#principal = principal
    while (this.#waits[0] !== undefined && this.#isAnswered(this.#waits[0])) {
      this.#waits[0].over = true
      this.#waits.shift()
    }
  }

  /** Notes what was refused before a new wait begins, which must not hear of it. */
  #noteRefused(): void {
    const { outbox, rejected } = this.#replica
    if (rejected.size === 0) return
    for (const [at, { owed }] of this.#waits.entries()) {
      for (const [hash, entity] of owed) {
        if (!rejected.get(entity)?.has(hash) || outbox.get(entity, hash) !== undefined) continue
        for (const wait of this.#waits.slice(at)) wait.refused ??= hash
        owed.delete(hash)
      }
    }
  }

  #isAnswered({ owed }: StoredWait): boolean {
    const { outbox, rejected } = this.#replica
    for (const [hash, entity] of owed) {
      if (outbox.get(entity, hash) !== undefined) return false
      if (rejected.get(entity)?.has(hash)) for (const wait of this.#waits) wait.refused ??= hash
      owed.delete(hash)
    }
    return true
  }

  /** Fails the waits that cover a change which waits for another principal: the first that has noted one, and all behind. */
  #failBlocked(): void {
    const at = this.#waits.findIndex((wait) => this.#isBlocked(wait))
    if (at < 0) return
    for (const wait of this.#waits.splice(at)) wait.error = principalChanged()
    this.#noted = undefined
  }

  #isBlocked({ owed }: StoredWait): boolean {
    const { outbox, state } = this.#replica
    if (outbox.others(state).length === 0) return false
    for (const [hash, entity] of owed) {
      const left = outbox.get(entity, hash)
      if (left !== undefined && outbox.waitsForOther(left, state)) return true
    }
    return false
  }
}

const principalChanged = () =>
  new HeadwaterError(
    "PRINCIPAL_CHANGED",
    "another principal is connected, or its unsent changes come first: wait until it is back",
  )
