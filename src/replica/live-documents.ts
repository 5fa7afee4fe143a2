/**
 * The live documents of a replica. A document is hydrated when its entity is written to or must be projected. The most
 * recently used documents stay live. All others are freed at once, so that new documents use the same memory: the
 * memory of WebAssembly never shrinks.
 */

import { type Code, HeadwaterError } from "../base/errors.ts"
import { admitted, type Judged } from "../document/admission.ts"
import { newHandle } from "../document/automerge.ts"
import { automergeVersion, Entity, loadAutomerge } from "../document/entity.ts"
import { causalOrder } from "../document/history/graph.ts"
import { History } from "../document/history/history.ts"
import { verdicts } from "../document/verdicts.ts"
import type { Store } from "../store/store.ts"
import type { Change } from "../wire/chunk.ts"
import type { Hash } from "../wire/protocol.ts"
import type { Arrivals } from "./arrival-cache.ts"
import type { Authorship } from "./authorship.ts"
import { lacksRecord } from "./damaged-changes.ts"
import type { Held } from "./disk/change-record.ts"
import { PROBE, type StaleRecord, withDamage } from "./disk/records.ts"
import type { Defs } from "./disk/records-in-memory.ts"
import { Live } from "./live-document.ts"
import { SavedChanges } from "./saved-changes.ts"
import type { Transaction } from "./transaction.ts"

/** How many documents that no edit has used stay live. */
const UNEDITED_AT_MOST = 64

export interface DocumentsOptions {
  readonly workspace: string
  readonly defs: Defs
  readonly store: Store
  readonly authorship: Authorship
  readonly arrivals: Arrivals
  /** The most bytes (estimated) of the documents that stay live while no step uses them. */
  readonly documentBytes: number
  readonly wasm: URL | string | BufferSource | undefined
}

export class Documents {
  /** The changes of entities as the disk has them. */
  readonly saved: SavedChanges
  /**
   * Why Automerge could not be loaded; null unless the last try failed. While this is set, no document can be made.
   * Rows that need a document then do not show changes from the relay.
   */
  wasmFailure: HeadwaterError | null = null
  /** Called at the end of each successful `load`, even if Automerge had been loaded before. */
  onLoad: () => void = () => {}
  /** Why the last document could not be made; null once one has been made. */
  failure: HeadwaterError | null = null
  /** Called when `wasmFailure` or `failure` is set, and when it becomes null again. */
  onFailure: () => void = () => {}
  /** Live documents by entity, the least recently used first. */
  readonly #live = new Map<string, Live>()
  /** Entities whose documents were used since the last eviction, and may have grown. */
  readonly #used = new Set<string>()
  /**
   * Entities whose documents no edit has used: they were made to read the entity or to make its row. The least recently
   * used first. Only `UNEDITED_AT_MOST` of these documents stay live. After a first sync there would be thousands of
   * them: WebAssembly's memory would grow for them, and each growth costs a garbage collection.
   */
  readonly #unedited = new Set<string>()
  /** Estimated bytes by entity, as they were at the last eviction. `#allBytes` is their sum. */
  readonly #bytes = new Map<string, number>()
  #allBytes = 0
  readonly #o: DocumentsOptions

