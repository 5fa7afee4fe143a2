/**
 * The sealed segments of a log. A look-up asks them from the newest to the oldest. Bloom filters make most reads
 * unnecessary.
 */
import type { Actor, Hash } from "../../src/wire/protocol.ts"
import type { Awaitable, EntityState, Known, Tail } from "./contract.ts"
import { type Probe, probeOf } from "./segment/bloom.ts"
import type { Secret } from "./segment/header.ts"
import { ActorKeys, changeKey, type Key, tailKey } from "./segment/keys.ts"
import { PointerKind } from "./segment/sealed-index-format.ts"
import type { SealedSegment } from "./segment/sealed-segment.ts"

export class SealedSegments {
  readonly oldestFirst: SealedSegment[] = []
  /** The keys of actors in this log. */
  readonly actors: ActorKeys
  readonly #salt: number

  /** `rememberedActors`: the number of actors whose key is cached. */
  constructor(secret: Secret, rememberedActors: number) {
    this.actors = new ActorKeys(secret, rememberedActors)
    this.#salt = secret.salt
  }

  get newest(): SealedSegment | undefined {
    return this.oldestFirst.at(-1)
  }

  state(entity: Key): Awaitable<EntityState | undefined> {
    return this.#find(entity, PointerKind.entity, (segment) => segment.state(entity))
  }

  known(entity: Key, hash: Hash): Awaitable<Known | undefined> {
    const key = changeKey(entity, hash)
    return this.#find(key, PointerKind.change, (segment) => segment.known(key, entity, hash))
  }

  tail(entity: Key, actor: Actor): Awaitable<Tail | undefined> {
    const key = tailKey(entity, this.actors.of(actor))
    return this.#find(key, PointerKind.tail, (segment) => segment.tail(key, entity, actor))
  }

  binding(actor: Actor): Awaitable<string | undefined> {
    const key = this.actors.of(actor)
    return this.#find(key, PointerKind.binding, (segment) => segment.binding(key, actor))
  }

  /**
   * Answers synchronously when the filters in memory show that no segment has the key. This is the usual case, because
   * most look-ups are for new changes.
   */
  #find<T>(
    key: Key,
    kind: PointerKind,
    lookIn: (segment: SealedSegment) => Promise<T | undefined>,
  ): Awaitable<T | undefined> {
    const probe = probeOf(key, 0, kind, this.#salt)
    for (let i = this.oldestFirst.length - 1; i >= 0; i--) {
      const lacks = this.oldestFirst[i]!.lacks(probe)
      if (lacks !== true) return this.#findFrom(i, lacks, probe, lookIn)
    }
    return undefined
  }

  /** The search begins at the `from`-th segment. `lacks`: the answer of that segment's filter. */
  async #findFrom<T>(
    from: number,
    lacks: false | Promise<boolean>,
    probe: Probe,
    lookIn: (segment: SealedSegment) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    let absent: boolean | Promise<boolean> = lacks
    for (let i = from; i >= 0; i--) {
      const segment = this.oldestFirst[i]!
      if (i < from) absent = segment.lacks(probe)
      if (absent === true || (absent !== false && (await absent))) continue
      const found = await lookIn(segment)
      if (found !== undefined) return found
    }
    return undefined
  }
}
