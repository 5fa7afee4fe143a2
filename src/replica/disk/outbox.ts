/**
 * The outbox in memory: one record for each change that the relay has not acknowledged yet. A record is saved in the
 * same commit as its change, and removed in the commit that handles the ack.
 *
 * A device that was offline for long may have tens of thousands of records. Its workspace must still open quickly. So
 * most records are in pages (`paged-records.ts`, `outbox-page.ts`), and a line of a page is unpacked only when its
 * entity is needed.
 */

import type { Sizes } from "../../base/replica-sizes.ts"
import type { Store } from "../../store/store.ts"
import type { Hash } from "../../wire/protocol.ts"
import { writeJson } from "./checked-json.ts"
import { type Line, type Page, readPage, writePage } from "./outbox-page.ts"
import { isOurs } from "./outbox-principal.ts"
import { Paged, type PageFormat, type Plan } from "./paged-records.ts"
import {
  keys,
  type NoteDamaged,
  type OutRecord,
  type Owed,
  type Pending,
  readCache,
  readJson,
  refuseDamaged,
} from "./records.ts"
import { type Principals, WaitingForOthers } from "./waiting-for-others.ts"

/** The outbox records that one commit adds or removes, by the hash of the change. */
export type OutboxChanges = Map<Hash, { readonly owed: Owed; readonly removed: boolean }>

/** How many records stay in memory for `addedSince`: those that were added last. */
const RECENT = 1024

/** One line of a page that is not unpacked yet, and the next such line of the same entity. */
interface Packed {
  readonly page: number
  readonly line: Line
  readonly next: Packed | undefined
}

export class Outbox {
  readonly #workspace: string
  readonly #paged: Paged<Owed>
  readonly #byEntity = new Map<string, OwedOfEntity>()
  readonly #packed = new Map<string, Packed>()
  #total = 0
  /** How many records of the outbox have each `principal`; `adopt` records are not counted. */
  readonly #byPrincipal = new Map<string | null, number>()
  /** The changes that wait for another principal; undefined when `#waiting` has found none or was never called. */
  #others: WaitingForOthers | undefined
  /** Entities whose records have changed since `#others` was last updated. */
  readonly #moved = new Set<string>()
  /** How many records were added since this object was made. Each new version of a record counts, too. */
  additions = 0
  /** The records that were added last: addition number `n` is in slot `n % RECENT`. */
  readonly #recent: Owed[] = []

  constructor(workspace: string, sizes: Sizes) {
    this.#workspace = workspace
    const { outboxPage: page, outboxAtOnce: atOnce, looseOutbox: loose, foldedPages: folded } = sizes
    this.#paged = new Paged(formatOf(workspace), { page, atOnce, loose, folded })
  }

  // ── from the disk ─────────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads the outbox from the disk. Calls `note` for each damaged record. */
  static async read(store: Store, workspace: string, sizes: Sizes, note: NoteDamaged): Promise<Outbox> {
    const outbox = new Outbox(workspace, sizes)
    // Loose records are read first: a record that another writer folds meanwhile is then read twice instead of never.
    const loose = await store.list(keys.outbox(workspace))
    for (const [key, value] of await store.list(keys.outPages(workspace))) {
      const page = readPage(value, key, note)
      if (page !== undefined) outbox.#addPage(page, Number(key[2]))
    }
    for (const [key, value] of loose) {
      const [, , entity = "", hash = ""] = key
      const record = readCache<OutRecord | null>(value, key, note)
      if (record !== undefined) outbox.#readLoose(entity, hash, record)
    }
    return outbox
  }

