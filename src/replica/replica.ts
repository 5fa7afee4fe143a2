/**
 * One device's copy of a workspace: everything that changes it is a step, steps run one at a time, and the steps that wait
 * together are committed together. A step reads and changes documents in memory and says what to write; nothing is shown,
 * sent or promised before the commit that holds it.
 */

import type { Clock } from "../base/env.ts"
import { HeadwaterError } from "../base/errors.ts"
import { hex } from "../base/hash.ts"
import type { Sizes } from "../base/sizes.ts"
import { Admission, admitted, causalOrder, type Judged, verdicts } from "../document/admission.ts"
import { automergeVersion, Entity, loadAutomerge } from "../document/entity.ts"
import { project, projectionVersion } from "../document/projection.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Store } from "../store/store.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import { Arrivals } from "./arrivals.ts"
import { Idle } from "./idle.ts"
import { type Changed, type Defs, Memory, type NewRows, noChange, type SetAside, storeError } from "./known.ts"
import { Documents, Live } from "./live.ts"
import { Queue, type Step } from "./queue.ts"
import { keys, type Owed, type StaleRecord, type StoredRow } from "./records.ts"
import type { Rows } from "./rows.ts"
import { type Held, heldOf, Transaction } from "./transaction.ts"

export interface ReplicaOptions {
  readonly id: string
  readonly store: Store
  readonly collections: Readonly<Record<string, AnyDef>>
  readonly clock: Clock
  readonly sizes: Sizes
  readonly wasm?: URL | string | BufferSource | undefined
}

export class Replica {
  readonly id: string
  readonly clock: Clock
  readonly store: Store
  readonly sizes: Sizes
  readonly documents: Documents
  /** Who authors changes in this session; never persisted. */
  actor: Actor
  /** Minted in this session: what tells own changes from others', never the actor. */
  readonly made = new Set<Hash>()
  /** Why the last commit failed; null once one has worked. */
  failure: HeadwaterError | null = null
  /** Why Automerge could not be loaded: no document opens, and what others have changed is not shown. */
  wasmFailure: HeadwaterError | null = null
  #memory: Memory
  readonly #defs: Defs
  readonly #projection: string
  readonly #wasm: URL | string | BufferSource | undefined
  readonly #steps: Queue
  readonly #listeners = new Set<(changed: Changed) => void>()
  /** Memory may not say what the disk says; nothing is done before it has been read again. */
  #unsure = false
  readonly #arrivals: Arrivals
  readonly #idle = new Idle(this)

  private constructor({ id, store, collections, clock, sizes, wasm }: ReplicaOptions, defs: Defs, memory: Memory) {
    this.id = id
    this.store = store
    this.clock = clock
    this.sizes = sizes
    this.documents = new Documents(sizes.liveDocuments)
    this.#arrivals = new Arrivals(sizes.arrivals)
    this.#steps = new Queue(sizes.group, (group) => this.#commitGroup(group))
    this.#wasm = wasm
    this.#defs = defs
    this.#projection = projectionVersion(Object.values(collections))
    this.actor = hex(clock.random(16))
    this.#memory = memory
  }

