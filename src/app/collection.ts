/**
 * Makes the collection object that an app uses. `get` and `all` return rows in memory. Each write is a step of the
 * replica.
 */

import { HeadwaterError } from "../base/errors.ts"
import { Listeners } from "../base/listeners.ts"
import { create, remove, restore, update } from "../replica/author.ts"
import type { RowDelta } from "../replica/disk/rows.ts"
import type { PlainRow } from "../replica/disk/shown-row.ts"
import { read as readEntity } from "../replica/read.ts"
import type { Replica } from "../replica/replica.ts"
import { withDefaults } from "../schema/defaults.ts"
import { created, edited } from "../schema/draft.ts"
import type { AnyDef, Def } from "../schema/schema.ts"
import type { Deep, Edit, In, Meta, Row, Whole } from "../schema/types.ts"
import { checkId } from "./check-id.ts"
import type { Handle } from "./handle.ts"
import type { OpenDocuments } from "./open-documents.ts"

/** The ids of the rows that a commit has changed. */
export type Delta = Readonly<{
  /** Rows that are in `all()` now and were not in it before the commit. */
  added: readonly string[]
  /** Rows of `all()` whose content has changed. */
  changed: readonly string[]
  /** Rows that are not in `all()` any more. */
  removed: readonly string[]
  /** `here`: a write on this device has changed the rows. `relay`: an entry, an ack or a refusal of the relay has. */
  from: "here" | "relay"
}>

/** A collection of an open workspace. Every function is bound. */
export interface Collection<S, F, D> {
  /** Makes an id for a new entity, with the workspace's `idFactory`. */
  newId(): string
  /**
   * Returns the row with this id; undefined if there is no such entity, or if it is deleted. Returns the same object
   * until the row changes.
   */
  get(id: string): Row<S, F, D> | undefined
  /** Returns every row whose entity is not deleted, ordered by id. Returns the same array until a row changes. */
  all(): readonly Row<S, F, D>[]
  /**
   * Reads the whole entity, including fields that are too long for its row; undefined if there is no such entity. A
   * deleted entity can be read, too.
   *
   * Call this when a person opens an entity. Afterwards, the library loads the entity's document and WebAssembly, so
   * that the first edit is fast, unless another entity is read soon. Rejects with `WASM_FAILED` when the entity can be
   * read only with Automerge, and Automerge cannot be loaded.
   */
  read(id: string): Promise<(Meta & Deep<Whole<S, F, D>>) | undefined>
  /**
   * Opens an entity for a screen: edits show at once and are saved behind that. Close the handle when the screen is gone.
   * A deleted entity can be opened, too. Rejects with `ENTITY_NOT_FOUND`, `DOCUMENT_FAILED`, `WASM_FAILED`,
   * `STORE_FAILED` or `CLOSED`.
   */
  open(id: string): Promise<Handle<S, F, D>>
  /**
   * Calls `f` after every commit that has changed the result of `all()`, and at no other time. If a commit has both
   * writes of this device and changes from the relay, calls `f` once for each kind. Returns the function that ends the
   * subscription.
   */
  subscribe(f: (rows: readonly Row<S, F, D>[], delta: Delta) => void): () => void
  /**
   * Makes an entity. Resolves with its row once it is saved on this device.
   *
   * Rejects, with nothing saved, with `ENTITY_EXISTS`, `ID_INVALID`, `SCHEMA_ISSUES`, `SCHEMA_ASYNC`,
   * `VALUE_UNSUPPORTED`, `TOO_LARGE`, `READ_ONLY`, `STORE_FAILED`, `WASM_FAILED` or `CLOSED`.
   */
  create(input: In<S>, options?: { readonly id?: string }): Promise<Row<S, F, D>>
  /**
   * Changes an entity: `f` edits a plain copy of the entity, and all edits of `f` become one change. Resolves with the
   * row once the change is saved on this device. `f` must do nothing but edit, because it may be called several times:
   * if another tab saves first, it is called again with a newer copy.
   *
   * Rejects, with nothing saved, with `ENTITY_NOT_FOUND`, `ENTITY_DELETED`, `UPDATE_ASYNC`, `EDIT_MIXED`,
   * `SPLICE_RANGE`, `FIELD_KIND`, a code of `create`, or the error that `f` has thrown.
   */
  update(id: string, f: (draft: Whole<S, F, D>, edit: Edit<S, F>) => void): Promise<Row<S, F, D>>
  /**
   * Deletes an entity for everybody, until it is restored, or until an edit arrives from a device that did not know of
   * the deletion. Deleting a deleted entity writes nothing.
   *
   * Rejects with `ENTITY_NOT_FOUND`, `READ_ONLY`, `STORE_FAILED`, `WASM_FAILED` or `CLOSED`.
   */
  delete(id: string): Promise<void>
  /** Restores a deleted entity in the state after its last edit. Rejects with the codes of `delete`. */
  restore(id: string): Promise<void>
}

