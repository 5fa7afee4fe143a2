/**
 * One entity's live Automerge document: hydrated from its changes, written by one session actor, read as plain values.
 * Everything is synchronous, so `loadAutomerge` must have resolved before an entity is made.
 */

import { HeadwaterError } from "../base/errors.ts"
import type { Changes, Fields } from "../schema/draft.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import { type Change, readChange } from "../wire/chunk.ts"
import { type Actor, type Hash, limits } from "../wire/protocol.ts"
import { Admission, type Verdicts } from "./admission.ts"
import { applyWhole, refuseLossy } from "./apply.ts"
import { discard, type Handle, newHandle } from "./automerge.ts"
import { type Cell, deletionsIn, fieldKeys, readCell, textCell, valueCell } from "./cells.ts"
import { DELETED, Deletion, deletedValue } from "./deletion.ts"
import { collectionMadeBy, genesisOf, MANY_HEADS, merging, pruning, textContainer } from "./derived-changes.ts"
import { type Facts, factsOf } from "./facts.ts"
import { History } from "./history/history.ts"
import { estimatedBytes } from "./memory-estimate.ts"
import { MADE, rootKeys } from "./root-operations.ts"
import type { TextPatch } from "./text-splices.ts"
import { type FieldWrite, perform, planned } from "./writing.ts"

export { automergeVersion, loadAutomerge } from "./automerge.ts"

export class Entity {
  readonly id: string
  readonly collection: string
  /** The change that made the entity. */
  readonly genesis: Change
  /** The session actor, under which this document is written. */
  readonly #actor: Actor
  #handle: Handle
  /**
   * The changes in the document. While `receive` or `apply` runs, the history also has changes that are yet to be
   * applied.
   */
  readonly #history: History
  readonly #admission: Admission
  /** How many of the history's changes are in the document. */
  #applied: number
  readonly #cells = new Map<string, Cell>()
  readonly #deletion = new Deletion()
  /** The keys of `#cells`, sorted; undefined after a key was added or removed. */
  #keys: string[] | undefined
  /** The last result of `whole`; undefined after a field changed. */
  #shown: { readonly def: AnyDef | undefined; readonly fields: Readonly<Fields> } | undefined
  /** The newest change that deleted the entity; undefined while it is not deleted. */
  #deletedBy: Change | undefined

  private constructor(id: string, history: History, handle: Handle, actor: Actor) {
    const { genesis, collection } = originOf(id, history.order)
    this.id = id
    this.genesis = genesis
    this.collection = collection
    this.#actor = actor
    this.#handle = handle
    this.#history = history
    this.#admission = new Admission(id, history)
    this.#applied = history.size
    this.#readFields(new Set())
    history.pack()
  }

  /** Makes an entity that has only its genesis. The caller must save the genesis with the first changes. */
  static create(id: string, collection: string, actor: Actor): Entity {
    return Entity.hydrate(id, History.of([genesisOf(id, collection)]), actor)
  }

  /**
   * Makes the document from the changes of `history`. The entity owns `history` from then on. Throws `DOCUMENT_FAILED`
   * when Automerge throws, or does not return one of `suspects` byte for byte: `refuseLossy` says why. Then `verdicts`
   * finds out whether a change or the machine is to blame. Throws `CHUNK_BAD` when none of the changes is the genesis
   * of the entity.
   */
  static hydrate(id: string, history: History, actor: Actor, suspects?: ReadonlySet<Hash>): Entity {
    let handle: Handle | undefined
    const changes = history.order
    try {
      handle = newHandle(actor)
      applyWhole(handle, [], changes)
      if (suspects !== undefined) {
        refuseLossy(
          handle,
          [],
          changes.filter(({ hash }) => suspects.has(hash)),
        )
      }
      return new Entity(id, history, handle, actor)
    } catch (cause) {
      discard(handle)
      throw failed(id, cause)
    }
  }

  /** Every change in the document, in causal order. */
  get changes(): ReadonlyMap<Hash, Change> {
    return this.#history.changes
  }