  /** Reads rows, outbox and state; no document, no WebAssembly. */
  static async open(options: ReplicaOptions): Promise<Replica> {
    const all = Object.values(options.collections)
    const defs: Defs = new Map(all.map((def) => [def.name, def]))
    const memory = await Memory.read(options.store, options.id, defs, {
      ...options,
      projection: projectionVersion(all),
    })
    const replica = new Replica(options, defs, memory)
    if (replica.state.projection !== replica.#projection) replica.#idle.projectAllAgain(replica.#projection)
    replica.#idle.look()
    return replica
  }

  get rows(): Rows {
    return this.#memory.rows
  }
  get outbox() {
    return this.#memory.outbox
  }
  get state() {
    return this.#memory.state
  }
  get stale() {
    return this.#memory.stale
  }
  get bad() {
    return this.#memory.bad
  }
  get rejected() {
    return this.#memory.rejected
  }
  get setAside(): SetAside | undefined {
    return this.#memory.setAside
  }

  /** Calls it with the rows that look different, after every commit. */
  onCommit(listener: (changed: Changed) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  // ── documents ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Every change of an entity that this replica holds and that is not known to be bad: disk and this group. */
  async held(entity: string, tx: Transaction): Promise<Map<Hash, Held>> {
    const arrived = tx.held.has(entity) || tx.dropped.has(entity) ? undefined : this.#arrivals.take(entity)
    if (arrived !== undefined) return new Map(arrived)
    const held = new Map<Hash, Held>()
    const dropped = tx.dropped.get(entity)
    const known = this.bad.get(entity)
    const news = tx.bad.get(entity)
    const isBad = (hash: Hash) => (news?.has(hash) ? news.get(hash) !== undefined : known?.has(hash))
    for (const [key, value] of await this.store.list(keys.changesOf(this.id, entity))) {
      const hash = key[3] ?? ""
      if (isBad(hash) || dropped?.has(hash)) continue
      const read = heldOf(value as Uint8Array, hash)
      if (read !== undefined) held.set(hash, read)
      else this.#noteDamage(entity, hash, tx)
    }
    for (const [hash, fresh] of tx.held.get(entity) ?? []) if (!isBad(hash)) held.set(hash, fresh)
    return held
  }

  /** A record that the disk has damaged: the relay gives back what it was given; what it is still owed is said to be lost. */
  #noteDamage(entity: string, hash: Hash, tx: Transaction): void {
    if (this.owed(entity, hash, tx) === undefined) tx.state = { ...tx.state, heal: true }
    else tx.markBad(entity, hash, { code: "CHUNK_BAD", automerge: "" })
  }

  /**
   * The live document of an entity, hydrated when need be. What waits for its verdict is judged first, so that a bad chunk
   * never reaches the document; the row is then made again in this group.
   */
  async live(entity: string, tx: Transaction, read?: ReadonlyMap<Hash, Held>): Promise<Live | undefined> {
    const kept = this.documents.get(entity)
    if (kept !== undefined) return kept
    await this.loadAutomerge()
    const held = read ?? (await this.held(entity, tx))
    const mark = this.staleOf(entity, tx)
    const changes = [...held.values()].map(({ change }) => change)
    const suspects = new Set(mark?.suspects)
    let verdict = mark === undefined ? trusted(entity, changes) : admitted(entity, changes, suspects)
    if (mark !== undefined) {
      tx.touched.add(entity)
      tx.reach(entity)
    }
    let hydrated: Entity | undefined
    try {
      if (verdict.order.length > 0) hydrated = Entity.hydrate(entity, verdict.order, this.actor, suspects)
    } catch {
      verdict = verdicts(entity, changes, suspects)
      if (verdict.order.length > 0) hydrated = Entity.hydrate(entity, verdict.order, this.actor)
    }
    for (const [hash, code] of verdict.bad) tx.markBad(entity, hash, { code, automerge: automergeVersion() })
    this.oweFreed(entity, verdict.order, mark?.parked, tx)
    const waiting = verdict.waiting.map(({ hash }) => held.get(hash) as Held)
    if (hydrated === undefined) {
      if (mark !== undefined) this.markWaiting(tx, entity, waiting)
      return undefined
    }
    const live = new Live(hydrated, verdict.admission)
    for (const change of verdict.order) live.add(change, held.get(change.hash)?.by)
    live.waiting = waiting
    return this.documents.add(live)
  }

  /** The whole entity, long texts included; undefined when there is none. */
  async read(def: AnyDef, id: string): Promise<Record<string, unknown> | undefined> {
    return this.step([], async (tx) => {
      if (!this.exists(id, tx)) return undefined
      const live = await this.live(id, tx)
      return live?.entity.collection === def.name ? structuredClone(live.entity.whole(def)) : undefined
    })
  }

  /** Something of it is held, or has arrived in this very group. */
  exists(id: string, tx: Transaction): boolean {
    const { documents, stale, bad } = this
    return (
      this.rows.collectionOf(id) !== undefined || documents.has(id) || tx.held.has(id) || stale.has(id) || bad.has(id)
    )
  }

  /**
   * Changes had to wait because the relay had lost what they rest on. An older copy of its log may lack them too, and the
   * have of a heal did not name them (`park`): so the relay is owed what has become whole of them.
   */
  oweFreed(entity: string, whole: readonly Change[], parked: readonly Hash[] | undefined, tx: Transaction): void {
    for (const change of whole) {
      if (parked?.includes(change.hash)) this.giveBack(entity, change, tx)
    }
  }

  /** Owed again: own is what was minted in this session or still was in the outbox, by hash; the rest is adopted. */
  giveBack(entity: string, change: Change, tx: Transaction): void {
    if (this.owed(entity, change.hash, tx) !== undefined) return
    const how = this.made.has(change.hash) ? "own" : "adopt"
    tx.owe({ ...owedOf(entity, change), how, principal: tx.state.principal, fields: [] })
  }

  /** s since 1970, as changes say them. */
  seconds(): number {
    return this.#memory.seconds()
  }

  /** Before the first document of a session. */
  async loadAutomerge(): Promise<void> {
    try {
      await loadAutomerge(this.#wasm)
      const before = this.wasmFailure
      this.wasmFailure = null
      if (before !== null) this.#tell(noChange())
    } catch (error) {
      this.wasmFailure = error as HeadwaterError
      this.#tell(noChange()) // no commit comes that would
      throw error
    }
    this.#idle.judgeAgain()
  }

  staleOf(entity: string, tx: Transaction): StaleRecord | undefined {
    return tx.stale.has(entity) ? tx.stale.get(entity) : this.stale.get(entity)
  }

  /** What it waits for may come after a restart. */
  markWaiting(tx: Transaction, entity: string, waiting: readonly Held[]): void {
    const suspects = waiting.map(({ change }) => change.hash)
    const parked = this.staleOf(entity, tx)?.parked?.filter((hash) => suspects.includes(hash))
    const mark = { suspects, waiting: true, ...(parked && { parked }) }
    tx.markStale(entity, suspects.length === 0 ? undefined : mark)
  }

  /** What the relay is owed of it, as far as this group has come. */
  owed(entity: string, hash: Hash, tx: Transaction): Owed | undefined {
    const here = tx.outbox.get(hash)
    if (here !== undefined) return here.paid ? undefined : here.owed
    return this.outbox.get(entity, hash)
  }

  /** A duplicate (actor, seq) wedges a document for everybody: after anything doubtful the session takes a new actor. */
  freshActor(): void {
    this.actor = hex(this.clock.random(16))
    this.documents.dropAll()
  }

  // ── steps ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Runs `run` in its turn; resolves with its result once what it wrote is on the disk. */
  step<T>(entities: readonly string[], run: (tx: Transaction) => T | Promise<T>, alone = false): Promise<T> {
    return this.#steps.add(entities, run, alone)
  }

  async #commitGroup(group: readonly Step[]): Promise<void> {
    const settled: (() => void)[] = []
    try {
      if (this.#unsure) await this.#readAgain()
      const tx = new Transaction(this.id, this.state) // on top of what the disk says, not of what memory said
      for (const step of group) await this.#runStep(step, tx, settled)
      const rows = await this.#projectTouched(tx)
      const writes = tx.finish(this.outbox.writes(tx.outbox), this.#memory.fresh)
      if (writes.length > 0) {
        await this.store.commit(writes)
        this.failure = null
        this.#publish(tx, rows)
      }
    } catch (cause) {
      await this.#failed(group, cause)
      return
    }
    for (const settle of settled) settle()
    this.documents.evict()
    this.#idle.look()
  }

  /**
   * A step that throws falls alone when it has written nothing of its own; what hydrating has found out on the way (a
   * verdict) is true whatever becomes of the step. Half of what it wrote must not be committed: then the group falls.
   */
  async #runStep(step: Step, tx: Transaction, settled: (() => void)[]): Promise<void> {
    const { moves } = tx
    try {
      const result = step.run(tx)
      const value = result instanceof Promise ? await result : result
      settled.push(() => step.resolve(value))
    } catch (error) {
      if (tx.moves !== moves) throw error
      settled.push(() => step.reject(error))
    }
  }

  async #projectTouched(tx: Transaction): Promise<NewRows> {
    const rows: NewRows = new Map()
    for (const entity of tx.touched) {
      try {
        await this.#projectOne(entity, tx, rows)
      } catch (error) {
        this.leaveOut(entity, tx, error)
      }
    }
    return rows
  }

  async #projectOne(entity: string, tx: Transaction, rows: NewRows): Promise<void> {
    const live = await this.live(entity, tx)
    const mark = this.staleOf(entity, tx)
    const collection = live?.entity.collection ?? this.rows.collectionOf(entity)
    if (collection === undefined) return
    const row = live && this.#storedRow(live)
    const was = this.rows.collectionOf(entity) ?? collection
    if (was !== collection) tx.writes.push(this.rows.write(was, entity, undefined)) // another one took its id
    tx.writes.push(this.rows.write(collection, entity, row))
    rows.set(entity, { collection, row })
    if (live !== undefined && (live.waiting.length > 0 || mark !== undefined)) {
      this.markWaiting(tx, entity, live.waiting)
    }
  }

