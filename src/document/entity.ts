/**
 * One entity's live Automerge document: hydrated from its changes, written by one session actor, read as plain values.
 * Everything is synchronous once `loadAutomerge` has resolved.
 */

import { HeadwaterError } from "../base/errors.ts"
import type { Changes, Fields } from "../schema/draft.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import { type Change, readChange } from "../wire/chunk.ts"
import type { Actor, Hash } from "../wire/protocol.ts"
import { refuseLossy, take } from "./apply.ts"
import { type Handle, newHandle } from "./automerge.ts"
import { type Cell, fieldKeys, readCell, textCell, valueCell } from "./cells.ts"
import { DELETED, Deletion, deletedValue } from "./deletion.ts"
import { collectionMadeBy, genesisOf, pruning, textContainer } from "./derived.ts"
import { byTime, nextHeads } from "./history.ts"
import { rootKeys } from "./operations.ts"
import { perform, planned, type Step } from "./writing.ts"

export { automergeVersion, loadAutomerge } from "./automerge.ts"

const MADE = "@made"

/** What the changes say of the entity: times in ms since 1970, 0 when no change has one. */
export interface Facts {
  readonly createdAt: number
  readonly updatedAt: number
  readonly deletedAt?: number
  /** Which changes say so: whoever pushed them is `$createdBy`, `$updatedBy`, `$deletedBy`. */
  readonly createdIn?: Hash
  readonly updatedIn?: Hash
  readonly deletedIn?: Hash
}

export class Entity {
  readonly id: string
  readonly collection: string
  /** The change that made it. */
  readonly genesis: Change
  #handle: Handle
  readonly #actor: Actor
  readonly #held = new Set<Hash>()
  readonly #cells = new Map<string, Cell>()
  readonly #deletion = new Deletion()
  /** Sorted; undefined when a key came or went. */
  #keys: string[] | undefined
  #shown: { readonly def: AnyDef | undefined; readonly fields: Readonly<Fields> } | undefined
  #current: readonly Hash[] = []
  #maxOp = 0
  #first: Change | undefined
  #last: Change | undefined
  /** The newest change that deleted it; undefined while it lives. */
  #deletedBy: Change | undefined

  private constructor(id: string, genesis: Change, collection: string, handle: Handle, actor: Actor) {
    this.id = id
    this.genesis = genesis
    this.collection = collection
    this.#handle = handle
    this.#actor = actor
  }

  /** A new entity that holds its genesis, which must be saved with the first changes. */
  static create(id: string, collection: string, actor: Actor): Entity {
    const genesis = genesisOf(id, collection)
    return Entity.hydrate(id, [genesis], actor)
  }

  /**
   * The document of these changes, in causal order and closed. Those of `suspects` must come back from it byte for byte:
   * what does not could never be loaded from a saved document. `CHUNK_BAD` when one does not, or Automerge throws.
   */
  static hydrate(id: string, changes: readonly Change[], actor: Actor, suspects?: ReadonlySet<Hash>): Entity {
    const handle = newHandle(actor)
    try {
      take(handle, [], changes)
      if (suspects !== undefined)
        refuseLossy(
          handle,
          [],
          changes.filter(({ hash }) => suspects.has(hash)),
        )
      const { genesis, collection } = originOf(id, changes)
      const entity = new Entity(id, genesis, collection, handle, actor)
      entity.#account(changes)
      entity.#readAll(new Set())
      return entity
    } catch (cause) {
      handle.free()
      throw refused(id, cause)
    }
  }

  get heads(): readonly Hash[] {
    return this.#current
  }

  get deleted(): boolean {
    return this.#deletedBy !== undefined
  }