  /** The heads of the document, sorted. */
  get heads(): readonly Hash[] {
    return this.#history.heads
  }

  /** The memory of the document in bytes, estimated. */
  get estimatedBytes(): number {
    return estimatedBytes(this.#history)
  }

  get deleted(): boolean {
    return this.#deletedBy !== undefined
  }

  get facts(): Facts {
    return factsOf(this.#history, this.#deletedBy)
  }

  /**
   * The user's fields as plain values, keys sorted, long texts in full, without defaults. If the values of a `text()`
   * field conflict and one of them is a text, this text is shown. Callers share the result, so it is frozen at every
   * depth.
   */
  whole(def: AnyDef | undefined): Readonly<Fields> {
    if (this.#shown?.def === def && this.#shown !== undefined) return this.#shown.fields
    this.#follow()
    this.#keys ??= [...this.#cells.keys()].sort()
    const fields: Fields = {}
    for (const key of this.#keys) {
      const { value, text } = this.#cells.get(key) as Cell
      const shown = text !== undefined && isText(def, key) ? text.value : value
      if (shown !== undefined) fields[key] = shown
    }
    this.#shown = { def, fields: Object.freeze(fields) }
    return fields
  }

  /**
   * Writes all of `changes` or, when it throws, none of them. Returns the Automerge changes that it made, in causal
   * order: first the derived changes that the edit needs, then the edit. An edit needs a merge of the heads when there
   * are too many, and a text needs its container before its first write, or the removal of values that conflict with
   * it. Returns none when nothing changes. `time` in s. Throws `FIELD_KIND`, `SPLICE_RANGE`, `TOO_LARGE`. Does not
   * check whether the entity is deleted.
   */
  write(def: AnyDef | undefined, changes: Changes, time: number): Change[] {
    this.#follow()
    const writes = planned(def, changes, this.#cells)
    const objects = new Map<string, string>()
    const made = this.#author(time, (derived) => {
      for (const { do: how, key } of writes) if (how === "splice") objects.set(key, this.#textObject(key, derived))
      for (const write of writes) perform(this.#handle, write, objects.get(write.key))
    })
    for (const write of writes) this.#setCell(write, objects.get(write.key))
    if (this.deleted) this.#deletedBy = this.#findDeletion()
    return made
  }

  /**
   * Makes the texts of fields that have nothing yet, for a tool that only writes into a text that is there. Returns the
   * derived changes that make them.
   */
  makeTexts(def: AnyDef): Change[] {
    this.#follow()
    const container = (key: string) => textContainer(this.id, this.genesis, key).hash
    const lacks = (key: string) => isText(def, key) && !this.#cells.has(key) && !this.changes.has(container(key))
    const missing = Object.keys(def.fields).filter(lacks)
    const made = this.#author(0, (derived) => {
      for (const key of missing) this.#makeText(key, derived)
    })
    this.#readFields(new Set(missing))
    return made
  }

  /**
   * Gives the entity a time and an author when no other change does: makes one change that sets a key and removes it
   * again. The change must have operations. Without them, it and the next change would have the same startOp, and the
   * outbox pushes changes in the order of their startOp.
   */
  sign(time: number): Change[] {
    return this.#author(time, () => {
      this.#handle.put("_root", MADE, true)
      this.#handle.delete("_root", MADE)
    })
  }

