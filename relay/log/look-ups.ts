/**
 * Looks up entities, changes and actors in all segments of a log, the newest first. Answers synchronously when memory
 * holds everything that is needed.
 */
import type { Actor, Hash } from "../../src/wire/protocol.ts"
import type { Awaitable, EntityState, Known, Tail } from "./contract.ts"
import type { LogSizes } from "./log-sizes.ts"
import { memoryOfState } from "./segment/entity-heads.ts"
import { entityKey, type Key, keyName } from "./segment/keys.ts"
import type { OpenSegment } from "./segment/open-segment.ts"
import type { SealedSegment } from "./segment/sealed-segment.ts"
import type { Segments } from "./segments.ts"

/** An entity's key, and the same key as a string for maps. */
export interface EntityId {
  readonly key: Key
  readonly name: string
}

type LookUpSizes = Pick<LogSizes, "recentEntities" | "recentStateBytes">

export class LookUps {
  readonly #segments: Segments
  readonly #sizes: LookUpSizes
  /**
   * Keys by entity id. They are cached because hashing takes time, and a push asks for the same entity several times.
   */
  readonly #ids = new Map<string, EntityId>()
  /**
   * A cache, by the name of an entity's key: the state that the entity has at the end of the sealed segment `#newest`.
   * The state that was looked up first is dropped first. Null: the sealed segments do not have the entity.
   */
  readonly #sealedStates = new Map<string, EntityState | null>()
  /** Approximate bytes of memory that these states take. */
  #statesMemory = 0
  /** The newest sealed segment when the cached states were read. */
  #newest: SealedSegment | undefined

  constructor(segments: Segments, sizes: LookUpSizes) {
    this.#segments = segments
    this.#sizes = sizes
  }

  /** Approximate bytes of memory that the cached states take. Everything else here takes less than 400 kB. */
  get memory(): number {
    return this.#statesMemory
  }

  id(entity: string): EntityId {
    let id = this.#ids.get(entity)
    if (!id) {
      if (this.#ids.size >= this.#sizes.recentEntities) this.#ids.clear()
      const key = entityKey(entity)
      this.#ids.set(entity, (id = { key, name: keyName(key) }))
    }
    return id
  }

  entity(entity: string): Awaitable<EntityState | undefined> {
    const id = this.id(entity)
    const state = this.#inMemory(id, this.#segments.inMemory)
    return state === undefined ? this.#readState(id) : (state ?? undefined)
  }

  known(entity: string, hash: Hash): Awaitable<Known | undefined> {
    const id = this.id(entity)
    for (const { index } of this.#segments.inMemory) {
      const known = index.known(id.key, hash)
      if (known) return known
    }
    return this.#isNotInSealed(id) ? undefined : this.#segments.sealed.known(id.key, hash)
  }

  tail(entity: string, actor: Actor): Awaitable<Tail | undefined> {
    const id = this.id(entity)
    for (const { index } of this.#segments.inMemory) {
      const tail = index.tail(id.key, actor)
      if (tail) return tail
    }
    return this.#isNotInSealed(id) ? undefined : this.#segments.sealed.tail(id.key, actor)
  }

  binding(actor: Actor): Awaitable<string | undefined> {
    for (const { index } of this.#segments.inMemory) {
      const principal = index.binding(actor)
      if (principal !== undefined) return principal
    }
    return this.#segments.sealed.newest ? this.#segments.sealed.binding(actor) : undefined
  }

  /**
   * Returns the entity's state before the active segment. Null: the entity had no state. Undefined: the state must be
   * read from the sealed segments.
   */
  before(id: EntityId): EntityState | null | undefined {
    const { closing } = this.#segments
    return this.#inMemory(id, closing ? [closing] : [])
  }

  /**
   * Returns the entity's state at the end of the newest of the given segments, which are ordered newest first. If no
   * segments are given, returns the entity's state at the end of the sealed segments. Null and undefined mean the same
   * as in `before`.
   */
  #inMemory(id: EntityId, [newest, ...older]: readonly OpenSegment[]): EntityState | null | undefined {
    if (!newest) return this.#segments.sealed.newest ? this.#states().get(id.name) : null
    const { index } = newest
    const e = index.entity(id.key)
    if (e === undefined) return this.#inMemory(id, older)
    if (index.before(e) === undefined) {
      const before = this.#inMemory(id, older)
      if (before !== undefined) index.setBefore(e, before)
    }
    return index.state(e)
  }

  async #readState(id: EntityId): Promise<EntityState | undefined> {
    const { sealed } = this.#segments
    for (;;) {
      const { newest } = sealed
      const state = (await sealed.state(id.key)) ?? null
      // Read again if another segment was sealed during the read, because it may have newer changes of the entity.
      if (newest !== sealed.newest) continue
      this.#remember(id.name, state)
      return this.#inMemory(id, this.#segments.inMemory) ?? undefined
    }
  }

  /** Caches a state that was read. Then drops the oldest cached states until the others are within the limits. */
  #remember(name: string, state: EntityState | null): void {
    const states = this.#states()
    const { recentEntities, recentStateBytes } = this.#sizes
    const drop = (dropped: string) => {
      const known = states.get(dropped)
      if (known !== undefined && states.delete(dropped)) this.#statesMemory -= memoryOfState(known)
    }
    drop(name) // another look-up of the entity may have cached its state since the read began
    states.set(name, state)
    this.#statesMemory += memoryOfState(state)
    for (const oldest of states.keys()) {
      const fits = states.size <= recentEntities && this.#statesMemory <= recentStateBytes
      if (fits || oldest === name) return // the state just added is never dropped, because the caller uses it next
      drop(oldest)
    }
  }

  /**
   * Returns the cached states. Drops them once another segment is sealed, because that segment may have newer states.
   */
  #states(): Map<string, EntityState | null> {
    const { newest } = this.#segments.sealed
    if (newest !== this.#newest) {
      this.#sealedStates.clear()
      this.#statesMemory = 0
    }
    this.#newest = newest
    return this.#sealedStates
  }

  /** True: the sealed segments have no records of this entity. False: they may have some. */
  #isNotInSealed({ key, name }: EntityId): boolean {
    if (!this.#segments.sealed.newest || this.#states().get(name) === null) return true
    for (const { index } of this.#segments.inMemory) {
      const e = index.entity(key)
      if (e !== undefined && index.before(e) === null) return true
    }
    return false
  }
}