  /**
   * Reads again the loose records of one entity, which another writer has changed. Call only when no page of the outbox
   * has changed. Returns a function that puts the records that were read into this object.
   */
  async readAgain(store: Store, entity: string, note: NoteDamaged): Promise<() => void> {
    const loose = new Map<Hash, OutRecord | null>()
    for (const [key, value] of await store.list(keys.outboxOf(this.#workspace, entity))) {
      const record = readCache<OutRecord | null>(value, key, note)
      if (record !== undefined) loose.set(key[3] ?? "", record)
    }
    return () => {
      for (const hash of [...(this.#unpacked(entity)?.records.keys() ?? [])]) {
        if (loose.has(hash) || this.#paged.pageOf(idOf(entity, hash)) !== undefined) continue
        this.#remove(entity, hash)
        this.#paged.dropLoose(idOf(entity, hash))
      }
      for (const [hash, record] of loose) this.#readLoose(entity, hash, record)
    }
  }

  #readLoose(entity: string, hash: Hash, record: OutRecord | null): void {
    this.#unpacked(entity) // `setLoose` must know in which page the record lies
    this.#paged.setLoose(idOf(entity, hash), record === null)
    if (record === null) this.#remove(entity, hash)
    else this.#add({ entity, hash, ...record })
  }

  /**
   * Adds a page. Its lines stay packed, by entity: unpacking ten thousand lines would delay the first list on screen.
   */
  #addPage({ kinds, lines }: Page, page: number): void {
    for (const line of lines) {
      this.#packed.set(line.entity, { page, line, next: this.#packed.get(line.entity) })
    }
    let total = 0
    for (const { principal, how, owed } of kinds) {
      if (how !== "adopt") this.#byPrincipal.set(principal, (this.#byPrincipal.get(principal) ?? 0) + owed)
      total += owed
    }
    this.#paged.addPage(page, total)
    this.#total += total
  }

  /** Returns the records of one entity, after unpacking those in pages; undefined when it has none. */
  #unpacked(entity: string): OwedOfEntity | undefined {
    let packed = this.#packed.get(entity)
    if (packed === undefined) return this.#byEntity.get(entity)
    this.#packed.delete(entity)
    const all = this.#byEntity.get(entity) ?? new OwedOfEntity()
    this.#byEntity.set(entity, all)
    for (; packed !== undefined; packed = packed.next) {
      for (const owed of packed.line.owed()) {
        all.set(owed)
        this.#paged.place(idOf(entity, owed.hash), packed.page)
      }
    }
    return all
  }

  // ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** How many changes the relay has not acknowledged yet. */
  get size(): number {
    return this.#total
  }

  get(entity: string, hash: Hash): Owed | undefined {
    return this.#unpacked(entity)?.records.get(hash)
  }

  /** Returns the records of one entity, in an order in which their changes can be pushed. */
  of(entity: string): readonly Owed[] {
    return this.#unpacked(entity)?.inOrder ?? []
  }

  *entities(): Generator<string> {
    yield* this.#byEntity.keys()
    for (const entity of this.#packed.keys()) if (!this.#byEntity.has(entity)) yield entity
  }

  /**
   * Returns the records that were added since `this.additions` had the value `additions`; undefined when these are more
   * than `RECENT`.
   */
  addedSince(additions: number): Owed[] | undefined {
    if (this.additions - additions > RECENT) return undefined
    const added: Owed[] = []
    for (let n = additions; n < this.additions; n++) added.push(this.#recent[n % RECENT] as Owed)
    return added
  }

  *[Symbol.iterator](): Iterator<Owed> {
    for (const entity of [...this.entities()]) yield* this.#unpacked(entity)?.records.values() ?? []
  }

  /**
   * Counts the changes that wait for each principal other than the present one: the changes that this principal made,
   * and the changes of the same entities that are pushed after them.
   */
  others(state: Principals): { principal: string; pending: number }[] {
    return [...(this.#waiting(state)?.counts ?? [])].map(([principal, pending]) => ({ principal, pending }))
  }

  /**
   * Whether a change waits for a principal other than the present one: because that principal made the change, or made
   * a change of the same entity that is pushed before it.
   */
  waitsForOther(owed: Owed, state: Principals): boolean {
    if (!this.#waiting(state)?.has(owed.entity)) return false
    const all = this.of(owed.entity)
    return all.indexOf(owed) >= all.findIndex((one) => !isOurs(one, state))
  }

  /** Entities with at least one change that may be pushed under the present principal. */
  pushable(state: Principals): Iterable<string> {
    return this.#waiting(state)?.pushable ?? this.entities()
  }

  /** Returns an up-to-date `#others`; undefined when no change waits for another principal. */
  #waiting(state: Principals): WaitingForOthers | undefined {
    const isOther = (made: string | null) => !isOurs({ principal: made, how: "own" }, state)
    if (![...this.#byPrincipal].some(([made, pending]) => pending > 0 && isOther(made))) {
      this.#others = undefined
      this.#moved.clear()
      return undefined
    }
    if (!this.#others?.isFor(state)) {
      this.#others = new WaitingForOthers(state)
      for (const entity of this.entities()) this.#moved.add(entity)
    }
    for (const entity of this.#moved) this.#others.look(entity, this.of(entity))
    this.#moved.clear()
    return this.#others
  }

  /** Returns what an entity's row shows of its outbox records; undefined when it has none. */
  pending(entity: string): Pending | undefined {
    const packed = this.#packed.get(entity)
    if (packed !== undefined && packed.next === undefined && !this.#byEntity.has(entity)) {
      const { kind, creation } = packed.line
      return creation ? kind.created : kind.edited
    }
    return this.#unpacked(entity)?.pending
  }

  // ── a commit ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Plans the writes that save these additions and removals. The plan's `done` applies them to this object. */
  plan(changes: OutboxChanges): Plan {
    const records = new Map<string, Owed | undefined>()
    for (const { owed, removed } of changes.values()) {
      const known = this.get(owed.entity, owed.hash) !== undefined
      if (known || !removed) records.set(idOf(owed.entity, owed.hash), removed ? undefined : owed)
    }
    const { writes, done } = this.#paged.plan(records)
    return {
      writes,
      done: () => {
        done()
        for (const { owed, removed } of changes.values()) {
          if (removed) this.#remove(owed.entity, owed.hash)
          else this.#add(owed)
        }
      },
    }
  }

  #add(owed: Owed): void {
    let all = this.#unpacked(owed.entity)
    if (all === undefined) this.#byEntity.set(owed.entity, (all = new OwedOfEntity()))
    this.#count(all.records.get(owed.hash), -1)
    this.#count(owed, 1)
    all.set(owed)
    this.#recent[this.additions++ % RECENT] = owed
  }

  #remove(entity: string, hash: Hash): void {
    const all = this.#unpacked(entity)
    const owed = all?.records.get(hash)
    if (all === undefined || owed === undefined) return
    this.#count(owed, -1)
    all.delete(owed)
    if (all.records.size === 0) this.#byEntity.delete(entity)
  }

  #count(owed: Owed | undefined, by: 1 | -1): void {
    if (owed === undefined) return
    this.#total += by
    if (this.#others !== undefined) this.#moved.add(owed.entity)
    if (owed.how !== "adopt") this.#byPrincipal.set(owed.principal, (this.#byPrincipal.get(owed.principal) ?? 0) + by)
  }

  // ── folding ───────────────────────────────────────────────────────────────────────────────────────────────────────

  get foldDue(): boolean {
    return this.#paged.foldDue
  }

  fold(store: Store): Promise<Plan | undefined> {
    return this.#paged.fold(store)
  }
}

/**
 * The outbox records of one entity. Adding or deleting a record updates the counts by field. They are never computed
 * from all records, because a note that was typed into offline has thousands of records.
 */
class OwedOfEntity {
  readonly records = new Map<Hash, Owed>()
  /** How many changes touch each field. */
  readonly #fields = new Map<string, number>()
  #creations = 0
  #pending: Pending | undefined
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

  /** The records in an order in which their changes can be pushed. */
  get inOrder(): readonly Owed[] {
    this.#sorted ??= [...this.records.values()].sort((a, b) => a.startOp - b.startOp || (a.hash < b.hash ? -1 : 1))
    return this.#sorted
  }

  get pending(): Pending {
    this.#pending ??= { fields: Object.freeze([...this.#fields.keys()].sort()), creation: this.#creations > 0 }
    return this.#pending
  }

  #count({ fields, startOp }: Owed, by: 1 | -1): void {
    if (startOp === 1) {
      this.#creations += by
      this.#pending = undefined
    }
    for (const field of fields) {
      const count = (this.#fields.get(field) ?? 0) + by
      if (count === 0) this.#fields.delete(field)
      else this.#fields.set(field, count)
      if (count === 0 || (count === 1 && by === 1)) this.#pending = undefined
    }
  }
}

/** Returns the fields of a record that its value has. The entity and the hash are in its key. */
const withoutNames = ({ startOp, bytes, how, principal, fields }: Owed): OutRecord => {
  return { startOp, bytes, how, principal, fields }
}

const idOf = (entity: string, hash: Hash): string => `${entity}/${hash}`

function formatOf(workspace: string): PageFormat<Owed> {
  const named = (key: readonly string[], record: OutRecord): Owed => ({
    entity: key[2] ?? "",
    hash: key[3] ?? "",
    ...record,
  })
  return {
    pageKey: (page) => keys.outPage(workspace, page),
    recordKey: (id) => {
      const [entity = "", hash = ""] = id.split("/")
      return keys.out(workspace, entity, hash)
    },
    loosePrefix: keys.outbox(workspace),
    idOf: (key) => idOf(key[2] ?? "", key[3] ?? ""),
    *readPage(value, key) {
      // `refuseDamaged` throws: if a damaged page counted as empty, the fold would rewrite it without its records.
      for (const line of readPage(value, key, refuseDamaged)?.lines ?? []) {
        for (const owed of line.owed()) yield [idOf(owed.entity, owed.hash), owed] as const
      }
    },
    writePage,
    readRecord: (value, key) => {
      const record = readJson<OutRecord | null>(value, key)
      return record && named(key, record)
    },
    writeRecord: (record, key) => writeJson(key, record && withoutNames(record)),
  }
}
