/** Open documents as apps hold them: handles, and the texts to which editors are bound. */
import { HeadwaterError } from "../base/errors.ts"
import { Listeners } from "../base/listeners.ts"
import { OpenDocument, type Shown } from "../replica/open-document.ts"
import type { Replica } from "../replica/replica.ts"
import type { LostEdit } from "../replica/unsaved-edits.ts"
import { withDefaults } from "../schema/defaults.ts"
import { edited } from "../schema/draft.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import type { Deep, Edit, Keys, Meta, Whole } from "../schema/types.ts"
import { checkId } from "./check-id.ts"
import type { Disposed } from "./disposed.ts"
import type { LiveText } from "./live-text.ts"

/**
 * An entity on a screen: what is saved, and edits that are not saved yet. Two handles of one entity show one document.
 * Every function is bound.
 */
interface OpenedHandle<S, F, D> {
  readonly id: string
  /** The entity as it is on the screen, with the metadata of its row. The same object until something changes. */
  readonly row: Meta & Deep<Whole<S, F, D>>
  /** Whether the entity is deleted. It may be another device that has deleted it: the screen decides what to do. */
  readonly deleted: boolean
  /**
   * Edits that could not be saved and have left the screen, oldest first; empty while all is well. `fields`: what they
   * wrote.
   */
  readonly unsaved: readonly Readonly<{ error: HeadwaterError; fields: Readonly<Record<string, unknown>> }>[]
  /**
   * Edits the entity as `collection.update` does, but shows the edit before it returns, and saves it behind that. Throws
   * the codes of `collection.update`; then nothing has changed.
   */
  update(f: (draft: Whole<S, F, D>, edit: Edit<S, F>) => void): void
  /**
   * Resolves when every edit so far is saved on this device. Rejects with `STORE_FAILED` when a save has failed: it is
   * tried again after 2 s, then more rarely, and with each call of `saved`. Rejects with the error of `unsaved` when an
   * edit can never be saved.
   */
  saved(): Promise<void>
  /** Calls `f` in a microtask after `row` has changed. Returns the function that ends the subscription. */
  subscribe(f: () => void): () => void
  /** Returns one text field for an editor, the same object each time. Throws `FIELD_KIND`. */
  text(key: Keys<F, "text">): LiveText
  /**
   * The document as Automerge's object, for the bindings of others (@automerge/prosemirror,
   * @automerge/automerge-codemirror). Another object after each change. It has a text for each `text()` field.
   */
  doc(): unknown
  /**
   * Lets `f` change Automerge's object as `A.change` does. Each call is a change of its own, shows before `change` returns,
   * and is saved behind that. A value of a field that is no `text()` is written whole. Throws `FIELD_KIND` when `f` puts
   * something in the place of a text or writes a key of the document (`@…`), `VALUE_UNSUPPORTED`, what `f` throws, and
   * the codes of `update`; then nothing has changed.
   */
  change(f: (doc: any) => void): void
  /**
   * Calls `f` after each change of the object, before the call that has made it returns. `patches` lead from
   * `patchInfo.before` to `doc`. After edits were lost (`unsaved`), the object has another history: the patches are those
   * of its texts, and a binding that compares heads (@automerge/automerge-codemirror) has to be made again.
   */
  on(event: "change", f: (payload: HandleChange) => void): void
  /** Ends what `on` has begun. */
  off(event: "change", f: (payload: HandleChange) => void): void
  /** Always true: a handle is given out when its document is there. */
  isReady(): boolean
  /**
   * Saves what is not saved yet, and closes the document if no other handle has it. Rejects as `saved` does; the handle
   * stays open then.
   */
  close(): Promise<void>
}

/**
 * How Automerge's object of a handle has changed, in the form that the bindings of others expect. Each binding has types
 * of its own for these fields.
 */
export interface HandleChange {
  readonly handle: any
  readonly doc: any
  readonly patches: any
  readonly patchInfo: any
}

/** An entity on a screen. Has the method that `await using` needs. */
export type Handle<S, F, D> = OpenedHandle<S, F, D> & Disposed

interface Open {
  readonly document: Promise<OpenDocument>
  /** The document once it is open. */
  ready?: OpenDocument
  /** How many handles have the document. */
  handles: number
}

/**
 * The open documents of one workspace.
 *
 * @internal
 */
export class OpenDocuments {
  readonly #replica: Replica
  /** By collection and entity. */
  readonly #open = new Map<string, Open>()
  #isClosed = false

  constructor(replica: Replica) {
    this.#replica = replica
  }