/** The type of the rows of a collection: of `ws.notes`, or of a result of `collection()`. */
export type RowOf<X> =
  X extends Def<string, infer S, infer F, infer D>
    ? Row<S, F, D>
    : X extends Collection<infer S, infer F, infer D>
      ? Row<S, F, D>
      : never

/** @internal The type declarations for apps leave out this function, because its types need those of Automerge. */
export function openCollection(
  replica: Replica,
  def: AnyDef,
  newId: () => string,
  documents: OpenDocuments,
): Collection<any, any, any> {
  const { name } = def
  type Listener = (rows: readonly PlainRow[], delta: Delta) => void
  const listeners = new Listeners<Parameters<Listener>>()
  const get = (id: string) => {
    const row = replica.rows.get(name, id)
    return row === undefined || row["$deletedAt"] !== undefined ? undefined : row
  }
  const all = () => replica.rows.of(name).all()
  const saved = (id: string) => {
    const row = replica.rows.get(name, id)
    if (row === undefined) {
      const message = `${name} ${id} was saved, and the relay has refused it since: it is on the rejected list`
      throw new HeadwaterError("ENTITY_NOT_FOUND", message, { entity: id })
    }
    return row
  }
  replica.onCommit((changed) => {
    for (const from of ["here", "relay"] as const) {
      const delta = changed[from].get(name)
      if (delta === undefined || isEmpty(delta)) continue
      listeners.tell(() => [all(), { ...delta, from }])
    }
  })
  const collection = {
    newId,
    get,
    all,
    async read(id: string) {
      const fields = await readEntity(replica, def, id)
      const row = replica.rows.get(name, id)
      if (fields === undefined || row === undefined) return undefined
      const meta = Object.fromEntries(Object.entries(row).filter(([key]) => key === "id" || key.startsWith("$")))
      return { ...withDefaults(def, fields), ...meta }
    },
    open: (id: string) => documents.handle(def, id),
    subscribe: (f: Listener) => listeners.add(f),
    async create(input: unknown, options?: { readonly id?: string }) {
      const id = options?.id ?? newId()
      checkId(id, "an entity's id")
      const content = created(def, input)
      await replica.step([id], (tx) => create(replica, tx, def, id, content))
      return saved(id)
    },
    async update(id: string, f: (draft: never, edit: never) => unknown) {
      await replica.step([id], (tx) => update(replica, tx, def, id, (before) => edited(def, before, f)))
      return saved(id)
    },
    delete(id: string) {
      documents.flush(def, id) // an edit that is saved after the deletion would bring the entity back
      return replica.step([id], (tx) => remove(replica, tx, def, id))
    },
    restore: (id: string) => replica.step([id], (tx) => restore(replica, tx, def, id)),
  }
  // The caller gets the collection with the types of the app's schema. In this file a row is any JSON value.
  return Object.freeze(collection) as unknown as Collection<any, any, any>
}

const isEmpty = (delta: RowDelta) => delta.added.length + delta.changed.length + delta.removed.length === 0
