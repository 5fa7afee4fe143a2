/**
 * The changes on a device's disk: loose records, and pages of the histories of entities (`docs/architecture.md`, "On
 * disk"). A change whose record is damaged still counts as held. The device believes that it has the change until it
 * reads the record, and then asks the relay for the change.
 */
import type { Held } from "../../../src/replica/disk/change-record.ts"
import { type HistoryBlock, heldIn, readPage } from "../../../src/replica/disk/history-page.ts"
import type { Key, Value, Write } from "../../../src/store/store.ts"
import type { Change } from "../../../src/wire/chunk.ts"
import type { Hash } from "../../../src/wire/protocol.ts"

/** A change in a record. `words`: the fields beside the chunk, as JSON (collection, author, adopted, once). */
interface Place {
  readonly entity: string
  readonly words: string
}

/** What a commit did to the changes on a disk. */
export interface Followed {
  /** Changes that were not on the disk before. */
  readonly fresh: readonly Hash[]
  /** Changes that are not on the disk any more, each with its entity. */
  readonly gone: ReadonlyMap<Hash, string>
  /** Changes whose `words` differ after they were moved into a page. */
  readonly otherWords: readonly Hash[]
}

export class ChangesOnDisk {
  readonly #loose = new Map<Hash, Place>()
  readonly #pages = new Map<string, ReadonlyMap<Hash, Place>>()
  /** Changes that the disk has damaged, each with its entity. */
  readonly #damaged = new Map<Hash, string>()
  /** Damaged changes whose records are removed, and that the rows may still show, each with its entity. */
  readonly #removed = new Map<Hash, string>()
  #held: Map<Hash, string> | undefined

  static concerns([, kind]: Key): boolean {
    return kind === "change" || kind === "history"
  }

  /** Every change that the device has, or believes that it has, with its entity. */
  get held(): ReadonlyMap<Hash, string> {
    if (this.#held !== undefined) return this.#held
    const held = new Map(this.#damaged)
    for (const page of this.#pages.values()) for (const [hash, { entity }] of page) held.set(hash, entity)
    for (const [hash, { entity }] of this.#loose) held.set(hash, entity)
    this.#held = held
    return held
  }

  /** Whether the device holds the change, or its rows may still show it although its record is removed. */
  counts(hash: Hash): boolean {
    return this.#removed.has(hash) || this.held.has(hash)
  }

  /** Whether a change for which `counts` is true cannot be read. `entity`: only changes of this entity. */
  isDamaged(entity?: string): boolean {
    const lost = ([hash, of]: readonly [Hash, string]) => (entity ?? of) === of && !this.isWhole(hash)
    return [...this.held, ...this.#removed].some(lost)
  }

  /** Whether the change lies in a record that can be read. */
  isWhole(hash: Hash): boolean {
    return this.#placeOf(hash) !== undefined
  }

  #placeOf(hash: Hash): Place | undefined {
    const loose = this.#loose.get(hash)
    if (loose !== undefined) return loose
    // The newest page has the smallest key.
    for (const name of [...this.#pages.keys()].sort()) {
      const place = this.#pages.get(name)?.get(hash)
      if (place !== undefined) return place
    }
    return undefined
  }

  /**
   * Notes that the disk has damaged changes. Call it before `setLoose` and `setPage`, which take a change out again if
   * another record has it.
   */
  damage(entity: string, hashes: Iterable<Hash>): void {
    this.#held = undefined
    for (const hash of hashes) this.#damaged.set(hash, entity)
  }

  /** Notes that the device has removed the damaged record of a change that its rows may still show. */
  remove(entity: string, hash: Hash): void {
    this.#removed.set(hash, entity)
  }

  /** Notes a loose record. `held`: undefined when the record is gone. */
  setLoose([, , entity = "", hash = ""]: Key, held: Held | undefined): void {
    this.#held = undefined
    if (held === undefined) this.#loose.delete(hash)
    else this.#loose.set(hash, { entity, words: wordsOf(held) })
    if (held !== undefined) this.#damaged.delete(hash)
  }

  /** Notes a page. `value`: undefined when the page is gone. */
  setPage(key: Key, value: Value | undefined): void {
    this.#held = undefined
    const name = key.join("/")
    if (value === undefined) this.#pages.delete(name)
    else this.#pages.set(name, placesIn(key, value))
    for (const hash of this.#pages.get(name)?.keys() ?? []) this.#damaged.delete(hash)
  }

  /** Applies the writes of a commit. `read` decodes a loose record. */
  follow(writes: readonly Write[], read: (value: Uint8Array) => Held): Followed {
    const before = this.held
    const words = new Map<Hash, string | undefined>()
    for (const [[, kind, , hash = ""], value] of writes)
      if (kind === "change" && value === undefined) words.set(hash, this.#placeOf(hash)?.words)
    for (const [key, value] of writes) {
      if (key[1] === "change") this.setLoose(key, value === undefined ? undefined : read(value as Uint8Array))
      else if (key[1] === "history") this.setPage(key, value)
    }
    const otherWords = [...words].flatMap(([hash, before]) => {
      const place = this.#placeOf(hash)
      return place === undefined || before === undefined || place.words === before ? [] : [hash]
    })
    const after = this.held
    return {
      fresh: [...after.keys()].filter((hash) => !before.has(hash)),
      gone: new Map([...before].filter(([hash]) => !after.has(hash))),
      otherWords,
    }
  }
}

function placesIn(key: Key, value: Value): ReadonlyMap<Hash, Place> {
  const held = heldIn(readPage(key, value) as readonly HistoryBlock[])
  return new Map([...held].map((one) => [one.change.hash, { entity: key[2] ?? "", words: wordsOf(one) }]))
}

const wordsOf = ({ collection, by, adopted, once }: Omit<Held, "change">): string =>
  JSON.stringify([collection, by ?? null, adopted ?? false, once ? [...once] : null])

/** The changes in the blocks of a page that can be read. */
export const changesIn = (key: Key, value: Value): Change[] =>
  [...heldIn(readPage(key, value))].map(({ change }) => change)