  async handle(def: AnyDef, id: string): Promise<OpenHandle> {
    if (this.#isClosed) throw new HeadwaterError("CLOSED", "the workspace is closed: open it again")
    checkId(id, "an entity's id")
    const name = `${def.name}/${id}`
    let one = this.#open.get(name)
    if (one === undefined) {
      const made: Open = { document: OpenDocument.open(this.#replica, def, id), handles: 0 }
      this.#open.set(name, (one = made))
      made.document.then(
        (document) => {
          made.ready = document
        },
        () => this.#remove(name, made),
      )
    }
    const open = one
    open.handles++
    return new OpenHandle(this.#replica, def, await open.document, () => this.#leave(name, open))
  }

  /** Queues what is on a screen to be saved before the next step, which may be a deletion. */
  flush(def: AnyDef, id: string): void {
    this.#open.get(`${def.name}/${id}`)?.ready?.flush()
  }

  /** Call when a handle closes. If saving fails, the handle stays open, and may be closed again. */
  async #leave(name: string, open: Open): Promise<void> {
    const document = await open.document
    await document.saved()
    if (--open.handles > 0) return
    this.#remove(name, open)
    await document.close()
  }

  #remove(name: string, open: Open): void {
    if (this.#open.get(name) === open) this.#open.delete(name)
  }

  /** Saves what is not saved yet, and closes all documents. What cannot be saved becomes `unsaved`. */
  async close(): Promise<void> {
    this.#isClosed = true
    const close = async (document: OpenDocument) => {
      try {
        await document.close()
      } catch (error) {
        await document.abandon(error)
      }
    }
    await Promise.allSettled([...this.#open.values()].map(async ({ document }) => close(await document)))
    this.#open.clear()
  }
}

/** @internal */
class OpenHandle {
  readonly id: string
  readonly #replica: Replica
  readonly #def: AnyDef
  readonly #document: OpenDocument
  readonly #leave: () => Promise<void>
  readonly #listeners = new Listeners<[]>()
  readonly #texts = new Map<string, LiveText>()
  /** By function that `on` was given: ends its subscription. */
  readonly #onChange = new Map<(payload: HandleChange) => void, () => void>()
  readonly #unsubscribe: () => void
  #row: { readonly fields: object; readonly meta: object | undefined; readonly shown: object } | undefined
  #closing: Promise<void> | undefined

  constructor(replica: Replica, def: AnyDef, document: OpenDocument, leave: () => Promise<void>) {
    this.id = document.id
    this.#replica = replica
    this.#def = def
    this.#document = document
    this.#leave = leave
    for (const bound of [
      "update",
      "saved",
      "subscribe",
      "text",
      "doc",
      "change",
      "on",
      "off",
      "isReady",
      "close",
    ] as const) {
      Object.defineProperty(this, bound, { value: this[bound].bind(this) })
    }
    let last = this.row
    this.#unsubscribe = document.onShown(() => {
      if (this.row === last) return
      last = this.row
      this.#listeners.tell(() => [])
    })
  }

  get row(): object {
    const { fields } = this.#document
    const meta = this.#replica.rows.get(this.#def.name, this.id)
    if (this.#row?.fields === fields && this.#row.meta === meta) return this.#row.shown
    const own = Object.entries(meta ?? { id: this.id }).filter(([key]) => key === "id" || key.startsWith("$"))
    const shown = Object.freeze({ ...withDefaults(this.#def, fields), ...Object.fromEntries(own) })
    this.#row = { fields, meta, shown }
    return shown
  }

  get deleted(): boolean {
    return this.#document.deleted
  }

  get unsaved(): readonly LostEdit[] {
    return this.#document.unsaved
  }

  update(f: (draft: never, edit: never) => unknown): void {
    this.#throwIfClosed()
    this.#document.edit((before) => edited(this.#def, before, f))
  }

  saved(): Promise<void> {
    return this.#document.saved()
  }

  subscribe(f: () => void): () => void {
    return this.#listeners.add(f)
  }

  text(key: string): LiveText {
    let text = this.#texts.get(key)
    if (text === undefined) this.#texts.set(key, (text = this.#makeText(key)))
    return text
  }

  #makeText(key: string): LiveText {
    if (!isText(this.#def, key)) {
      throw new HeadwaterError("FIELD_KIND", `${key} is not a text() field`, { entity: this.id, field: key })
    }
    const document = this.#document
    const update = this.update
    return Object.freeze({
      get value() {
        return document.text(key)
      },
      splice(at: number, remove: number, insert = "") {
        update((_: never, edit: never) => (edit as Edit<never, never>).splice(key as never, at, remove, insert))
      },
      subscribe(f: Parameters<LiveText["subscribe"]>[0]) {
        return document.onShown(({ from, texts }) => {
          const splices = texts.get(key)
          if (splices !== undefined) f(splices, from)
        })
      },
    })
  }

  doc(): unknown {
    return this.#document.object
  }

  change(f: (doc: never) => void): void {
    this.#throwIfClosed()
    this.#document.change(f)
  }

  on(_event: "change", f: (payload: HandleChange) => void): void {
    if (this.#onChange.has(f)) return
    void this.#document.object // so that its changes are told
    const tell = ({ from, object }: Shown) => {
      if (object === undefined) return
      const { before, after, patches } = object
      const source = from === "here" ? "change" : "applyChanges"
      f({ handle: this, doc: after, patches, patchInfo: { before, after, source } })
    }
    this.#onChange.set(f, this.#document.onShown(tell))
  }

  off(_event: "change", f: (payload: HandleChange) => void): void {
    this.#onChange.get(f)?.()
    this.#onChange.delete(f)
  }

  isReady(): boolean {
    return true
  }

  close(): Promise<void> {
    this.#closing ??= this.#leave().then(
      () => this.#unsubscribe(),
      (error) => {
        this.#closing = undefined
        throw error
      },
    )
    return this.#closing
  }

  #throwIfClosed(): void {
    if (this.#closing !== undefined) {
      throw new HeadwaterError("CLOSED", `this handle of ${this.id} is closed: open it again`, { entity: this.id })
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
