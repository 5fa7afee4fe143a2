/** The sealed segments of a log, oldest first. What is asked about its past is asked of the newest first. */
import type { Actor, Hash } from "../../src/protocol.ts"
import type { EntityState, Known, Tail } from "../log.ts"
import { bindingKey, type Key, keyWithin } from "./format.ts"
import { Kind, probeOf } from "./index-format.ts"
import type { Sealed } from "./sealed.ts"

export class History {
  readonly segments: Sealed[] = []
  readonly #salt: number

  /** `salt` as in the marks of the log. */
  constructor(salt: number) {
    this.#salt = salt
  }

  get newest(): Sealed | undefined {
    return this.segments.at(-1)
  }

  state(entity: Key): Promise<EntityState | undefined> {
    return this.#find(entity, Kind.entity, (segment) => segment.state(entity))
  }

  known(entity: Key, hash: Hash): Promise<Known | undefined> {
    return this.#find(keyWithin(entity, hash), Kind.change, (segment) => segment.known(entity, hash))
  }

  tail(entity: Key, actor: Actor): Promise<Tail | undefined> {
    return this.#find(keyWithin(entity, actor), Kind.tail, (segment) => segment.tail(entity, actor))
  }

  binding(actor: Actor): Promise<string | undefined> {
    return this.#find(bindingKey(actor), Kind.binding, (segment) => segment.binding(actor))
  }

  async #find<T>(key: Key, kind: Kind, look: (segment: Sealed) => Promise<T | undefined>): Promise<T | undefined> {
    const probe = probeOf(key, 0, kind, this.#salt)
    for (let i = this.segments.length - 1; i >= 0; i--) {
      const segment = this.segments[i]!
      const lacks = segment.lacks(probe)
      if (lacks === true || (lacks !== false && (await lacks))) continue
      const found = await look(segment)
      if (found !== undefined) return found
    }
    return undefined
  }
}
