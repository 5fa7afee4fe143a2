/**
 * The fallback exchange: when the relay does not know a cursor, or the deps of a change, this side sends what it has,
 * by entity and heads, and the relay answers with what it wants (docs/protocol.md, section 5).
 */

import type { ConnectionSteps } from "../replica/exchange/connection-steps.ts"
import { type Covered, haveOf, noteUnnamed } from "../replica/exchange/have-and-want.ts"
import { further } from "../replica/exchange/log-places.ts"
import type { Received } from "../replica/exchange/receive-entries.ts"
import { type Cursor, type EntityHeads, type Have, limits } from "../wire/protocol.ts"

/**
 * How many `have`s for one entity an attempt sends at most. After that, the entity waits until entries of it arrive,
 * which allow one more `have`, or until the next attempt.
 */
const HAVES_AT_MOST = 5
/**
 * How often an attempt pushes changes of an entity again at once because a `want` shows that the relay lacks them. A
 * relay that lacks them more often does not keep what it acknowledges. After that, they are pushed once in
 * `WANT_AGAIN_MS`.
 */
const WANTS_AT_ONCE = 10
const WANT_AGAIN_MS = 2 * 60_000

export class FallbackExchange {
  readonly #steps: ConnectionSteps
  readonly #send: (have: Have) => void
  readonly #mayPush: () => void
  #ended = false
  /**
   * Set while a heal is under way. `reach`: the furthest place in the relay's present log that acks have named during
   * the heal. `damages`: the number `state.damages` when the heal began.
   */
  #healing: { reach: Cursor | null; damages: number } | undefined
  /** Entities whose changes are not pushed now: they wait for the `want` that answers a `have`, or for a timer. */
  readonly #awaitingWant = new Set<string>()
  /** By entity: how often in this attempt a `want` has shown that the relay lacks changes of it. */
  readonly #wants = new Map<string, number>()
  /** By entity whose changes wait for `WANT_AGAIN_MS`: cancels the timer. */
  readonly #waits = new Map<string, () => void>()
  /** By entity: how many `have`s this attempt has sent for it alone. */
  readonly #haves = new Map<string, number>()

  /** `mayPush` is called when changes that had to wait for a timer may be pushed. */
  constructor(steps: ConnectionSteps, send: (have: Have) => void, mayPush: () => void) {
    this.#steps = steps
    this.#mayPush = mayPush
    this.#send = send
  }

  /** Whether a heal is under way. */
  get heals(): boolean {
    return this.#healing !== undefined
  }

  /** Call when the relay does not know our cursor. */
  beginHeal(): void {
    this.#healing = { reach: null, damages: this.#steps.replica.state.damages }
  }

  /**
   * Call when a cursor has come, which ends a heal. Returns what `Received.healed` needs; undefined when no heal was
   * under way.
   */
  endHeal(): Received["healed"] {
    const healed = this.#healing
    this.#healing = undefined
    return healed
  }

  /**
   * Takes the cursor of an ack. Returns the cursor to which the saved reach may rise. During a heal it returns none:
   * the old reach stays until the new cursor is committed, so that a crash before that leads to a heal again.
   */
  learn(at: Cursor | undefined): Cursor | undefined {
    if (this.#healing === undefined) return at
    if (at !== undefined) this.#healing.reach = further(this.#healing.reach, at)
    return undefined
  }

  /** Sends the `have` of all entities. */
  async sayAll(): Promise<void> {
    const { replica } = this.#steps
    this.#healing ??= { reach: null, damages: replica.state.damages }
    let page: EntityHeads[] = []
    let bytes = 0
    const covered: Covered = new Map()
    for await (const entity of haveOf(replica, undefined, covered)) {
      if (this.#ended) return
      page.push(entity)
      bytes += 40 + 34 * entity[1].length
      if (page.length < limits.page && bytes < replica.sizes.haveBytes) continue
      this.#send({ t: "have", w: replica.id, page, more: true })
      page = []
      bytes = 0
    }
    if (covered.size > 0) await noteUnnamed(this.#steps, covered)
    if (!this.#ended) this.#send({ t: "have", w: replica.id, page, more: false })
  }

  /**
   * Sends a `have` for one entity, because the relay lacks the deps of one of its changes. After the answer, these deps
   * are pushed first. Returns false when `HAVES_AT_MOST` were sent already, so that the entity has to wait.
   */
  async sayOf(entity: string): Promise<boolean> {
    if (this.#awaitingWant.has(entity)) return true
    const times = (this.#haves.get(entity) ?? 0) + 1
    this.#haves.set(entity, times)
    this.#awaitingWant.add(entity)
    if (times > HAVES_AT_MOST) return false // no want will come
    const { replica } = this.#steps
    for await (const have of haveOf(replica, entity)) {
      if (!this.#ended) this.#send({ t: "have", w: replica.id, page: [have], more: false, single: true })
      break // one `have` is enough, because the relay answers with all its heads
    }
    return true
  }

  /**
   * Call when entries of an entity have arrived. The missing deps may be among them, so one more `have` may be sent.
   */
  askOnceMore(entity: string): void {
    this.#haves.set(entity, HAVES_AT_MOST - 1)
    this.#awaitingWant.delete(entity)
  }

  awaitsWant(entity: string): boolean {
    return this.#awaitingWant.has(entity)
  }

  /** Call when the outbox has all changes of these entities that the relay lacks. */
  settled(entities: readonly string[]): void {
    for (const entity of entities) this.#awaitingWant.delete(entity)
  }

  /** Call when a `want` shows that the relay lacks changes of an entity. If that happens often, the changes wait. */
  lacked(entity: string): void {
    const times = (this.#wants.get(entity) ?? 0) + 1
    this.#wants.set(entity, times)
    if (times <= WANTS_AT_ONCE) return
    this.#awaitingWant.add(entity)
    if (this.#waits.has(entity)) return
    const cancel = this.#steps.replica.clock.after(WANT_AGAIN_MS, () => {
      this.#waits.delete(entity)
      this.#awaitingWant.delete(entity)
      this.#mayPush()
    })
    this.#waits.set(entity, cancel)
  }

  end(): void {
    this.#ended = true
    for (const cancel of this.#waits.values()) cancel()
  }
}