  /**
   * An entity that cannot be shown must not hold up the others, nor what else the group writes: its old row stays until
   * something of it changes. Nothing is known of it when the disk or WebAssembly is what fails.
   */
  leaveOut(entity: string, tx: Transaction, error: unknown): void {
    if (!(error instanceof HeadwaterError) || error.code !== "CHUNK_BAD") throw error
    const mark = this.staleOf(entity, tx) ?? { suspects: [] }
    tx.touched.delete(entity)
    tx.markStale(entity, { ...mark, waiting: true })
  }

  #storedRow(live: Live): StoredRow {
    const { createdIn, updatedIn, deletedIn } = live.entity.facts
    return {
      ...project(live.entity, this.#defs.get(live.entity.collection)),
      $createdBy: live.by(createdIn),
      $updatedBy: live.by(updatedIn),
      ...(deletedIn !== undefined && { $deletedBy: live.by(deletedIn) }),
    }
  }

  /** The commit is on the disk: memory follows, then those who listen. */
  #publish(tx: Transaction, rows: NewRows): void {
    this.#arrivals.follow(tx)
    this.#tell(this.#memory.follow(tx, rows))
  }

  showDue(): void {
    this.#tell(this.#memory.showDue())
  }

  #tell(changed: Changed): void {
    for (const listener of this.#listeners) listener(changed)
  }

  // ── when a commit fails ───────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Nobody knows whether a failed commit is on the disk, so memory is read again, the documents with the unsaved changes
   * go, and the session takes a new actor: what was numbered in vain is never numbered again.
   */
  async #failed(group: readonly Step[], cause: unknown): Promise<void> {
    const error = storeError(cause)
    this.failure = error
    this.#unsure = true
    this.freshActor()
    this.#arrivals.clear()
    const behind = this.#steps.takeBehind(new Set(group.flatMap((step) => step.entities)))
    await this.#readAgain().catch(() => {}) // the next group tries again
    for (const step of [...group, ...behind]) step.reject(error)
    this.#idle.lookLater()
  }

  async #readAgain(): Promise<void> {
    const before = this.#memory
    this.#memory = await Memory.read(this.store, this.id, this.#defs, {
      projection: this.#projection,
      clock: this.clock,
      sizes: this.sizes,
    })
    this.#unsure = false
    this.#tell(this.#memory.continue(before))
  }

  /** Finishes the steps at hand; `quickly`, for a workspace that was never handed out, tidies nothing. */
  async close({ quickly = false } = {}): Promise<void> {
    await this.#idle.close(quickly)
    await this.#steps.close()
    this.documents.dropAll()
    this.#listeners.clear()
  }
}

/** Changes that were judged before: only what they rest on is looked at. */
function trusted(entity: string, changes: readonly Change[]): Judged {
  const admission = new Admission(entity)
  const order = causalOrder(changes)
  for (const change of order) admission.trust(change)
  return { order, bad: new Map(), waiting: [], admission }
}

/** The part of an outbox record that the change itself says. */
export function owedOf(entity: string, { hash, startOp, chunk }: Change) {
  return { entity, hash, startOp, bytes: chunk.length }
}
