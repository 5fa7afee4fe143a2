/**
 * One device's copy of a workspace. Only steps change it. Steps run one at a time, and the steps that wait together
 * form a group, which one commit saves. A step changes documents in memory and adds writes to a transaction. No row is
 * shown, no change is pushed and no promise of the app resolves before the commit is on the disk.
 */

import type { Clock } from "../base/env.ts"
import { HeadwaterError } from "../base/errors.ts"
import { Listeners } from "../base/listeners.ts"
import type { Sizes } from "../base/replica-sizes.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Store } from "../store/store.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import { Arrivals } from "./arrival-cache.ts"
import { Authorship } from "./authorship.ts"
import { findDamage } from "./damaged-changes.ts"
import type { Held } from "./disk/change-record.ts"
import { type Changed, type Commit, type Defs, type Known, noChange, type SetAside } from "./disk/records-in-memory.ts"
import { type IdleWork, NO_WORK } from "./idle-interface.ts"
import { Documents } from "./live-documents.ts"
import { type Projecting, projectTouched, readClosed } from "./projecting.ts"
import { Queue, type Step } from "./step-queue.ts"
import { isOfDisk, storeError } from "./store-error.ts"
import { Transaction } from "./transaction.ts"

export interface ReplicaOptions {
  readonly id: string
  readonly store: Store
  readonly collections: Readonly<Record<string, AnyDef>>
  readonly clock: Clock
  readonly sizes: Sizes
  readonly wasm?: URL | string | BufferSource | undefined
}

/**
 * The longest wait between a failed commit and the rejection of its steps. The steps reject after the disk was read
 * again, so that the rows are then those on the disk. But a disk that has failed may never answer, and the app must be
 * told all the same.
 */
const READ_AGAIN_MS = 1000

export class Replica {
  readonly id: string
  readonly clock: Clock
  readonly store: Store
  readonly sizes: Sizes
  readonly authorship: Authorship
  readonly documents: Documents
  /** The last failure of the disk; null once a commit has succeeded. */
  failure: HeadwaterError | null = null
  #known: Known
  readonly #projecting: Projecting
  readonly #steps: Queue
  readonly #listeners = new Listeners<[Changed]>()
  /**
   * The records that must be read from the disk before the next group. `moved`: records that a commit has changed
   * without this replica's knowledge. `everything`: all records, because one of them is damaged.
   */
  #toRead: "nothing" | "moved" | "everything" = "nothing"
  /**
   * The error when damaged records could not be made again; undefined when no record is damaged now. While this is set,
   * no step can write.
   */
  #unmended: HeadwaterError | undefined
  readonly #arrivals: Arrivals
  #idle: IdleWork = NO_WORK