  /** Deletes the entity. Returns the changes that were made; none when the entity is deleted already. */
  remove(time: number): Change[] {
    if (this.deleted) return []
    const made = this.#author(time, () =>
      this.#handle.put("_root", DELETED, deletedValue(this.#handle.getHeads()), "str"),
    )
    this.#deletedBy = this.#findDeletion()
    return made
  }

  /**
   * Brings a deleted entity back by removing `@deleted`. Returns the changes that were made; none when the entity is
   * not deleted.
   */
  restore(time: number): Change[] {
    if (!this.deleted) return []
    const made = this.#author(time, () => this.#handle.delete("_root", DELETED))
    this.#deletedBy = this.#findDeletion()
    return made
  }

  /**
   * Judges changes that arrived, and applies the sound ones. The entity does not keep the waiting changes: pass them
   * again with the next changes. Throws `DOCUMENT_FAILED` as `apply` does; `verdicts` then finds out whether a change
   * or the machine is to blame.
   */
  receive(arrived: Iterable<Change>): Verdicts {
    const verdicts = this.#admission.judge(arrived)
    this.#follow()
    return verdicts
  }

  /**
   * Applies changes that are known to be sound, in causal order; skips those that are in the document. Throws
   * `CHUNK_BAD` when a dep is missing. Throws `DOCUMENT_FAILED` when Automerge throws, or does not return a change byte
   * for byte. After a `DOCUMENT_FAILED`, only `free` may be called: hydrate the entity again. Returns Automerge's patches.
   */
  apply(changes: readonly Change[]): readonly TextPatch[] {
    for (const change of changes) this.#history.add(change)
    return this.#follow()
  }

  /**
   * Takes in sound changes that `source` has made, and takes over its fields if it has the same changes. The document
   * itself follows when it is needed: to apply a change takes Automerge 1 ms for each kilobyte of a text, 0.1 s for a long
   * one, and this runs at each key. Throws as `apply` does.
   */
  adopt(changes: readonly Change[], source: Entity, def: AnyDef): void {
    for (const change of changes) this.#history.add(change)
    if (this.deleted || String(this.heads) !== String(source.heads)) return void this.#follow()
    this.#shown = { def, fields: source.whole(def) }
    this.#history.pack()
  }

  /** Returns the changes that were added after the first `size` changes. */
  changesSince(size: number): readonly Change[] {
    return this.#history.addedSince(size)
  }

  /** Applies the changes of the history that are not in the document yet, in one call. Returns Automerge's patches. */
  #follow(): readonly TextPatch[] {
    const fresh = this.#history.addedSince(this.#applied)
    if (fresh.length === 0) return []
    try {
      const heads = this.#handle.getHeads()
      this.#handle.updateDiffCursor()
      applyWhole(this.#handle, heads, fresh)
      refuseLossy(this.#handle, heads, fresh)
      const patches: readonly TextPatch[] = this.#handle.diffIncremental()
      const touched = new Set<unknown>(patches.map(({ path }) => path[0]))
      // Automerge makes no patch for a conflicting value that it does not show. `whole` may show such a value, if it is
      // a text. So every key that the changes write counts as touched.
      for (const change of fresh) for (const key of rootKeys(change)) touched.add(key)
      this.#applied = this.#history.size
      this.#readFields(touched)
      this.#history.pack()
      return patches
    } catch (cause) {
      throw failed(this.id, cause)
    }
  }

  /** Frees the memory of the document. Nothing else may be called afterwards. */
  free(): void {
    this.#handle.free()
  }

  /**
   * Runs `act`, and commits its operations as one change. When `act` also applies derived changes, it adds them to its
   * argument. Returns all changes that were made, in causal order: merges of too many heads, the derived changes of
   * `act`, the commit. Returns none when `act` does nothing. When anything throws, the document is as it was before.
   */
  #author(time: number, act: (derived: Change[]) => void): Change[] {
    this.#follow()
    const made: Change[] = []
    try {
      this.#mergeHeads(made)
      const merges = made.length
      act(made)
      const committed = this.#handle.commit(undefined, time) !== null
      if (!committed && made.length === merges) {
        if (merges > 0) this.#rewind()
        return []
      }
      if (committed) made.push(readChange(this.#handle.getLastLocalChange() as Uint8Array))
    } catch (cause) {
      this.#rewind()
      throw failed(this.id, cause)
    }
    for (const change of made) this.#history.add(change)
    this.#applied = this.#history.size
    this.#history.pack()
    return made
  }

  #mergeHeads(made: Change[]): void {
    const heads = this.heads.map((hash) => this.changes.get(hash) as Change)
    while (heads.length > MANY_HEADS) {
      const merge = merging(this.id, heads.splice(0, limits.heads))
      this.#derive(merge, made)
      heads.push(merge)
    }
  }

  /**
   * Restores the document to the changes in the history: drops the open transaction and the derived changes that were
   * applied.
   */
  #rewind(): void {
    this.#handle.rollback()
    if (String(this.#handle.getHeads().sort()) === String(this.heads)) return
    const before = this.#handle.fork(this.#actor, [...this.heads])
    this.#handle.free()
    this.#handle = before
  }

  /**
   * Returns the id of a field's text object. First applies the derived change that makes this object, or the one that
   * deletes the values that conflict with it, if one is needed.
   */
  #textObject(key: string, made: Change[]): string {
    const text = this.#cells.get(key)?.text
    if (text === undefined) return this.#makeText(key, made)
    if (text.others.length > 0) {
      const maxOp = Math.max(this.#history.maxOp, ...made.map((change) => change.maxOp))
      this.#derive(pruning(this.id, key, [...text.others], this.#handle.getHeads(), maxOp), made)
    }
    return text.object
  }

  #makeText(key: string, made: Change[]): string {
    const container = textContainer(this.id, this.genesis, key)
    if (this.changes.has(container.hash)) {
      const message = `another tool has deleted the text of ${key}, which can be made only once: use another field`
      throw new HeadwaterError("FIELD_KIND", message, { entity: this.id, field: key })
    }
    this.#derive(container, made)
    return objectOf(container)
  }

  #derive(change: Change, made: Change[]): void {
    this.#handle.applyChanges([change.chunk])
    made.push(change)
  }

  /** Updates `#cells` after a write, so that the document need not be read again. */
  #setCell(write: FieldWrite, object: string | undefined): void {
    const { key } = write
    this.#shown = undefined
    if (write.do === "delete") {
      this.#cells.delete(key)
      this.#keys = undefined
      return
    }
    if (!this.#cells.has(key)) this.#keys = undefined
    if (write.do === "put") this.#cells.set(key, valueCell(write.value))
    else this.#cells.set(key, textCell({ object: object as string, value: write.value, others: [] }))
  }

  /**
   * Reads the fields that are in `touched` or new, and finds out whether the entity is deleted. Also reads each field
   * whose text conflicts with other values, because Automerge makes no patch for a text that it does not show.
   */
  #readFields(touched: ReadonlySet<unknown>): void {
    const container = (key: string) => objectOf(textContainer(this.id, this.genesis, key))
    const keys = fieldKeys(this.#handle)
    for (const key of this.#cells.keys()) if (!keys.has(key)) this.#cells.delete(key)
    for (const key of keys) {
      const cell = this.#cells.get(key)
      if (cell !== undefined && !touched.has(key) && !cell.text?.others.length) continue
      const fresh = readCell(this.#handle, key, container)
      if (fresh !== undefined) this.#cells.set(key, fresh)
    }
    this.#keys = undefined
    this.#shown = undefined
    this.#deletedBy = this.#findDeletion()
  }

  #findDeletion(): Change | undefined {
    return this.#deletion.find(deletionsIn(this.#handle), this.id, this.#history)
  }
}

/** Finds the genesis among the changes, and its collection. Throws `CHUNK_BAD` when there is no genesis. */
function originOf(id: string, changes: readonly Change[]): { genesis: Change; collection: string } {
  for (const genesis of changes) {
    const collection = collectionMadeBy(id, genesis)
    if (collection !== undefined) return { genesis, collection }
  }
  throw new HeadwaterError("CHUNK_BAD", "none of these changes makes the entity", { entity: id })
}

/** Returns the id of the object that a change's first operation makes. */
const objectOf = ({ startOp, actor }: Change): string => `${startOp}@${actor}`

const failed = (entity: string, cause: unknown) =>
  cause instanceof HeadwaterError
    ? cause
    : new HeadwaterError("DOCUMENT_FAILED", "Automerge could not make or change the document; try again later", {
        entity,
        cause,
      })
