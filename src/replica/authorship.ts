/** Who authors changes in this session, and which of the held changes were authored in it. */
import type { Clock } from "../base/env.ts"
import { hex } from "../base/hash.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import type { Transaction } from "./transaction.ts"

export class Authorship {
  readonly #clock: Clock
  #actor: Actor
  /** Saved changes that were made in this session: this tells own changes from others', never the actor. */
  readonly #made = new Set<Hash>()

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
    for (const hash of minted) this.#made.add(hash)
  }

  /** Puts a change back into the outbox: as own when it was made in this session, otherwise to be adopted. */
  giveBack(entity: string, change: Change, tx: Transaction): void {
    if (tx.owed(entity, change.hash) !== undefined) return
    const how = this.#made.has(change.hash) ? "own" : "adopt"
    tx.owe({ ...owedOf(entity, change), how, principal: tx.state.principal, fields: [] })
  }
}

/** The part of an outbox record that the change itself says. */
export function owedOf(entity: string, { hash, startOp, chunk }: Change) {
  return { entity, hash, startOp, bytes: chunk.length }
}
