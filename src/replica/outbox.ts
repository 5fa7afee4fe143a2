/**
 * What the relay is still owed, in memory: one record a change, written in the same commit as the change and removed in
 * the commit that takes its ack.
 *
 * A device that was away for long owes tens of thousands. So that opening it stays cheap, a backlog is folded into pages
 * when idle (`backlog.ts`); a page is only unpacked for the entities that somebody asks about. What a page holds and was paid since has
 * a record of `null` in front of it, and a page that was paid in full goes with its records.
 */

import type { Sizes } from "../base/sizes.ts"
import type { Store, Write } from "../store/store.ts"
import type { Hash } from "../wire/protocol.ts"
import { type Line, type Page, readPage, writePage } from "./outbox-page.ts"
import { keys, type OutRecord, type Owed, type Pending, readJson } from "./records.ts"

/** What is owed of one entity. Counts its fields: a note that was typed into offline has thousands of changes. */
class OfEntity {
  readonly records = new Map<Hash, Owed>()
  readonly #fields = new Map<string, number>()
  #creations = 0
  #shown: Pending | undefined
  #sorted: readonly Owed[] | undefined

  set(owed: Owed): void {
    const before = this.records.get(owed.hash)
    if (before !== undefined) this.#count(before, -1)
    this.records.set(owed.hash, owed)
    this.#count(owed, 1)
    this.#sorted = undefined
  }

  delete(owed: Owed): void {
    if (this.records.delete(owed.hash)) this.#count(owed, -1)
    this.#sorted = undefined
  }

  /** In an order in which it can be pushed. */
  get inOrder(): readonly Owed[] {
    this.#sorted ??= [...this.records.values()].sort((a, b) => a.startOp - b.startOp || (a.hash < b.hash ? -1 : 1))
    return this.#sorted
  }

  get pending(): Pending {
    this.#shown ??= { fields: Object.freeze([...this.#fields.keys()].sort()), creation: this.#creations > 0 }
    return this.#shown
  }

  #count({ fields, startOp }: Owed, by: 1 | -1): void {
    if (startOp === 1) {
      this.#creations += by
      this.#shown = undefined
    }
    for (const field of fields) {
      const count = (this.#fields.get(field) ?? 0) + by
      if (count === 0) this.#fields.delete(field)
      else this.#fields.set(field, count)
      if (count === 0 || (count === 1 && by === 1)) this.#shown = undefined
    }
  }
}

/** What pages hold of one entity. */
interface Packed {
  readonly page: number
  readonly line: Line
  readonly next: Packed | undefined
}

/** What becomes of records in one commit, by hash. */
export type OutboxChanges = Map<Hash, { readonly owed: Owed; readonly paid: boolean }>

export class Outbox {
  readonly #workspace: string
  readonly #byEntity = new Map<string, OfEntity>()
  readonly #packed = new Map<string, Packed>()
  /** The page that holds a record, and how much of each page is still owed. */
  readonly #pageOf = new Map<Hash, number>()
  readonly #owedIn = new Map<number, number>()
  #loose = 0
  #total = 0
  readonly #byPrincipal = new Map<string | null, number>()

  readonly #sizes: Sizes

  constructor(workspace: string, sizes: Sizes) {
    this.#workspace = workspace
    this.#sizes = sizes
  }

