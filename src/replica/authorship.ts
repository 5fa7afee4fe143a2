/** The session actor, and a record of the changes that this session has made. */
import type { Clock } from "../base/env.ts"
import { hex } from "../base/hash.ts"
import type { History } from "../document/history/history.ts"
import { type Change, isDerived } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"
import { isOurs } from "./disk/outbox-principal.ts"
import type { State } from "./disk/records.ts"
import type { Transaction } from "./transaction.ts"

/** The last change that this session has made in one entity under one actor. */
interface Made {
  readonly seq: number
  /** The principal that had connected last when the change was made; null if none had connected yet. */
  readonly principal: string | null
}

export class Authorship {
  readonly #clock: Clock
  #actor: Actor
  /** The last change of this session, by entity and by actor. */
  readonly #made = new Map<string, Map<Actor, Made>>()

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
   * (actor, seq) would make the document unusable on every replica.
   */
  takeFreshActor(): void {
    this.#actor = hex(this.#clock.random(16))
  }

  /** Notes the changes that a transaction has made. Call when its commit has succeeded, or may have succeeded. */
  follow({ minted }: Transaction): void {
    for (const { entity, change, principal } of minted.values()) {
      let made = this.#made.get(entity)
      if (made === undefined) this.#made.set(entity, (made = new Map()))
      const seq = Math.max(change.seq, made.get(change.actor)?.seq ?? 0)
      made.set(change.actor, { seq, principal })
    }
  }

  /**
   * Whether this history of an entity lacks a change that was made under the session actor. If so, the next change
   * needs a new actor: under the old actor it would get the seq of the missing change.
   */
  isLacking(entity: string, history: History): boolean {
    return history.seqOf(this.#actor) < (this.#made.get(entity)?.get(this.#actor)?.seq ?? 0)
  }

  /** Whether this session has made the change. */
  hasMade(entity: string, { actor, seq }: Change): boolean {
    return (this.#made.get(entity)?.get(actor)?.seq ?? 0) >= seq
  }

  /** Puts a change that the relay has lost back into the outbox. */
  giveBack(entity: string, change: Change, tx: Transaction): void {
    if (tx.owed(entity, change.hash) !== undefined) return
    const how = this.#isOwn(entity, change, tx.state) ? "again" : "adopt"
    tx.owe({ ...owedOf(entity, change), how, principal: tx.state.principal, fields: [] })
  }

  /**
   * Whether this session made a change under the principal that is connected now. A derived change counts as made by
   * this session if the session wrote to the entity under this principal, because all replicas make the same derived
   * changes.
   */
  #isOwn(entity: string, change: Change, state: State): boolean {
    const own = (made: Made) => isOurs({ principal: made.principal, how: "again" }, state)
    const made = this.#made.get(entity)
    const last = made?.get(change.actor)
    if (last !== undefined && last.seq >= change.seq && own(last)) return true
    return made !== undefined && [...made.values()].some(own) && isDerived(entity, change)
  }
}

/** The fields of an outbox record that follow from the change itself. */
export function owedOf(entity: string, { hash, startOp, chunk }: Change) {
  return { entity, hash, startOp, bytes: chunk.length }
}
