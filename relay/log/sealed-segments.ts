/** The sealed segments of a log, oldest first. What is asked about its past is asked of the newest first. */
import type { Actor, Hash } from "../../src/wire/protocol.ts"
import type { Awaitable, EntityState, Known, Tail } from "./contract.ts"
import { ActorKeys, changeKey, type Key, type Marks, tailKey } from "./segment/format.ts"
import { Kind, type Probe, probeOf } from "./segment/index-format.ts"
import type { Sealed } from "./segment/sealed-segment.ts"

export class History {
  readonly segments: Sealed[] = []
  readonly actors: ActorKeys
  readonly #salt: number

  /** `marks` of the log. */
  constructor(marks: Marks) {
    this.actors = new ActorKeys(marks)
    this.#salt = marks.salt
  }

  get newest(): Sealed | undefined {
    return this.segments.at(-1)
  }

  state(entity: Key): Awaitable<EntityState | undefined> {
    return this.#find(entity, Kind.entity, (segment) => segment.state(entity))
  }

  known(entity: Key, hash: Hash): Awaitable<Known | undefined> {
    const key = changeKey(entity, hash)
    return this.#find(key, Kind.change, (segment) => segment.known(key, entity, hash))
  }

  tail(entity: Key, actor: Actor): Awaitable<Tail | undefined> {
    const key = tailKey(entity, this.actors.of(actor))
    return this.#find(key, Kind.tail, (segment) => segment.tail(key, entity, actor))
  }

  binding(actor: Actor): Awaitable<string | undefined> {
    const key = this.actors.of(actor)
    return this.#find(key, Kind.binding, (segment) => segment.binding(key, actor))
  }

  /** At once where the filters say that no segment has it: most of what is asked for is new. */
  #find<T>(key: Key, kind: Kind, look: (segment: Sealed) => Promise<T | undefined>): Awaitable<T | undefined> {
    const probe = probeOf(key, 0, kind, this.#salt)
    for (let i = this.segments.length - 1; i >= 0; i--) {
      const lacks = this.segments[i]!.lacks(probe)
      if (lacks !== true) return this.#findFrom(i, lacks, probe, look)
    }
    return undefined
  }

  /** `lacks`: what the `from`-th segment has said. */
  async #findFrom<T>(
    from: number,
    lacks: false | Promise<boolean>,
    probe: Probe,
    look: (segment: Sealed) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    let absent: boolean | Promise<boolean> = lacks
    for (let i = from; i >= 0; i--) {
      const segment = this.segments[i]!
      if (i < from) absent = segment.lacks(probe)
      if (absent === true || (absent !== false && (await absent))) continue
      const found = await look(segment)
      if (found !== undefined) return found
    }
    return undefined
  }
}
