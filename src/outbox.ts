/**
 * What the relay is still owed, in memory: one record a change, written in the same commit as the change and removed in
 * the commit that takes its ack.
 *
 * A device that was away for long owes tens of thousands. So that opening it stays cheap, a backlog is folded into pages
 * when idle; a page is only unpacked for the entities that somebody asks about. What a page holds and was paid since has
 * a record of `null` in front of it, and a page that was paid in full goes with its records.
 */
import type { Hash } from "./protocol.ts"
import { keys, type OutRecord, readJson } from "./records.ts"
import type { Store, Write } from "./store/store.ts"

export interface Owed extends OutRecord {
  readonly entity: string
  readonly hash: Hash
}

/** Changes of one entity in a page that were owed alike. */
type Packed = readonly [
  entity: string,
  principal: string | null,
  how: OutRecord["how"],
  fields: readonly string[],
  changes: readonly (readonly [hash: Hash, startOp: number, bytes: number])[],
]

export interface Pending {
  /** The fields that pending changes touch, sorted. */
  readonly fields: readonly string[]
  /** The entity's creation is among them. */
  readonly creation: boolean
}

/** What is owed of one entity. Counts its fields: a note that was typed into offline has thousands of changes. */
class OwedOf {
  readonly records = new Map<Hash, Owed>()
  private readonly fields = new Map<string, number>()
  private creations = 0
  private shown: Pending | undefined

  set(owed: Owed): void {
    const before = this.records.get(owed.hash)
    if (before !== undefined) this.count(before, -1)
    this.records.set(owed.hash, owed)
    this.count(owed, 1)
  }

  delete(owed: Owed): void {
    if (this.records.delete(owed.hash)) this.count(owed, -1)
  }

  get pending(): Pending {
    this.shown ??= { fields: Object.freeze([...this.fields.keys()].sort()), creation: this.creations > 0 }
    return this.shown
  }

  private count({ fields, startOp }: Owed, by: 1 | -1): void {
    if (startOp === 1) {
      this.creations += by
      this.shown = undefined
    }
    for (const field of fields) {
      const count = (this.fields.get(field) ?? 0) + by
      if (count === 0) this.fields.delete(field)
      else this.fields.set(field, count)
      if (count === 0 || (count === 1 && by === 1)) this.shown = undefined
    }
  }
}

/** What pages hold of one entity. */
interface Group {
  readonly page: number
  readonly packed: Packed
  readonly next: Group | undefined
}

/** Records in front of the pages before they are folded in, and how many at once. */
const FOLD_AT = 1024
const FOLD_AT_ONCE = 8192

export class Outbox {
  private readonly workspace: string
  private readonly byEntity = new Map<string, OwedOf>()
  private readonly packed = new Map<string, Group>()
  /** The page that holds a record, and how much of each page is still owed. */
  private readonly pageOf = new Map<Hash, number>()
  private readonly owedIn = new Map<number, number>()
  private loose = 0
  private total = 0
  private readonly byPrincipal = new Map<string | null, number>()

  constructor(workspace: string) {
    this.workspace = workspace
  }

  async load(store: Store): Promise<void> {
    for (const [key, value] of await store.list(keys.outPages(this.workspace))) {
      this.addPage(readJson<Packed[]>(value, key), Number(key[2]))
    }
    for (const [key, value] of await store.list(keys.outbox(this.workspace))) {
      const [, , entity = "", hash = ""] = key
      const record = readJson<OutRecord | null>(value, key)
      if (record === null) this.remove(entity, hash)
      else this.add({ entity, hash, ...record })
    }
  }

  get size(): number {
    return this.total
  }

  get(entity: string, hash: Hash): Owed | undefined {
    return this.unpacked(entity)?.records.get(hash)
  }

  add(owed: Owed): void {
    let owedOf = this.unpacked(owed.entity)
    if (owedOf === undefined) this.byEntity.set(owed.entity, (owedOf = new OwedOf()))
    const before = owedOf.records.get(owed.hash)
    this.count(before, -1)
    this.count(owed, 1)
    owedOf.set(owed)
    if (before === undefined && !this.pageOf.has(owed.hash)) this.loose++
  }

  remove(entity: string, hash: Hash): void {
    const owedOf = this.unpacked(entity)
    const owed = owedOf?.records.get(hash)
    if (owedOf === undefined || owed === undefined) return
    this.count(owed, -1)
    owedOf.delete(owed)
    if (owedOf.records.size === 0) this.byEntity.delete(entity)
    const page = this.pageOf.get(hash)
    if (page === undefined) this.loose--
    else this.owedIn.set(page, (this.owedIn.get(page) ?? 0) - 1)
  }

  /** The write that takes a record away. */
  paid({ entity, hash }: Owed): Write {
    return [keys.out(this.workspace, entity, hash), this.pageOf.has(hash) ? "null" : undefined]
  }

  /** Of one entity, in an order in which it can be pushed. */
  of(entity: string): Owed[] {
    const owed = [...(this.unpacked(entity)?.records.values() ?? [])]
    return owed.sort((a, b) => a.startOp - b.startOp || (a.hash < b.hash ? -1 : 1))
  }

  *entities(): Generator<string> {
    yield* this.byEntity.keys()
    for (const entity of this.packed.keys()) if (!this.byEntity.has(entity)) yield entity
  }