  async load(store: Store): Promise<void> {
    for (const [key, value] of await store.list(keys.outPages(this.#workspace))) {
      this.#addPage(readPage(value, key), Number(key[2]))
    }
    for (const [key, value] of await store.list(keys.outbox(this.#workspace))) {
      const [, , entity = "", hash = ""] = key
      const record = readJson<OutRecord | null>(value, key)
      if (record === null) this.#remove(entity, hash)
      else this.#add({ entity, hash, ...record })
    }
  }

  get size(): number {
    return this.#total
  }

  get(entity: string, hash: Hash): Owed | undefined {
    return this.#unpacked(entity)?.records.get(hash)
  }

  /** What a commit writes. Many new records at once, an import or a heal, make a page right away. */
  writes(changes: OutboxChanges): Write[] {
    const writes: Write[] = []
    const fresh: Owed[] = []
    for (const { owed, paid } of changes.values()) {
      const { entity, hash, ...record } = owed
      const known = this.get(entity, hash) !== undefined
      const key = keys.out(this.#workspace, entity, hash)
      if (!paid && !known && !this.#pageOf.has(hash)) fresh.push(owed)
      else if (!paid) writes.push([key, JSON.stringify(record)])
      else if (known) writes.push([key, this.#pageOf.has(hash) ? "null" : undefined])
    }
    if (fresh.length >= this.#sizes.outboxPage)
      writes.push([keys.outPage(this.#workspace, this.#nextPage), writePage(fresh)])
    else
      for (const { entity, hash, ...record } of fresh)
        writes.push([keys.out(this.#workspace, entity, hash), JSON.stringify(record)])
    return writes
  }

  /** The commit that holds `writes` is on the disk. */
  follow(changes: OutboxChanges): void {
    const fresh: Owed[] = []
    for (const { owed, paid } of changes.values()) {
      if (!paid && this.get(owed.entity, owed.hash) === undefined && !this.#pageOf.has(owed.hash)) fresh.push(owed)
      if (paid) this.#remove(owed.entity, owed.hash)
      else this.#add(owed)
    }
    if (fresh.length >= this.#sizes.outboxPage) this.#paged(this.#nextPage, fresh)
  }

  #add(owed: Owed): void {
    let all = this.#unpacked(owed.entity)
    if (all === undefined) this.#byEntity.set(owed.entity, (all = new OfEntity()))
    const before = all.records.get(owed.hash)
    this.#count(before, -1)
    this.#count(owed, 1)
    all.set(owed)
    if (before === undefined) this.#countIn(owed.hash, 1)
  }

  #remove(entity: string, hash: Hash): void {
    const all = this.#unpacked(entity)
    const owed = all?.records.get(hash)
    if (all === undefined || owed === undefined) return
    this.#count(owed, -1)
    all.delete(owed)
    if (all.records.size === 0) this.#byEntity.delete(entity)
    this.#countIn(hash, -1)
  }

  /** Of one entity, in an order in which it can be pushed. */
  of(entity: string): readonly Owed[] {
    return this.#unpacked(entity)?.inOrder ?? []
  }

  *entities(): Generator<string> {
    yield* this.#byEntity.keys()
    for (const entity of this.#packed.keys()) if (!this.#byEntity.has(entity)) yield entity
  }

  *[Symbol.iterator](): Iterator<Owed> {
    for (const entity of [...this.entities()]) yield* this.#unpacked(entity)?.records.values() ?? []
  }

  /** What was made under other principals than the present one. */
  others(principal: string | null, first: string | null): { principal: string; pending: number }[] {
    const counts = new Map<string, number>()
    for (const [made, pending] of this.#byPrincipal) {
      const maker = made ?? first
      if (pending > 0 && maker !== null && principal !== null && maker !== principal) {
        counts.set(maker, (counts.get(maker) ?? 0) + pending)
      }
    }
    return [...counts].map(([of, pending]) => ({ principal: of, pending }))
  }

  /** What a row shows of it. */
  pending(entity: string): Pending | undefined {
    const packed = this.#packed.get(entity)
    if (packed !== undefined && packed.next === undefined && !this.#byEntity.has(entity)) {
      const { kind, creation } = packed.line
      return creation ? kind.created : kind.edited
    }
    return this.#unpacked(entity)?.pending
  }

  // ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  get foldDue(): boolean {
    if (this.#loose >= this.#sizes.looseOutbox) return true
    for (const owed of this.#owedIn.values()) if (owed === 0) return true
    return false
  }

  /** The writes that fold a backlog into a page, or take away one that was paid, and what to call once they are committed. */
  async fold(store: Store): Promise<{ writes: Write[]; done: () => void } | undefined> {
    for (const [page, owed] of this.#owedIn) if (owed === 0) return this.#dropPage(store, page)
    return this.#loose >= this.#sizes.looseOutbox ? this.#foldLoose() : undefined
  }

  async #dropPage(store: Store, page: number): Promise<{ writes: Write[]; done: () => void }> {
    const key = keys.outPage(this.#workspace, page)
    const paid: Owed[] = []
    for (const line of readPage(await store.get(key), key).lines()) paid.push(...line.owed())
    const writes = paid.map(({ entity, hash }): Write => [keys.out(this.#workspace, entity, hash), undefined])
    const done = () => {
      this.#owedIn.delete(page)
      for (const { hash } of paid) this.#pageOf.delete(hash)
    }
    return { writes: [...writes, [key, undefined]], done }
  }

  #foldLoose(): { writes: Write[]; done: () => void } {
    const page = this.#nextPage
    const folded: Owed[] = []
    for (const { records } of this.#byEntity.values()) {
      for (const owed of records.values()) if (!this.#pageOf.has(owed.hash)) folded.push(owed)
      if (folded.length >= this.#sizes.foldedOutbox) break
    }
    const writes = folded.map(({ entity, hash }): Write => [keys.out(this.#workspace, entity, hash), undefined])
    const write: Write = [keys.outPage(this.#workspace, page), writePage(folded)]
    return { writes: [...writes, write], done: () => this.#paged(page, folded) }
  }

  get #nextPage(): number {
    return Math.max(0, ...this.#owedIn.keys()) + 1
  }

  /** Records that were loose are in this page now. */
  #paged(page: number, folded: readonly Owed[]): void {
    for (const { hash } of folded) this.#pageOf.set(hash, page)
    this.#owedIn.set(page, folded.length)
    this.#loose -= folded.length
  }

  /** Ten thousand lines stand between a backlog and its first list on screen, so they are only sorted by entity. */
  #addPage({ kinds, lines }: Page, page: number): void {
    for (const line of lines()) {
      this.#packed.set(line.entity, { page, line, next: this.#packed.get(line.entity) })
    }
    let total = 0
    for (const { principal, owed } of kinds) {
      this.#byPrincipal.set(principal, (this.#byPrincipal.get(principal) ?? 0) + owed)
      total += owed
    }
    this.#owedIn.set(page, total)
    this.#total += total
  }

  #unpacked(entity: string): OfEntity | undefined {
    let packed = this.#packed.get(entity)
    if (packed === undefined) return this.#byEntity.get(entity)
    this.#packed.delete(entity)
    const all = this.#byEntity.get(entity) ?? new OfEntity()
    this.#byEntity.set(entity, all)
    for (; packed !== undefined; packed = packed.next) {
      for (const owed of packed.line.owed()) {
        all.set(owed)
        this.#pageOf.set(owed.hash, packed.page)
      }
    }
    return all
  }

  /** The page that holds a record knows how much of it is owed; a record without a page is loose. */
  #countIn(hash: Hash, by: 1 | -1): void {
    const page = this.#pageOf.get(hash)
    if (page === undefined) this.#loose += by
    else this.#owedIn.set(page, (this.#owedIn.get(page) ?? 0) + by)
  }

  #count(owed: Owed | undefined, by: 1 | -1): void {
    if (owed === undefined) return
    this.#total += by
    this.#byPrincipal.set(owed.principal, (this.#byPrincipal.get(owed.principal) ?? 0) + by)
  }
}
