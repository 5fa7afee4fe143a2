/**
 * Entities of which every change has just come from the relay, kept as they were decoded. A device's first sync projects
 * them soon after; without this it would read each change from the disk and hash it again. Bounded: the rest is on the disk.
 */
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./held-change.ts"
import type { Transaction } from "./transaction.ts"

type Changes = ReadonlyMap<Hash, Held>

export class Arrivals {
  readonly #whole = new Map<string, Changes>()
  /** Bytes of chunks in here, and at most. */
  #bytes = 0
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  /** Follows a commit: keeps the new entities that it brought, and forgets those to which it added or from which it removed. */
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

  /** Every held change of an entity, given once and forgotten. */
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