  constructor({ id, store, clock, sizes, wasm }: ReplicaOptions, defs: Defs, known: Known) {
    this.id = id
    this.store = store
    this.clock = clock
    this.sizes = sizes
    this.#known = known
    this.authorship = new Authorship(clock)
    this.#arrivals = new Arrivals(sizes.arrivals)
    const [authorship, arrivals] = [this.authorship, this.#arrivals]
    const { documentBytes, readRows } = sizes
    this.documents = new Documents({ workspace: id, defs, store, authorship, arrivals, documentBytes, wasm })
    this.#projecting = { documents: this.documents, authorship, defs, readRows }
    this.documents.onLoad = () => this.#idle.automergeLoaded()
    this.documents.onFailure = () => {
      this.#tell(noChange()) // perhaps no commit follows that would call the listeners
      if (this.documents.failure !== null) this.#idle.afterFailure()
    }
    this.#steps = new Queue(sizes.group, (group) => this.#commitGroup(group))
  }

  get rows() {
    return this.#known.rows
  }
  get outbox() {
    return this.#known.outbox
  }
  get state() {
    return this.#known.state
  }
  get stale() {
    return this.#known.stale
  }
  get bad() {
    return this.#known.bad
  }
  get rejected() {
    return this.#known.rejected
  }
  get setAside(): SetAside | undefined {
    return this.#known.setAside
  }
  /**
   * Whether some records are damaged and not made again yet. While true, rows, marks and outbox records may be missing.
   */
  get isDamaged(): boolean {
    return this.#known.damaged.length > 0
  }
  /** The session actor, under which this session makes its changes; never saved. */
  get actor(): Actor {
    return this.authorship.actor
  }
  /** Why no document can be made now: Automerge could not be loaded (`WASM_FAILED`), or fails (`DOCUMENT_FAILED`). */
  get documentFailure(): HeadwaterError | null {
    return this.documents.wasmFailure ?? this.documents.failure
  }

  /** The time that a change gets if it is made now, in s since 1970. */
  seconds(): number {
    return this.#known.seconds()
  }

  /**
   * Calls `listener` after every commit with the rows that the commit has changed, and after a failure with no rows.
   * Returns a function that ends these calls.
   */
  onCommit(listener: (changed: Changed) => void): () => void {
    return this.#listeners.add(listener)
  }

  /** Sets the idle work of this replica. */
  whenIdle(work: IdleWork): void {
    this.#idle = work
  }

  /**
   * Takes a new session actor. Needed whenever one seq of the old actor might be used for two changes. Drops the live
   * documents, because they still write under the old actor.
   */
  freshActor(): void {
    this.authorship.takeFreshActor()
    this.documents.dropAll()
  }

  /** Call when an entity was read without a document. Idle work may make the document, because an edit may follow. */
  wasRead(entity: string): void {
    this.#idle.afterRead(entity)
  }

  /** Call with true when more entries of a pull will come, and with false when none will. */
  expectEntries(more: boolean): void {
    this.#idle.expectEntries(more)
  }

  /**
   * Makes the row of an entity without a document. Returns false, with nothing done, when the entity has a live
   * document or needs one. `held`: all changes of the entity that are not known to be bad.
   */
  readClosed(entity: string, held: ReadonlyMap<Hash, Held>, tx: Transaction): boolean {
    return !this.documents.has(entity) && readClosed(this.#projecting, entity, held, tx)
  }

  /**
   * Returns a saved change if the cache has it (`arrival-cache.ts`), or undefined if it must be read from the disk. A
   * change that this session has made is returned only once: when it is pushed a second time, it is read from the disk,
   * so that damage is noticed.
   */
  kept(entity: string, hash: Hash): Held | undefined {
    const arrived = this.#arrivals.get(entity, hash)
    return arrived ?? this.#arrivals.takeMade(hash, () => this.documents.get(entity)?.held(hash))
  }

  /** Whether this session has made and saved the change lately, so that its record need not be written again. */
  wasMadeLately(hash: Hash): boolean {
    return this.#arrivals.wasMadeLately(hash)
  }

  // ── steps ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Queues a step. Resolves with the result of `run` once its writes are on the disk. Rejects with the error that `run`
   * throws, or with the error of the commit. When another writer on the same store commits first, `run` is called
   * again, so everything that it does must be undone with the transaction. `entities`: ids of the entities to which the
   * step writes. `alone`: the step shares its group with no other step.
   */
  step<T>(entities: readonly string[], run: (tx: Transaction) => T | Promise<T>, alone = false): Promise<T> {
    return this.#steps.add(entities, run, alone)
  }

  async #commitGroup(group: readonly Step[]): Promise<void> {
    try {
      if (this.#toRead !== "nothing") await this.#readMoved()
      await this.#mend()
      while (!(await this.#tryGroup(group))) await this.#followOther()
    } catch (cause) {
      await this.#failed(group, cause)
      return
    }
    this.documents.evict()
    this.#idle.afterGroup()
  }

  /**
   * Runs the steps and commits their writes. Returns false, with nothing written, when another writer committed first.
   */
  async #tryGroup(group: readonly Step[]): Promise<boolean> {
    const tx = new Transaction(this.id, this.#known)
    const settle: (() => void)[] = []
    for (const step of group) settle.push(await this.#runStep(step, tx))
    let commit: Commit | undefined
    try {
      const rows = await projectTouched(this.#projecting, (id) => this.rows.collectionOf(id), tx)
      commit = this.#known.commitOf(tx, rows)
    } catch (error) {
      if (error instanceof HeadwaterError && error.code.startsWith("STORE_")) throw error
      this.#drop(tx.documents)
      if (group.length > 1) await this.#oneByOne(group)
      else group[0]?.reject(error)
      return true
    }
    if (commit === undefined) tx.committed()
    else if (!(await this.#save(tx, commit))) return false
    for (const f of settle) f()
    return true
  }

  /**
   * Runs a step after setting a savepoint: when the step throws, everything that it did is undone. Returns a function
   * that settles the step's promise. Call that function after the commit.
   */
  async #runStep(step: Step, tx: Transaction): Promise<() => void> {
    const undo = tx.savepoint()
    const { damages } = tx.state
    try {
      // Without this check, an edit of an entity whose row is damaged would be refused with `ENTITY_NOT_FOUND`.
      if (this.#unmended !== undefined && step.entities.length > 0) throw this.#unmended
      const result = step.run(tx)
      const value = result instanceof Promise ? await result : result
      return () => step.resolve(value)
    } catch (error) {
      const isDamaged = tx.state.damages !== damages
      this.#drop(undo()) // `undo` also undoes the step's note of damage, so `findDamage` notes the damage again
      if (isDamaged) this.step([], (again) => findDamage(this.documents, step.entities, again)).catch(() => {})
      if (isOfDisk(error)) this.noteFailure(error)
      return () => step.reject(error)
    }
  }

  /**
   * Reports at once that the disk cannot be read or written, or is gone. Idle work then tries the disk again, because
   * perhaps the app starts no other step.
   */
  noteFailure(error: HeadwaterError): void {
    this.failure = error
    this.#tell(noChange())
    this.#idle.afterFailure()
  }

  /**
   * Runs and commits each step of a group alone. Called when the rows of the group could not be made, so that only the
   * step at fault fails.
   */
  async #oneByOne(group: readonly Step[]): Promise<void> {
    for (const step of group) while (!(await this.#tryGroup([step]))) await this.#followOther()
  }

  /**
   * Commits the transaction. When another writer on the same store committed first, drops the documents with unsaved
   * changes and returns false.
   */
  async #save(tx: Transaction, commit: Commit): Promise<boolean> {
    if (this.#unmended !== undefined) throw this.#unmended
    try {
      await this.store.commit(commit.writes, { expect: commit.expect })
    } catch (error) {
      if (error instanceof HeadwaterError && error.code === "STORE_MOVED") {
        this.#drop(tx.documents)
        return false
      }
      this.authorship.follow(tx) // the changes may be on the disk in spite of the error
      throw error
    }
    this.failure = null
    this.authorship.follow(tx)
    this.#arrivals.follow(tx)
    this.#idle.afterCommit(tx)
    this.#tell(commit.done())
    return true
  }

  #drop(documents: readonly string[]): void {
    for (const entity of documents) this.documents.drop(entity)
  }

  /** Shows the times that rows have hidden because they were in the future, and that have passed now. */
  showDue(): void {
    this.#tell(this.#known.showDue())
  }

  #tell(changed: Changed): void {
    this.#listeners.tellNow(changed)
  }

  // ── when a commit fails, or another writer was first ──────────────────────────────────────────────────────────────

  /**
   * Recovers from a failed commit, which may be on the disk or not. Takes a new session actor, so that no (actor, seq)
   * is ever used for two changes, and drops the live documents. Reads again the records that have changed on the disk.
   * Then rejects the steps of the group, and the waiting steps that write to the same entities. If the disk does not
   * answer within `READ_AGAIN_MS`, rejects these steps without waiting for the disk. Until the disk answers, rows show
   * the last state that is known to be saved, and no step runs.
   */
  async #failed(group: readonly Step[], cause: unknown): Promise<void> {
    const error = storeError(cause)
    this.failure = error
    if (this.#toRead === "nothing") this.#toRead = "moved"
    this.freshActor()
    this.#arrivals.clear()
    const behind = this.#steps.removeBehind(new Set(group.flatMap((step) => step.entities)))
    this.#tell(noChange()) // before anything is read: a disk that has failed may never answer
    const reject = () => {
      for (const step of [...group, ...behind]) step.reject(error)
    }
    const cancel = this.clock.after(READ_AGAIN_MS, reject)
    await this.#readMoved().catch(() => {}) // if it fails, it is called again before the next group
    cancel()
    reject()
    this.#idle.afterFailure()
  }

  /**
   * Call when the store says that another writer committed first: reads the records that this writer has changed.
   * Throws when there are none, because otherwise the group would be tried again for ever.
   */
  async #followOther(): Promise<void> {
    if (!(await this.#readMoved()))
      throw new Error("the store refused a commit with STORE_MOVED, but no other writer has committed")
    await this.#mend()
  }

  /**
   * Makes damaged records again, in a commit of their own. Until that commit has succeeded, no other group commits,
   * because its steps would lack the records: for example, an edit might depend on a change whose verdict is open. A
   * step that only reads may run, so that a workspace can be opened and read although its disk is full.
   */
  async #mend(): Promise<void> {
    this.#unmended = undefined
    if (!this.isDamaged) return
    const run = async (tx: Transaction) => {
      const { damaged } = this.#known
      await this.#idle.mend(tx, damaged)
      tx.add({ writes: [], done: () => void damaged.splice(0) })
    }
    const reject = (cause: unknown) => {
      this.#unmended = storeError(cause)
    }
    try {
      while (!(await this.#tryGroup([{ entities: [], alone: true, run, resolve() {}, reject }])))
        await this.#followOther()
    } catch (cause) {
      reject(cause)
    }
    if (this.#unmended !== undefined) this.noteFailure(this.#unmended)
    else this.documents.dropAll() // the documents were made without the records that were damaged
  }

  /**
   * Call when a record was found damaged. Before the next group, the replica reads all records and makes damaged
   * records again.
   */
  readEverything(): void {
    this.#toRead = "everything"
  }

  /**
   * Reads the records that were changed on the disk by commits of other writers, or by a commit of this replica that
   * seemed to fail. Returns false when there was nothing to read.
   */
  async #readMoved(): Promise<boolean> {
    const moved = await this.#known.moved(this.store)
    const everything =
      this.#toRead === "everything" || (moved !== undefined && (moved.touched.everything || this.isDamaged))
    let changed: Changed | undefined
    if (moved !== undefined && !everything) {
      for (const entity of moved.touched.entities) {
        this.documents.drop(entity)
        this.#arrivals.take(entity)
      }
      changed = await this.#known.readMoved(this.store, moved)
    }
    if (changed !== undefined) this.#tell(changed)
    else if (moved !== undefined || everything) await this.#readAll()
    this.#toRead = "nothing"
    return moved !== undefined || everything
  }

  async #readAll(): Promise<void> {
    const { known, changed } = await this.#known.readEverything(this.store)
    this.#known = known
    this.#arrivals.clear()
    this.documents.dropAll()
    this.#tell(changed)
  }

  /**
   * Ends idle work, finishes the steps in the queue, and closes. `quickly`: folds nothing before that, because the
   * workspace could not be opened.
   */
  async close({ quickly = false } = {}): Promise<void> {
    await this.#idle.close(quickly)
    await this.#steps.close()
    this.documents.dropAll()
    this.#listeners.end()
  }
}
