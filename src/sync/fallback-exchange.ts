/**
 * The fallback exchange, for when the relay does not know our cursor, or lacks the deps of a change. This replica sends
 * a `have`: the heads of its entities. The relay answers with a `want`: its own heads of the entities of which it lacks
 * changes (docs/protocol.md, section 5).
 */

import type { ConnectionSteps } from "../replica/exchange/connection-steps.ts"
import { type Covered, haveOf, noteUnnamed } from "../replica/exchange/have-and-want.ts"
import { further } from "../replica/exchange/log-places.ts"
import type { Received } from "../replica/exchange/receive-entries.ts"
import { type Cursor, type EntityHeads, type Have, limits } from "../wire/protocol.ts"

/**
 * The most `have`s that an attempt sends for one entity alone. After that, the entity waits for the next attempt, or
 * until entries of it arrive: these allow one more `have`.
 */
const HAVES_AT_MOST = 5
/**
 * How many times an attempt pushes changes of an entity again at once, because a `want` shows that the relay lacks
 * them. A relay that lacks them more often loses acknowledged changes. From then on, the attempt waits for
 * `WANT_AGAIN_MS` before it pushes them again.
 */
const WANTS_AT_ONCE = 10
const WANT_AGAIN_MS = 2 * 60_000

export class FallbackExchange {
  readonly #steps: ConnectionSteps
  readonly #send: (have: Have) => void
  readonly #mayPush: () => void
  #ended = false
  /**
   * Set while a heal is under way. `reach`: the furthest place in the log that acks have named during the heal; null
   * before the first. `damages`: `state.damages` when the heal began.
   */
  #healing: { reach: Cursor | null; damages: number } | undefined
  /**
   * Entities whose changes are not pushed now. Each waits for the `want` that answers its `have`, for `WANT_AGAIN_MS`,
   * or, after `HAVES_AT_MOST`, for entries.
   */
  readonly #awaitingWant = new Set<string>()
  /** By entity: how often in this attempt a `want` has shown that the relay lacks changes of it. */
  readonly #wants = new Map<string, number>()
  /** By entity: cancels the timer of `WANT_AGAIN_MS`. */
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
   * Call when entries with a cursor are about to be committed, because such a cursor ends a heal. Returns the value of
   * `Received.healed`: undefined if no heal was under way.
   */
  endHeal(): Received["healed"] {
    const healed = this.#healing
    this.#healing = undefined
    return healed
  }

  /**
   * Call with the cursor of an ack. Returns the cursor to which the saved reach may rise. During a heal it returns
   * none, because the saved reach may be a place in another log. The cursor that ends the heal replaces that reach.
   */
  learn(at: Cursor | undefined): Cursor | undefined {
    if (this.#healing === undefined) return at
    if (at !== undefined) this.#healing.reach = further(this.#healing.reach, at)
    return undefined
  }

  /** Sends the `have` of all entities, in pages. */
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
   * Sends a `have` for one entity, because the relay lacks the deps of one of its changes. After the relay's answer,
   * the deps go into the outbox, and are pushed first. Returns false if `HAVES_AT_MOST` were sent already.
   */
  async sayOf(entity: string): Promise<boolean> {
    if (this.#awaitingWant.has(entity)) return true
    const times = (this.#haves.get(entity) ?? 0) + 1
    this.#haves.set(entity, times)
    this.#awaitingWant.add(entity)
    if (times > HAVES_AT_MOST) return false // without another `have`, no `want` comes
    const { replica } = this.#steps
    for await (const have of haveOf(replica, entity)) {
      if (!this.#ended) this.#send({ t: "have", w: replica.id, page: [have], more: false, single: true })
      break // one `have` is enough, because the relay answers with all its heads
    }
    return true
  }

  /**
   * Call when entries have arrived for an entity that waits after `HAVES_AT_MOST`. The missing deps may be among them,
   * so its changes are pushed again, and one more `have` may be sent.
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

  /** Call when a `want` shows that the relay lacks changes of an entity (see `WANTS_AT_ONCE`). */
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
