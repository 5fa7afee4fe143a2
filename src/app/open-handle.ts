/** A handle: the part of an open document that one caller of `collection.open` has. Loaded at the first such call. */
import { HeadwaterError } from "../base/errors.ts"
import { Listeners } from "../base/listeners.ts"
import { OpenDocument, type Shown } from "../replica/open-document.ts"
import type { Replica } from "../replica/replica.ts"
import type { LostEdit } from "../replica/unsaved-edits.ts"
import { withDefaults } from "../schema/defaults.ts"
import { edited } from "../schema/draft.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import type { Edit } from "../schema/types.ts"
import type { HandleChange } from "./handle.ts"
import type { LiveText } from "./live-text.ts"

export { OpenDocument }

export class OpenHandle {
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
