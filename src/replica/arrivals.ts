/**
 * Entities that have just come whole from the relay, as they were read off the wire: a device's first sync projects them
 * soon after, and need not read from its disk and hash again what it has in hand. Bounded; what is not here is on the disk.
 */
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./held.ts"
import type { Transaction } from "./transaction.ts"

type Changes = ReadonlyMap<Hash, Held>

export class Arrivals {
  readonly #whole = new Map<string, Changes>()
  #bytes = 0
  /** Bytes of chunks. */
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  /** The commit is on the disk: what it added to entities makes what is here of them incomplete, unless they are new. */
  follow({ held, dropped, newEntities }: Transaction): void {
    for (const entity of dropped.keys()) this.take(entity)
    for (const [entity, changes] of held) {
      this.take(entity)
      const bytes = sizeOf(changes)
      if (!newEntities.has(entity) || this.#bytes + bytes > this.#most) continue
      this.#whole.set(entity, changes)
      this.#bytes += bytes
    }
  }

  /** Every change of an entity that this replica holds, once. */
  take(entity: string): Changes | undefined {
    const changes = this.#whole.get(entity)
    if (changes === undefined) return undefined
    this.#whole.delete(entity)
    this.#bytes -= sizeOf(changes)
    return changes
  }

  clear(): void {
    this.#whole.clear()
    this.#bytes = 0
  }
}

function sizeOf(changes: Changes): number {
  let bytes = 0
  for (const { change } of changes.values()) bytes += change.chunk.length
  return bytes
}
