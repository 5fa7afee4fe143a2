/** Who authors changes in this session, and which of the held changes were authored in it. */
import type { Clock } from "../base/env.ts"
import { hex } from "../base/hash.ts"
import type { History } from "../document/history.ts"
import { type Change, isDerived } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"
import type { Transaction } from "./transaction.ts"

export class Authorship {
  readonly #clock: Clock
  #actor: Actor
  /** Of each entity that this session wrote to under its present principal: the last seq that each of its actors has used. */
  readonly #lastSeqs = new Map<string, Map<Actor, number>>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.#actor = hex(clock.random(16))
  }

  /** The session actor; never persisted. */
  get actor(): Actor {
    return this.#actor
  }

  /** A duplicate (actor, seq) wedges a document for everybody: after anything doubtful the session takes a new actor. */
  takeFreshActor(): void {
    this.#actor = hex(this.#clock.random(16))
  }

  /** The changes that a transaction makes are saved, or may be. */
  follow({ minted }: Transaction): void {
    for (const { entity, change } of minted.values()) {
      let seqs = this.#lastSeqs.get(entity)
      if (seqs === undefined) this.#lastSeqs.set(entity, (seqs = new Map()))
      if (!isDerived(entity, change)) seqs.set(change.actor, Math.max(change.seq, seqs.get(change.actor) ?? 0))
    }
  }

  /** Another principal is connected: what was made before is not its own. */
  forget(): void {
    this.#lastSeqs.clear()
  }

  /** Whether these changes lack one that the session actor has made: then the next one would have its seq. */
  isLacking(entity: string, history: History): boolean {
    return history.seqOf(this.#actor) < (this.#lastSeqs.get(entity)?.get(this.#actor) ?? 0)
  }

  /** Puts a change that the relay has lost back into the outbox. */
  giveBack(entity: string, change: Change, tx: Transaction): void {
    if (tx.owed(entity, change.hash) !== undefined) return
    const how = this.#isMade(entity, change) ? "again" : "adopt"
    tx.owe({ ...owedOf(entity, change), how, principal: tx.state.principal, fields: [] })
  }

  /** Whether this session made a change. Of a derived one, which everybody makes alike, every author may say so. */
  #isMade(entity: string, change: Change): boolean {
    const seqs = this.#lastSeqs.get(entity)
    return seqs !== undefined && ((seqs.get(change.actor) ?? 0) >= change.seq || isDerived(entity, change))
  }
}

/** The part of an outbox record that the change itself says. */
export function owedOf(entity: string, { hash, startOp, chunk }: Change) {
  return { entity, hash, startOp, bytes: chunk.length }
}