  constructor(options: DocumentsOptions) {
    this.#o = options
    this.saved = new SavedChanges({ ...options, liveOf: (entity) => this.#live.get(entity) })
  }

  // ── live documents ────────────────────────────────────────────────────────────────────────────────────────────────

  get(entity: string): Live | undefined {
    const live = this.#live.get(entity)
    if (live !== undefined) {
      this.#live.delete(entity)
      this.#live.set(entity, live)
      this.#used.add(entity)
      if (this.#unedited.delete(entity)) this.#unedited.add(entity)
    }
    return live
  }

  /** Call when an edit uses the document of an entity. The next edit is likely to use the same document. */
  edited(entity: string): void {
    this.#unedited.delete(entity)
  }

  has(entity: string): boolean {
    return this.#live.has(entity)
  }

  add(live: Live): Live {
    this.#live.set(live.entity.id, live)
    this.#used.add(live.entity.id)
    this.#unedited.add(live.entity.id)
    return live
  }

  /** Frees the live document of an entity, if there is one. The next use hydrates the document again from the disk. */
  drop(entity: string): void {
    const live = this.#live.get(entity)
    this.#live.delete(entity)
    this.#unedited.delete(entity)
    this.#weigh(entity)
    try {
      live?.entity.free()
    } catch {
      // `free` throws after a panic inside WebAssembly. Then the document's memory may never be used again.
    }
  }

  dropAll(): void {
    for (const entity of [...this.#live.keys()]) this.drop(entity)
  }

  /**
   * Frees the least recently used documents until the others fit into `documentBytes` and at most `UNEDITED_AT_MOST` of
   * them are unedited. The document that was used last stays live even if it is larger than `documentBytes`: otherwise
   * each key typed into a huge text would hydrate its document again. Call between groups, when no step uses a
   * document.
   */
  evict(): void {
    for (const entity of this.#used) this.#weigh(entity)
    this.#used.clear()
    for (const entity of this.#unedited) {
      if (this.#unedited.size <= UNEDITED_AT_MOST) break
      this.drop(entity)
    }
    for (const entity of this.#live.keys()) {
      if (this.#allBytes <= this.#o.documentBytes || this.#live.size <= 1) return
      this.drop(entity)
    }
  }

  /** Updates the estimated bytes of an entity's document: 0 when it is not live. */
  #weigh(entity: string): void {
    const bytes = this.#live.get(entity)?.entity.estimatedBytes ?? 0
    this.#allBytes += bytes - (this.#bytes.get(entity) ?? 0)
    if (bytes > 0) this.#bytes.set(entity, bytes)
    else this.#bytes.delete(entity)
  }

  /** Loads Automerge, which every document needs. Throws `WASM_FAILED`. */
  async load(): Promise<void> {
    try {
      await loadAutomerge(this.#o.wasm)
    } catch (error) {
      this.wasmFailure = error as HeadwaterError
      this.onFailure()
      throw error
    }
    if (this.wasmFailure !== null) {
      this.wasmFailure = null
      this.onFailure()
    }
    this.onLoad()
  }

  // ── hydrating ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Returns the live document of an entity, after hydrating it if necessary; undefined when the entity has no sound
   * change from which to make one. Hydrating first judges the suspects, so that no bad change gets into the document.
   * If the entity has a mark, its row is made again in this group. `read`: the entity's changes, if the caller has read
   * them.
   */
  async live(entity: string, tx: Transaction, read?: ReadonlyMap<Hash, Held>): Promise<Live | undefined> {
    const kept = this.get(entity)
    if (kept !== undefined) return kept
    await this.load()
    const held = read ?? (await this.saved.held(entity, tx))
    const mark = tx.staleOf(entity)
    const changes = [...held.values()].map(({ change }) => change)
    const suspects = new Set(mark?.suspects)
    // The document will depend on changes and verdicts of this transaction, so it must be dropped if the transaction
    // fails.
    if (mark !== undefined || tx.held.has(entity) || tx.dropped.has(entity)) tx.touchDocument(entity)
    if (mark !== undefined) {
      tx.touch(entity)
      tx.arrive(entity)
    }
    const { verdict, hydrated } = this.#tryHydrate(entity, changes, suspects, mark)
    const waiting = noteVerdict(this.#o.authorship, entity, verdict, held, tx)
    if (hydrated === undefined) {
      if (mark !== undefined) markWaiting(tx, entity, waiting)
      return undefined
    }
    const live = new Live(hydrated)
    for (const { hash } of verdict.order) live.add(held.get(hash) as Held)
    live.waiting = waiting
    return this.add(live)
  }

  #tryHydrate(
    entity: string,
    changes: readonly Change[],
    suspects: ReadonlySet<Hash>,
    mark: StaleRecord | undefined,
  ): { verdict: Judged; hydrated: Entity | undefined } {
    try {
      const made = this.#hydrate(entity, changes, suspects, mark)
      this.#setFailure(null)
      return made
    } catch (cause) {
      const failure =
        cause instanceof HeadwaterError
          ? cause
          : new HeadwaterError("DOCUMENT_FAILED", "the document could not be made; the library tries again", {
              entity,
              cause,
            })
      this.#setFailure(failure)
      throw failure
    }
  }

  /** After a failure, makes the smallest document. If this succeeds, the failure is not reported any longer. */
  tryAgain(): void {
    if (this.failure === null) return
    try {
      newHandle().free()
    } catch {
      return
    }
    this.#setFailure(null)
  }

  #setFailure(failure: HeadwaterError | null): void {
    if (failure === null && this.failure === null) return
    this.failure = failure
    this.onFailure()
  }

  #hydrate(
    entity: string,
    changes: readonly Change[],
    suspects: ReadonlySet<Hash>,
    mark: StaleRecord | undefined,
  ): { verdict: Judged; hydrated: Entity | undefined } {
    const verdict = mark === undefined ? trusted(changes) : admitted(entity, changes, suspects)
    // If the disk has lost a change of this session, the next change under the same actor would get that change's seq.
    if (this.#o.authorship.isLacking(entity, verdict.history)) this.#o.authorship.takeFreshActor()
    const { actor } = this.#o.authorship
    try {
      const hydrated = verdict.order.length > 0 ? Entity.hydrate(entity, verdict.history, actor, suspects) : undefined
      return { verdict, hydrated }
    } catch {
      // Automerge has failed on these changes. `verdicts` finds the bad ones, or throws if the machine is to blame.
      const tried = verdicts(entity, changes, suspects)
      return {
        verdict: tried,
        hydrated: tried.order.length > 0 ? Entity.hydrate(entity, tried.history, actor) : undefined,
      }
    }
  }
}

/**
 * Notes the verdict on all changes of an entity in the transaction: marks bad changes, calls `oweFreed` for the sound
 * changes, and notes a lost record. Returns the changes that wait. If there are any, or if the entity has a mark, the
 * caller must pass them to `markWaiting`.
 */
export function noteVerdict(
  authorship: Authorship,
  entity: string,
  { order, bad, waiting }: Judged,
  held: ReadonlyMap<Hash, Held>,
  tx: Transaction,
): readonly Held[] {
  const mark = tx.staleOf(entity)
  markVerdicts(entity, bad, tx)
  oweFreed(authorship, entity, order, mark?.unnamed, tx)
  const waits = waiting.map(({ hash }) => held.get(hash) as Held)
  if (mark === undefined && lacksRecord(held, waits, tx.badOf(entity))) {
    tx.state = withDamage(tx.state)
    markWaiting(tx, entity, waits) // while the entity has a mark, the same loss is not noted again
  }
  return waits
}

/** Saves the verdicts on bad changes, with the present build of Automerge. */
export function markVerdicts(entity: string, bad: ReadonlyMap<Hash, Code>, tx: Transaction): void {
  for (const [hash, code] of bad) tx.markBad(entity, hash, { code, automerge: automergeVersion(), probe: PROBE })
}

/**
 * Gives the verdict on changes of which none is bad, because all were judged before. Checks only their deps: a change
 * waits when the disk has damaged or lost a change on which it depends.
 */
function trusted(changes: readonly Change[]): Judged {
  const history = History.of(causalOrder(changes))
  const waiting = changes.filter(({ hash }) => !history.changes.has(hash))
  return { order: history.order, bad: new Map(), waiting, history }
}

/**
 * Puts the changes into the outbox that are in both `whole` and `unnamed`. `whole`: changes of which this replica has
 * all deps. `unnamed`: changes that the `have` of a heal did not cover (`noteUnnamed`). The relay may lack these
 * changes, and could not ask for them.
 */
export function oweFreed(
  authorship: Authorship,
  entity: string,
  whole: readonly Change[],
  unnamed: readonly Hash[] | undefined,
  tx: Transaction,
): void {
  const freed = new Set(unnamed) // a set, because one note may have thousands of such changes
  for (const change of whole) if (freed.has(change.hash)) authorship.giveBack(entity, change, tx)
}

/**
 * Marks an entity of which some changes wait for missing changes. Removes the mark when no change waits. The mark is
 * saved, because the missing changes may arrive only after a restart. The waiting changes are pushed last.
 */
export function markWaiting(tx: Transaction, entity: string, waiting: readonly Held[]): void {
  const suspects = new Set(waiting.map(({ change }) => change.hash))
  for (const hash of tx.staleOf(entity)?.suspects ?? []) tx.pushLast(entity, hash, false)
  for (const hash of suspects) tx.pushLast(entity, hash, true)
  const unnamed = tx.staleOf(entity)?.unnamed?.filter((hash) => suspects.has(hash))
  const mark = { suspects: [...suspects], waiting: true, ...(unnamed && { unnamed }) }
  tx.markStale(entity, suspects.size === 0 ? undefined : mark)
}
