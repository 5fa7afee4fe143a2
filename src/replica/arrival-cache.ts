/**
 * A cache of decoded changes that will soon be needed, so that they are not read from the disk and hashed again. It has
 * all changes of each entity that has just arrived from the relay or was just created here: after a first sync such
 * entities are soon projected, after an import they are soon pushed. It also has each change that this session has
 * made, until the change is pushed. Its memory is bounded: changes that do not fit are read from the disk.
 */
import type { Hash } from "../wire/protocol.ts"
import type { Held } from "./disk/change-record.ts"
import type { Transaction } from "./transaction.ts"

/** The most changes of this session that the cache has for pushes. A push reads further changes from the disk. */
const MADE_AT_MOST = 1024

/** The cache remembers the hashes of the changes that this session has made last: at most twice this number. */
const GENERATION = 2048

type Changes = ReadonlyMap<Hash, Held>

export class Arrivals {
  /** By entity, all its changes. */
  readonly #whole = new Map<string, Changes>()
  /**
   * Changes that this session has made and not pushed yet. The value is undefined if the change is in `#whole`, or if
   * there is no room for it.
   */
  readonly #made = new Map<Hash, Held | undefined>()
  /** The hashes of the changes that this session has made last, at most `GENERATION`. */
  #lately = new Set<Hash>()
  /** The `GENERATION` hashes before those in `#lately`. */
  #earlier = new Set<Hash>()
  /** Bytes of all chunks in `#whole` and `#made`. */
  #bytes = 0
  /** The most that `#bytes` may be. */
  readonly #most: number

  constructor(most: number) {
    this.#most = most
  }

  /**
   * Call after a commit. Adds the changes of entities that are new with this commit, and the changes that this session
   * has made. Forgets an older entity when the commit adds or removes one of its changes, judges one as bad, or removes
   * one from the outbox. An entity with a bad change is not added, because a document is made from all changes of the
   * entity that are here.
   */
  follow({ held, dropped, bad, newEntities, outbox, minted }: Transaction): void {
    for (const hash of minted.keys()) this.#remember(hash)
    for (const hashes of dropped.values()) {
      for (const hash of hashes) if (!this.#lately.delete(hash)) this.#earlier.delete(hash)
    }
    for (const entity of dropped.keys()) this.take(entity)
    for (const entity of bad.keys()) this.take(entity)
    for (const { owed, removed } of outbox.values()) {
      if (removed) {
        this.take(owed.entity)
        this.takeMade(owed.hash)
      } else if (owed.how === "own" && this.#made.size < MADE_AT_MOST) {
        const isKept = newEntities.has(owed.entity) // the loop below adds the change to `#whole`
        this.#keepMade(owed.hash, isKept ? undefined : held.get(owed.entity)?.get(owed.hash))
      }
    }
    for (const [entity, changes] of held) {
      this.take(entity)
      const bytes = sizeOf(changes)
      if (!newEntities.has(entity) || bad.has(entity) || this.#bytes + bytes > this.#most) continue
      this.#whole.set(entity, changes)
      this.#bytes += bytes
    }
  }

  #remember(hash: Hash): void {
    if (this.#lately.size === GENERATION) [this.#lately, this.#earlier] = [new Set(), this.#lately]
    this.#lately.add(hash)
  }

  /** Whether this session has made and saved the change lately. */
  wasMadeLately(hash: Hash): boolean {
    return this.#lately.has(hash) || this.#earlier.has(hash)
  }

  /** Returns a change if all changes of its entity are here. */
  get(entity: string, hash: Hash): Held | undefined {
    return this.#whole.get(entity)?.get(hash)
  }

  /** Returns all changes of an entity and forgets them; undefined when they are not here. */
  take(entity: string): Changes | undefined {
    const changes = this.#whole.get(entity)
    if (changes === undefined) return undefined
    this.#whole.delete(entity)
    this.#bytes -= sizeOf(changes)
    return changes
  }

  #keepMade(hash: Hash, made: Held | undefined): void {
    this.takeMade(hash)
    const bytes = made?.change.chunk.length ?? 0
    const hasRoom = this.#bytes + bytes <= this.#most
    this.#made.set(hash, hasRoom ? made : undefined)
    if (hasRoom) this.#bytes += bytes
  }

  /**
   * Returns a change that this session has made, and forgets it; undefined when this session has not made it lately or
   * has pushed it already. If `#made` has only the hash, returns the result of `inDocument`, which takes the change
   * from its live document.
   */
  takeMade(hash: Hash, inDocument?: () => Held | undefined): Held | undefined {
    if (!this.#made.has(hash)) return undefined
    const made = this.#made.get(hash)
    this.#made.delete(hash)
    this.#bytes -= made?.change.chunk.length ?? 0
    return made ?? inDocument?.()
  }

  clear(): void {
    this.#made.clear()
    this.#lately = new Set()
    this.#earlier = new Set()
    this.#whole.clear()
    this.#bytes = 0
  }
}

function sizeOf(changes: Changes): number {
  let bytes = 0
  for (const { change } of changes.values()) bytes += change.chunk.length
  return bytes
}
