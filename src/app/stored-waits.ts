/**
 * Keeps the waits of `whenStored`. A wait covers the changes that are in the outbox when the wait begins. A change is
 * answered when it has left the outbox, because the relay has stored it or refused it for good. A wait is over when all
 * changes that it covers are answered.
 *
 * An app that is offline for hours may call `whenStored` after each of thousands of writes, so a wait does not copy the
 * whole outbox. It notes only the changes that no earlier wait has noted. So it is over when the changes that it has
 * noted are answered and all earlier waits are over.
 */

import { HeadwaterError } from "../base/errors.ts"
import type { Outbox } from "../replica/disk/outbox.ts"
import { isOurs } from "../replica/disk/outbox-principal.ts"
import type { Replica } from "../replica/replica.ts"
import type { Hash } from "../wire/protocol.ts"

export interface StoredWait {
  /** The changes that this wait has noted, each with its entity. Each check removes the changes that are answered. */
  readonly owed: Map<Hash, string>
  /** False once the caller has stopped waiting. The wait's noted changes are kept, because later waits rely on them. */
  wanted: boolean
  over: boolean
  /** Whether a change that this wait has noted waited for another principal when the wait began. */
  blocked: boolean
  /** A covered change that the relay refused for good while the wait lasted. */
  refused: Hash | undefined
  error: HeadwaterError | undefined
}

export class StoredWaits {
  readonly #replica: Replica
  /** The waits that are not over, the oldest first. Only the last wait may have `wanted` false. */
  #waits: StoredWait[] = []
  /**
   * The outbox, its number of additions, and the principal, all as they were when the last wait began. Every change
   * that could be pushed under this principal at that time is noted in `#waits` or answered.
   */
  #noted: { readonly outbox: Outbox; readonly additions: number; readonly principal: string | null } | undefined
  /** The principal when `#waits` were last checked. */
  #principal: string | null = null
  /** How many changes were on the rejected list when `#noteRefused` last went through the waits. */
  #rejected = 0

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
    // No wait covers changes of another principal, because they are pushed only when that principal connects again.
    for (const owed of added ?? outbox) {
      const left = outbox.get(owed.entity, owed.hash) // undefined if an added change is answered already
      if (left !== undefined && isOurs(left, state) && !covered?.has(owed.hash)) wait.owed.set(owed.hash, owed.entity)
    }
    this.#noted = { outbox, additions: outbox.additions, principal }
    this.#waits.push(wait)
    wait.blocked = this.#isBlocked(wait)
    if (this.#waits.some((one) => one.blocked && this.#isBlocked(one))) wait.error = principalChanged()
    return wait
  }

  /**
   * Returns a new wait. If the caller of the last wait has stopped waiting, the new wait replaces the last one. It
   * takes over the noted changes, because it covers them, too, unless another principal is connected since then.
   */
  #next(): StoredWait {
    const last = this.#waits.at(-1)
    const fresh = { owed: new Map(), wanted: true, over: false, blocked: false, refused: undefined, error: undefined }
    if (last === undefined || last.wanted) return fresh
    this.#waits.pop()
    if (this.#noted?.principal !== this.#replica.state.principal) return fresh
    return { ...fresh, owed: last.owed }
  }

  /**
   * Whether every change that the wait covers is answered. Throws `PRINCIPAL_CHANGED` when a covered change can be
   * pushed only for a principal that is not connected. Throws `REJECTED` when the wait is over and the relay has
   * refused a covered change.
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

  /** Call when the caller waits no more. The next wait, if there is one, takes over the noted changes. */
  leave(wait: StoredWait): void {
    wait.wanted = false
    const at = this.#waits.indexOf(wait)
    const next = this.#waits[at + 1]
    if (at < 0 || next === undefined) return
    for (const [hash, entity] of wait.owed) next.owed.set(hash, entity)
    next.blocked ||= wait.blocked
    this.#waits.splice(at, 1)
  }

  /** Ends the waits that are over, from the oldest up to the first one that is not over. */
  #look(): void {
    const { principal } = this.#replica.state
    if (principal !== this.#principal) this.#failBlocked()
    this.#principal = principal
    while (this.#waits[0] !== undefined && this.#isAnswered(this.#waits[0])) {
      this.#waits[0].over = true
      this.#waits.shift()
    }
  }

  /**
   * Moves every refused change from `owed` to `refused`. Call before a new wait begins, because the new wait must not
   * report changes that were refused before it.
   */
  #noteRefused(): void {
    const { outbox, rejected } = this.#replica
    let count = 0
    for (const changes of rejected.values()) count += changes.size
    if (count === this.#rejected) return // saves each new wait the check of all noted changes
    this.#rejected = count
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

  /**
   * Fails the first wait with a noted change that waits for another principal. Also fails all later waits, because they
   * cover that change, too.
   */
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
    "a change waits until another principal connects: connect as that principal, then wait again",
  )
