/** The session actor, and which changes were made in this session. */
import type { Clock } from "../base/env.ts"
import { hex } from "../base/hash.ts"
import type { History } from "../document/history.ts"
import { type Change, isDerived } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"
import type { Transaction } from "./transaction.ts"

export class Authorship {
  readonly #clock: Clock
  #actor: Actor
  /** By entity and by actor, the last seq that this session has used under its present principal. */
  readonly #lastSeqs = new Map<string, Map<Actor, number>>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#actor = hex(clock.random(16))
  }

  /** The session actor; never persisted. */
  get actor(): Actor {
    return this.#actor
  }

  /**
   * Takes a new session actor. Needed whenever it is unknown which seqs the old actor has used: two changes with one
   * (actor, seq) make a document unusable for everybody.
   */
  takeFreshActor(): void {
    this.#actor = hex(this.#clock.random(16))
  }

  /** Call when the changes that a transaction made are saved, or may have been saved. */
  follow({ minted }: Transaction): void {
    for (const { entity, change } of minted.values()) {
      let seqs = this.#lastSeqs.get(entity)
      if (seqs === undefined) this.#lastSeqs.set(entity, (seqs = new Map()))
      seqs.set(change.actor, Math.max(change.seq, seqs.get(change.actor) ?? 0))
    }
  }

  /** Call when another principal is connected: the changes that were made before are not that principal's own. */
  forget(): void {
    this.#lastSeqs.clear()
  }

  /**
   * Whether these changes lack a change that was made under the session actor. The next change would then get the seq
   * of that change.
   */
  isLacking(entity: string, history: History): boolean {
    return history.seqOf(this.#actor) < (this.#lastSeqs.get(entity)?.get(this.#actor) ?? 0)
  }

  /** Puts a change that the relay has lost back into the outbox. */
  giveBack(entity: string, change: Change, tx: Transaction): void {
    if (tx.owed(entity, change.hash) !== undefined) return
    const how = this.#isMade(entity, change) ? "again" : "adopt"
    tx.owe({ ...owedOf(entity, change), how, principal: tx.state.principal, fields: [] })
  }

  /**
   * Whether this session made a change. In an entity that the session wrote to, a derived change counts as its own,
   * because all replicas make the same derived change.
   */
  #isMade(entity: string, change: Change): boolean {
    const seqs = this.#lastSeqs.get(entity)
    return seqs !== undefined && ((seqs.get(change.actor) ?? 0) >= change.seq || isDerived(entity, change))
  }
}

/** The fields of an outbox record that follow from the change itself. */
export function owedOf(entity: string, { hash, startOp, chunk }: Change) {
  return { entity, hash, startOp, bytes: chunk.length }
}
