/** Looks up the facts about a change that admission needs, in the log and in the entry that is being admitted. */

import type { Change } from "../../src/wire/chunk.ts"
import type { Hash } from "../../src/wire/protocol.ts"
import type { AppendedChange, EntityState, Known, Log, Tail } from "../log/contract.ts"
import { type Facts, headsAfter, type Offer, sameHeads } from "./admission-rules.ts"
import { ready, type Work } from "./work.ts"

/** Bounds the walks over ancestors. */
export interface LookUpBudget {
  /** Look-ups that one walk may make. */
  readonly walkLookUps: number
  /** Look-ups left for all walks. */
  lookUpsLeft: number
}

/** One entity: its state in the log, with the admitted changes of one entry on top. */
export class EntityFacts {
  /** The changes that were admitted so far, in order. */
  readonly admitted: AppendedChange[] = []
  state: EntityState | undefined
  readonly #log: Log
  readonly #entity: string
  /** The last admitted change of each actor. */
  readonly #tails = new Map<string, Tail>()
  readonly #admittedByHash = new Map<Hash, AppendedChange>()

  constructor(log: Log, entity: string, state: EntityState | undefined) {
    this.#log = log
    this.#entity = entity
    this.state = state
  }

  *facts({ hash, change, derived }: Offer, budget: LookUpBudget): Work<Facts> {
    const nothing = { state: this.state, deps: [], tail: undefined, follows: true, bound: undefined }
    if (typeof change === "string") return { ...nothing, known: yield* this.#positionOf(hash) }
    const tail = this.#tails.get(change.actor) ?? (yield* ready(this.#log.tail(this.#entity, change.actor)))
    // An actor's changes are appended in the order of their seq, so a change with a higher seq than the last one is not
    // known.
    const known = change.seq > (tail?.seq ?? 0) ? undefined : yield* this.#positionOf(hash)
    if (known !== undefined) return { ...nothing, known }

    const deps: (number | undefined)[] = []
    for (const dep of change.deps) {
      const found = dep === tail?.hash ? tail : yield* this.#change(dep)
      deps.push(found?.maxOp)
    }
    const follows = !tail || change.seq !== tail.seq + 1 || this.#followsPlainly(change, tail)
    return {
      state: this.state,
      known,
      deps,
      tail,
      follows: follows || (yield* this.#descends(change, tail, budget)),
      bound: derived ? undefined : yield* ready(this.#log.binding(change.actor)),
    }
  }

  /** Adds an admitted change. `unbound`: the change does not bind its actor to the principal of the entry. */
  admit(change: Change, collection: string, unbound: boolean): void {
    const { hash, actor, seq, startOp, maxOp, deps } = change
    const admitted: AppendedChange = { hash, actor, seq, startOp, maxOp, deps, ...(unbound ? {} : { binds: true }) }
    this.admitted.push(admitted)
    this.#admittedByHash.set(hash, admitted)
    this.#tails.set(actor, admitted)
    this.state = { collection, heads: headsAfter(this.state?.heads ?? [], change) }
  }

  /** Returns the position of the entry that holds a change: 0 for an admitted change, undefined for an unknown one. */
  *#positionOf(hash: Hash): Work<number | undefined> {
    return this.#admittedByHash.has(hash) ? 0 : (yield* ready(this.#log.known(this.#entity, hash)))?.position
  }

  *#change(hash: Hash): Work<AppendedChange | Known | undefined> {
    return this.#admittedByHash.get(hash) ?? (yield* ready(this.#log.known(this.#entity, hash)))
  }

  /**
   * Whether the deps of a change show, without a walk, that the change follows its actor's last change. The deps of
   * nearly every honest change show it.
   */
  #followsPlainly(change: Change, last: Tail): boolean {
    return change.deps.includes(last.hash) || sameHeads(change.deps, this.state?.heads ?? [])
  }

  /**
   * Whether the actor's last change is an ancestor of this change. Operation numbers grow from each change to those
   * that depend on it. So the walk does not go beyond an ancestor with lower numbers than the actor's last change: such
   * an ancestor cannot descend from that change. Returns true when the budget is used up, so that the change is
   * admitted; replicas, which hold the document, check the change again.
   */
  *#descends(change: Change, last: Tail, budget: LookUpBudget): Work<boolean> {
    const seen = new Set<Hash>(change.deps)
    const open = [...seen]
    for (let left = budget.walkLookUps; open.length > 0; left--) {
      if (left === 0 || budget.lookUpsLeft-- <= 0) return true
      const ancestor = yield* this.#change(open.pop()!)
      if (!ancestor || ancestor.maxOp < last.maxOp) continue
      for (const dep of ancestor.deps) {
        if (dep === last.hash) return true
        if (!seen.has(dep)) open.push(dep)
        seen.add(dep)
      }
    }
    return false
  }
}