  get facts(): Facts {
    const [first, last, deletedBy] = [this.#first, this.#last, this.#deletedBy]
    return {
      createdAt: (first?.time ?? 0) * 1000,
      updatedAt: (last?.time ?? 0) * 1000,
      ...(first && { createdIn: first.hash }),
      ...(last && { updatedIn: last.hash }),
      ...(deletedBy && { deletedAt: deletedBy.time * 1000, deletedIn: deletedBy.hash }),
    }
  }

  /**
   * The user's fields as plain values, keys sorted, long texts in full; no defaults. Where a text is among conflicting
   * values of a field that is declared `text()`, it is what shows. Shared, so frozen at every depth.
   */
  whole(def: AnyDef | undefined): Readonly<Fields> {
    if (this.#shown?.def === def && this.#shown !== undefined) return this.#shown.fields
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
   * Writes all of it or, when it throws, nothing. Returns the changes made, in causal order: what the first write to a
   * text needs (its container, or the removal of what hides it), then one change; none when nothing changes.
   * `time` in s. `FIELD_KIND`, `SPLICE_RANGE`, `TOO_LARGE`. Whether the entity is deleted is not asked.
   */
  write(def: AnyDef | undefined, changes: Changes, time: number): Change[] {
    const steps = planned(def, changes, this.#cells)
    const objects = new Map<string, string>()
    const made = this.#author(time, (derived) => {
      for (const step of steps) if (step.do === "splice") objects.set(step.key, this.#textObject(step.key, derived))
      for (const step of steps) perform(this.#handle, step, objects.get(step.key))
    })
    for (const step of steps) this.#setCell(step, objects.get(step.key))
    if (this.deleted) this.#deletedBy = this.#findDeletion()
    return made
  }

  /**
   * Says when it was made, and by whom, where nothing else does: one change that leaves nothing behind. Not an empty one:
   * it must end at a later operation than it rests on, for changes are pushed in that order.
   */
  sign(time: number): Change[] {
    return this.#author(time, () => {
      this.#handle.put("_root", MADE, true)
      this.#handle.delete("_root", MADE)
    })
  }

  /** Deletes it: one change, none when it is deleted already. */
  remove(time: number): Change[] {
    if (this.deleted) return []
    const made = this.#author(time, () => this.#handle.put("_root", DELETED, deletedValue(this.heads), "str"))
    this.#deletedBy = this.#findDeletion()
    return made
  }

  /** Takes the deletion back, which counts as an edit; none when it is not deleted. */
  restore(time: number): Change[] {
    if (!this.deleted) return []
    const made = this.#author(time, () => this.#handle.delete("_root", DELETED))
    this.#deletedBy = this.#findDeletion()
    return made
  }

  /**
   * Takes changes in, in one call; those it holds are skipped. `CHUNK_BAD` when Automerge throws or would not give one of
   * them back byte for byte: the entity is then of no more use and must be freed and hydrated again.
   */
  apply(changes: readonly Change[]): void {
    const fresh = changes.filter(({ hash }) => !this.#held.has(hash))
    if (fresh.length === 0) return
    try {
      this.#handle.updateDiffCursor()
      take(this.#handle, this.heads, fresh)
      refuseLossy(this.#handle, this.heads, fresh)
      const touched = new Set(this.#handle.diffIncremental().map(({ path }) => path[0]))
      // Automerge has no patch for a value that loses, and that may be the text we show.
      for (const change of fresh) for (const key of rootKeys(change)) touched.add(key)
      this.#account(fresh)
      this.#readAll(touched)
    } catch (cause) {
      throw refused(this.id, cause)
    }
  }

  /** Gives its memory back. Nothing else may be called afterwards. */
  free(): void {
    this.#handle.free()
  }

  /** Runs `act` and commits; as if nothing had been when either throws. `act` lists the derived changes that it applies. */
  #author(time: number, act: (derived: Change[]) => void): Change[] {
    const made: Change[] = []
    try {
      act(made)
      const committed = this.#handle.commit(undefined, time) !== null
      if (committed) made.push(readChange(this.#handle.getLastLocalChange() as Uint8Array))
    } catch (cause) {
      this.#rewind()
      throw cause instanceof HeadwaterError ? cause : refused(this.id, cause)
    }
    this.#account(made)
    return made
  }

  #rewind(): void {
    this.#handle.rollback()
    if (String(this.#handle.getHeads().sort()) === String(this.heads)) return
    const before = this.#handle.fork(this.#actor, [...this.heads])
    this.#handle.free()
    this.#handle = before
  }

  /** Where a field's text is, once the changes are applied that its first write needs. */
  #textObject(key: string, made: Change[]): string {
    const text = this.#cells.get(key)?.text
    if (text === undefined) return this.#makeText(key, made)
    if (text.others.length > 0) {
      const maxOp = Math.max(this.#maxOp, ...made.map((change) => change.maxOp))
      this.#derive(pruning(this.id, key, [...text.others], this.#handle.getHeads(), maxOp), made)
    }
    return text.object
  }

  #makeText(key: string, made: Change[]): string {
    const container = textContainer(this.id, this.genesis, key)
    if (this.#held.has(container.hash)) {
      throw new HeadwaterError("FIELD_KIND", `another tool has deleted the text of ${key}`, {
        entity: this.id,
        field: key,
      })
    }
    this.#derive(container, made)
    return objectOf(container)
  }

  #derive(change: Change, made: Change[]): void {
    this.#handle.applyChanges([change.chunk])
    made.push(change)
  }

  /** The document's changes grew by these. */
  #account(changes: readonly Change[]): void {
    for (const change of changes) {
      this.#held.add(change.hash)
      this.#maxOp = Math.max(this.#maxOp, change.maxOp)
      if (change.time === 0) continue
      if (this.#first === undefined || byTime(change, this.#first) < 0) this.#first = change
      if (this.#last === undefined || byTime(change, this.#last) > 0) this.#last = change
    }
    this.#current = nextHeads(this.#current, changes)
  }

  #setCell(step: Step, object: string | undefined): void {
    this.#shown = undefined
    if (step.do === "delete") {
      this.#cells.delete(step.key)
      this.#keys = undefined
      return
    }
    if (!this.#cells.has(step.key)) this.#keys = undefined
    this.#cells.set(
      step.key,
      step.do === "put" ? valueCell(step.value) : textCell({ object: object as string, value: step.value, others: [] }),
    )
  }

  /** Reads again what foreign changes touched; a text that shares its key too, for a hidden one has no patches. */
  #readAll(touched: ReadonlySet<unknown>): void {
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
    return this.#deletion.find(this.#handle, this.id, (hash) => this.#held.has(hash))
  }
}

/** The genesis says which collection. */
function originOf(id: string, changes: readonly Change[]): { genesis: Change; collection: string } {
  for (const genesis of changes) {
    const collection = collectionMadeBy(id, genesis)
    if (collection !== undefined) return { genesis, collection }
  }
  throw new HeadwaterError("CHUNK_BAD", "none of these changes makes the entity", { entity: id })
}

/** The object that a change's first operation makes. */
const objectOf = ({ startOp, actor }: Change): string => `${startOp}@${actor}`

const refused = (entity: string, cause: unknown) =>
  cause instanceof HeadwaterError
    ? cause
    : new HeadwaterError("CHUNK_BAD", "Automerge does not take these changes", { entity, cause })