  *[Symbol.iterator](): Iterator<Owed> {
    for (const entity of [...this.entities()]) yield* this.unpacked(entity)?.records.values() ?? []
  }

  /** What was made under other principals than the present one. */
  others(principal: string | null, first: string | null): { principal: string; pending: number }[] {
    const counts = new Map<string, number>()
    for (const [made, pending] of this.byPrincipal) {
      const maker = made ?? first
      if (pending > 0 && maker !== null && principal !== null && maker !== principal) {
        counts.set(maker, (counts.get(maker) ?? 0) + pending)
      }
    }
    return [...counts].map(([of, pending]) => ({ principal: of, pending }))
  }

  /** What a row shows of it. */
  pending(entity: string): Pending | undefined {
    const group = this.packed.get(entity)
    if (group !== undefined && group.next === undefined && !this.byEntity.has(entity)) {
      const { packed } = group
      let creation = false
      for (const change of packed[4]) if (change[1] === 1) creation = true
      return { fields: Object.freeze(packed[3]), creation }
    }
    return this.unpacked(entity)?.pending
  }

  // ── pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  get foldDue(): boolean {
    if (this.loose >= FOLD_AT) return true
    for (const owed of this.owedIn.values()) if (owed === 0) return true
    return false
  }

  /** The writes that fold a backlog into a page, or take away one that was paid, and what to call once they are committed. */
  async fold(store: Store): Promise<{ writes: Write[]; done: () => void } | undefined> {
    for (const [page, owed] of this.owedIn) if (owed === 0) return this.dropPage(store, page)
    return this.loose >= FOLD_AT ? this.foldLoose() : undefined
  }

  private async dropPage(store: Store, page: number): Promise<{ writes: Write[]; done: () => void }> {
    const key = keys.outPage(this.workspace, page)
    const value = await store.get(key)
    const packed = value === undefined ? [] : readJson<Packed[]>(value, key)
    const gone = packed.flatMap(([entity, , , , changes]) => changes.map(([hash]) => [entity, hash] as const))
    // What the relay wanted again since then is owed by a record of its own.
    const paid = gone.filter(([entity, hash]) => this.get(entity, hash) === undefined)
    const writes = paid.map(([entity, hash]): Write => [keys.out(this.workspace, entity, hash), undefined])
    const done = () => {
      this.owedIn.delete(page)
      for (const [entity, hash] of gone) {
        if (this.pageOf.delete(hash) && this.get(entity, hash) !== undefined) this.loose++
      }
    }
    return { writes: [...writes, [key, undefined]], done }
  }

  private foldLoose(): { writes: Write[]; done: () => void } {
    const page = Math.max(0, ...this.owedIn.keys()) + 1
    const packed = new Map<
      string,
      [string, string | null, OutRecord["how"], readonly string[], [Hash, number, number][]]
    >()
    const writes: Write[] = []
    const folded: Hash[] = []
    for (const [entity, owedOf] of this.byEntity) {
      for (const { hash, how, principal, fields, startOp, bytes } of owedOf.records.values()) {
        if (this.pageOf.has(hash)) continue
        const alike = JSON.stringify([entity, principal, how, fields])
        const found = packed.get(alike)
        if (found === undefined) packed.set(alike, [entity, principal, how, fields, [[hash, startOp, bytes]]])
        else found[4].push([hash, startOp, bytes])
        writes.push([keys.out(this.workspace, entity, hash), undefined])
        folded.push(hash)
      }
      if (folded.length >= FOLD_AT_ONCE) break
    }
    writes.push([keys.outPage(this.workspace, page), JSON.stringify([...packed.values()])])
    const done = () => {
      for (const hash of folded) this.pageOf.set(hash, page)
      this.owedIn.set(page, folded.length)
      this.loose -= folded.length
    }
    return { writes, done }
  }

  /** Ten thousand of these stand between a backlog and its first list on screen, so they are only counted. */
  private addPage(content: readonly Packed[], page: number): void {
    let owed = 0
    for (const packed of content) {
      const entity = packed[0]
      const before = this.packed.get(entity)
      if (before === undefined) this.packed.set(entity, { page, packed, next: undefined })
      else this.packed.set(entity, { page, packed, next: before })
      const { length } = packed[4]
      this.byPrincipal.set(packed[1], (this.byPrincipal.get(packed[1]) ?? 0) + length)
      owed += length
    }
    this.owedIn.set(page, owed)
    this.total += owed
  }

  private unpacked(entity: string): OwedOf | undefined {
    const owedOf = this.byEntity.get(entity)
    let group = this.packed.get(entity)
    if (group === undefined) return owedOf
    this.packed.delete(entity)
    const all = owedOf ?? new OwedOf()
    this.byEntity.set(entity, all)
    for (; group !== undefined; group = group.next) {
      const [, principal, how, fields, changes] = group.packed
      for (const [hash, startOp, bytes] of changes) {
        all.set({ entity, hash, startOp, bytes, how, principal, fields })
        this.pageOf.set(hash, group.page)
      }
    }
    return all
  }

  private count(owed: Owed | undefined, by: 1 | -1): void {
    if (owed === undefined) return
    this.total += by
    this.byPrincipal.set(owed.principal, (this.byPrincipal.get(owed.principal) ?? 0) + by)
  }
}
