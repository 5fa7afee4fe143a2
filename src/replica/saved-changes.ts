/**
 * Reads the changes of entities from the disk, through a transaction: with the changes that its group has added, and
 * without changes that the group has removed or that are known to be bad. Notes changes that the disk has damaged or
 * lost.
 */
import type { Store } from "../store/store.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Arrivals } from "./arrival-cache.ts"
import { madeAgain, noteDamage } from "./damaged-changes.ts"
import type { Held } from "./disk/change-record.ts"
import { takeOut } from "./disk/fold-history.ts"
import { isDamaged, readChanges, readHistory, readPages, type SavedHistory } from "./disk/histories.ts"
import type { Defs } from "./disk/records-in-memory.ts"
import type { Live } from "./live-document.ts"
import type { Transaction } from "./transaction.ts"

export interface SavedChangesOptions {
  readonly workspace: string
  readonly store: Store
  readonly arrivals: Arrivals
  readonly defs: Defs
  /** Returns the live document of an entity, if there is one. */
  readonly liveOf: (entity: string) => Live | undefined
}

export class SavedChanges {
  readonly #o: SavedChangesOptions

  constructor(options: SavedChangesOptions) {
    this.#o = options
  }

  /**
   * Returns the changes of an entity, without known bad changes, from the disk (or the cache) and from this
   * transaction.
   */
  async held(entity: string, tx: Transaction): Promise<Map<Hash, Held>> {
    const added = tx.held.get(entity)
    const dropped = tx.dropped.get(entity)
    const arrived = added === undefined && dropped === undefined ? this.#o.arrivals.take(entity) : undefined
    if (arrived !== undefined) return new Map(arrived)
    const bad = tx.badOf(entity)
    const isLeftOut = (hash: Hash) => bad.has(hash) || dropped?.has(hash) === true || added?.has(hash) === true
    const saved = await this.#read(entity)
    const held = new Map<Hash, Held>()
    for (const [hash, change] of saved.held) if (!isLeftOut(hash)) held.set(hash, change)
    for (const hash of saved.unreadable) {
      const there = isLeftOut(hash) ? undefined : this.#damaged(entity, hash, tx)
      if (there !== undefined) held.set(hash, there)
    }
    for (const [hash, change] of added ?? []) if (!bad.has(hash)) held.set(hash, change)
    if (saved.pages.some(isDamaged)) this.#mendPages(entity, saved, held, tx)
    return held
  }

  #read(entity: string): Promise<SavedHistory> {
    return readHistory(this.#o.store, this.#o.workspace, entity)
  }

  /**
   * Reads a change that is in the outbox. A missing record counts as damaged. Returns undefined when the change can be
   * neither read nor made again, or is no longer in the outbox.
   */
  async heldOwed(entity: string, hash: Hash, tx: Transaction): Promise<Held | undefined> {
    if (tx.owed(entity, hash) === undefined) return undefined
    const read = async () => (await readChanges(this.#o.store, this.#o.workspace, [{ entity, hash }])).get(hash)
    return tx.held.get(entity)?.get(hash) ?? (await read()) ?? this.#damaged(entity, hash, tx)
  }

  /**
   * Whether this replica has only bad changes of the entity, or none, so that the entity's row must be removed. A
   * change whose record is damaged does not count as bad here, nor does a change that waits for other changes.
   */
  async isGone(entity: string, tx: Transaction): Promise<boolean> {
    if ((tx.held.get(entity)?.size ?? 0) > 0) return false
    const bad = tx.badOf(entity)
    for (const { damaged } of bad.values()) if (damaged) return false // the disk may have no record of it
    const { held, unreadable, pages } = await this.#read(entity)
    const isLeft = (hash: Hash) => !tx.dropped.get(entity)?.has(hash) && !bad.has(hash)
    return ![...held.keys(), ...unreadable].some(isLeft) && !pages.some(isDamaged)
  }

  /** Removes from the pages of an entity the changes that this transaction drops. Call after the last `tx.drop`. */
  async takeDroppedOut(entity: string, tx: Transaction): Promise<void> {
    const dropped = tx.dropped.get(entity)
    if (dropped === undefined) return
    const pages = await readPages(this.#o.store, this.#o.workspace, entity)
    for (const [key, value] of takeOut(pages, dropped, { damaged: false })) tx.put(key, value)
  }

  /**
   * Handles a loose record that cannot be read. If the change is in memory with the live document, or the change can be made again
   * (`madeAgain`), writes the record again and returns the change. Otherwise notes the damage.
   */
  #damaged(entity: string, hash: Hash, tx: Transaction): Held | undefined {
    const live = this.#o.liveOf(entity)
    const inMemory = live?.held(hash) ?? live?.waiting.find(({ change }) => change.hash === hash)
    const there = inMemory ?? madeAgain(entity, hash, this.#o.defs, tx)
    if (there === undefined) noteDamage(entity, hash, tx)
    else tx.hold(entity, there)
    return there
  }

  /**
   * Handles damaged pages. Removes their damaged blocks in the commit that notes the damage, so that the damage is
   * noted only once. If the entity has a live document, nothing is lost: the changes of these blocks are in the
   * document, and are written again as loose records.
   */
  #mendPages(entity: string, { pages }: SavedHistory, held: Map<Hash, Held>, tx: Transaction): void {
    for (const [key, value] of takeOut(pages, tx.dropped.get(entity) ?? new Set(), { damaged: true })) {
      tx.put(key, value)
    }
    const live = this.#o.liveOf(entity)
    if (live === undefined) return noteDamage(entity, undefined, tx)
    for (const hash of live.changes.keys()) {
      const there = held.has(hash) || tx.dropped.get(entity)?.has(hash) ? undefined : live.held(hash)
      if (there === undefined) continue
      tx.hold(entity, there)
      held.set(hash, there)
    }
  }
}
