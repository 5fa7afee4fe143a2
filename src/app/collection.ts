/** A collection as an app holds it: reads come from rows in memory, writes become steps of the replica. */

import { HeadwaterError } from "../base/errors.ts"
import { create, remove, restore, update } from "../replica/author.ts"
import type { Replica } from "../replica/replica.ts"
import type { RowDelta } from "../replica/rows.ts"
import type { PlainRow } from "../replica/shown-row.ts"
import { withDefaults } from "../schema/display.ts"
import { created, edited } from "../schema/draft.ts"
import type { AnyDef, Def } from "../schema/schema.ts"
import type { Deep, Edit, In, Meta, Row, Whole } from "../schema/types.ts"
import { isId } from "../wire/protocol.ts"

/** What a commit changed, by id. `from`: only written to here, or something came from the relay (entries, an ack, a refusal). */
export type Delta = Readonly<{
  added: readonly string[]
  changed: readonly string[]
  removed: readonly string[]
  from: "here" | "relay"
}>

/** Every function is bound: pass it on as it is. */
export interface Collection<S, F, D> {
  /** A new id, of the workspace's `idFactory`. */
  newId(): string
  /** The row; undefined when there is none or it is deleted. The same object until it changes. */
  get(id: string): Row<S, F, D> | undefined
  /** Every live row, ordered by id. The same array until one changes. */
  all(): readonly Row<S, F, D>[]
  /** The whole entity, long texts included; deleted ones too. */
  read(id: string): Promise<(Meta & Deep<Whole<S, F, D>>) | undefined>
  /**
   * Calls `f` after every commit that changed what `all()` gives, and only then; not at once. One commit may hold what was
   * written here and what came from the relay: then `f` is called for each. Returns the unsubscription.
   */
  subscribe(f: (rows: readonly Row<S, F, D>[], delta: Delta) => void): () => void
  /**
   * Makes an entity; resolves with its row when it is saved on this device.
   * `ENTITY_EXISTS`, `ID_INVALID`, `SCHEMA_ISSUES`, `SCHEMA_ASYNC`, `VALUE_UNSUPPORTED`, `TOO_LARGE`, `READ_ONLY`, `STORE_FAILED`.
   */
  create(input: In<S>, options?: { readonly id?: string }): Promise<Row<S, F, D>>
  /**
   * Changes an entity: `f` edits a plain copy, what it touched becomes one change; resolves with the row when it is saved.
   * `f` may be called twice, on a newer copy, when another tab was first to save: it changes the draft and nothing else.
   * `ENTITY_NOT_FOUND`, `ENTITY_DELETED`, `UPDATE_ASYNC`, `EDIT_MIXED`, `SPLICE_RANGE`, `FIELD_KIND`, and those of `create`.
   */
  update(id: string, f: (draft: Whole<S, F, D>, edit: Edit<S, F>) => void): Promise<Row<S, F, D>>
  /** Deletes it for everybody until it is restored or edited elsewhere; deleting a deleted one writes nothing. */
  delete(id: string): Promise<void>
  /** Brings a deleted entity back, as its last edit left it. */
  restore(id: string): Promise<void>
}

/** The row type of a collection, or of what `collection()` returned. */
export type RowOf<X> =
  X extends Def<string, infer S, infer F, infer D>
    ? Row<S, F, D>
    : X extends Collection<infer S, infer F, infer D>
      ? Row<S, F, D>
      : never

/** Entity and workspace ids: they become keys on disk and names on the wire. */
export function checkId(id: unknown, of: string): asserts id is string {
  if (!isId(id)) {
    throw new HeadwaterError("ID_INVALID", `${of} matches [A-Za-z0-9_-]{1,64}: ${JSON.stringify(id)}`)
  }
}

export function openCollection(replica: Replica, def: AnyDef, newId: () => string): Collection<any, any, any> {
  const { name } = def
  type Listener = (rows: readonly PlainRow[], delta: Delta) => void
  const listeners = new Set<Listener>()
  const get = (id: string) => {
    const row = replica.rows.get(name, id)
    return row === undefined || row["$deletedAt"] !== undefined ? undefined : row
  }
  const all = () => replica.rows.of(name).all()
  const saved = (id: string) => {
    const row = replica.rows.get(name, id)
    if (row === undefined)
      throw new HeadwaterError("ENTITY_NOT_FOUND", `${name} ${id} was refused meanwhile`, { entity: id })
    return row
  }
  replica.onCommit((changed) => {
    for (const from of ["here", "relay"] as const) {
      const delta = changed[from].get(name)
      if (delta === undefined || isEmpty(delta)) continue
      for (const listener of listeners) callSafely(() => listener(all(), { ...delta, from }))
    }
  })
  const collection = {
    newId,
    get,
    all,
    async read(id: string) {
      const fields = await replica.read(def, id)
      const row = replica.rows.get(name, id)
      if (fields === undefined || row === undefined) return undefined
      const meta = Object.fromEntries(Object.entries(row).filter(([key]) => key === "id" || key.startsWith("$")))
      return { ...withDefaults(def, fields), ...meta }
    },
    subscribe(f: Listener) {
      const listener: Listener = (rows, delta) => f(rows, delta) // so that one function may subscribe twice
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
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
    delete: (id: string) => replica.step([id], (tx) => remove(replica, tx, def, id)),
    restore: (id: string) => replica.step([id], (tx) => restore(replica, tx, def, id)),
  }
  // The app's types of its rows begin here: below, a row is what the schema has let in and JSON has kept.
  return Object.freeze(collection) as unknown as Collection<any, any, any>
}

const isEmpty = (delta: RowDelta) => delta.added.length + delta.changed.length + delta.removed.length === 0

/** A listener that throws must not keep the next one from hearing, nor fail a commit that has happened. */
export function callSafely(f: () => void): void {
  try {
    f()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
