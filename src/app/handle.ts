/** Entities on a screen, as apps hold them. */
import type { HeadwaterError } from "../base/errors.ts"
import type { Deep, Edit, Keys, Meta, Whole } from "../schema/types.ts"
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
