/**
 * A document on a screen: the saved changes of an entity, and edits that are not saved yet. An edit shows at once and is
 * saved behind that (`unsaved-edits.ts`).
 *
 * It is an Automerge document of its own, beside the replica's live one, under an actor of its own. So nothing that
 * happens to the live document (a commit that fails, an eviction) takes an edit from the screen.
 */
import { HeadwaterError } from "../base/errors.ts"
import { hex } from "../base/hash.ts"
import { Listeners } from "../base/listeners.ts"
import type { Doc } from "../document/automerge.ts"
import { DocumentObject, type ObjectChange, patchesOf } from "../document/document-object.ts"
import { Entity } from "../document/entity.ts"
import { causalOrder } from "../document/history/graph.ts"
import { History } from "../document/history/history.ts"
import { splicesBetween, splicesOf, type TextPatch } from "../document/text-splices.ts"
import type { Edited, Fields } from "../schema/draft.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import type { TextSplice } from "../schema/types.ts"
import type { Change } from "../wire/chunk.ts"
import type { Actor } from "../wire/protocol.ts"
import { fieldsOf, mustWrite, writable } from "./author.ts"
import { changesToShow, type Seen } from "./changes-to-show.ts"
import type { Changed } from "./disk/records-in-memory.ts"
import type { Replica } from "./replica.ts"
import { type LostEdit, type UnsavedEdit, UnsavedEdits } from "./unsaved-edits.ts"

/** How a document on a screen has changed. */
export interface Shown {
  readonly from: "here" | "relay"
  /** By key, the splices of each `text()` field that has changed. */
  readonly texts: ReadonlyMap<string, readonly TextSplice[]>
  /** How `object` has changed; undefined if it has not, or nobody has asked for it. */
  readonly object: ObjectChange | undefined
}

/** Edits that can never be saved, and why. */
interface Refused {
  readonly edits: readonly UnsavedEdit[]
  readonly error: unknown
}

export class OpenDocument {
  readonly id: string
  readonly #replica: Replica
  readonly #def: AnyDef
  #entity: Entity
  /** The principal to which the actor of `#entity` belongs; null until one has connected. */
  #principal: string | null
  readonly #edits: UnsavedEdits
  /** The document as Automerge's object, once somebody has asked for it. */
  #object: DocumentObject | undefined
  /** Changes that made the missing texts for `#object`. They are saved with the next edit. */
  #texts: readonly Change[] = []
  /** Whether an app's function is editing the document. */
  #isEdited = false
  #seen: Seen
  /** The steps that read what others have saved, one after the other. */
  #following: Promise<void> = Promise.resolve()
  /** Whether the last such step failed: some saved changes may not be on the screen. */
  #isBehind = false
  /** Whether the entity is not on this device any more, because the relay has refused its creation. */
  #isGone = false
  readonly #unsubscribe: () => void
  readonly #listeners = new Listeners<[Shown, number]>()
  /** How often the document has changed. */
  #changed = 0
  /** What the listeners are to be told. A listener may edit the document: what that shows comes after what it was told. */
  readonly #news: [Shown, number][] = []
  #isTelling = false
  #isClosed = false

  private constructor(replica: Replica, def: AnyDef, id: string, seen: Seen, changes: readonly Change[]) {
    this.#replica = replica
    this.#def = def
    this.id = id
    this.#principal = replica.state.principal
    this.#entity = this.#hydrate(changes)
    this.#seen = seen
    const shown = () => this.#entity
    this.#edits = new UnsavedEdits(replica, def, shown, async (edits, error) => {
      // The replica may be closed, and its disk may fail.
      await this.#follow({ edits, error }).catch(() => this.#edits.lose(edits, error, this.fields))
    })
    this.#unsubscribe = replica.onCommit((changed) => this.#committed(changed))
  }

  /** Throws `ENTITY_NOT_FOUND`, `DOCUMENT_FAILED`, `WASM_FAILED`. */
  static async open(replica: Replica, def: AnyDef, id: string): Promise<OpenDocument> {
    const { seen, changes } = await replica.step([], async (tx) => {
      const live = await writable(replica, tx, def, id)
      const changes = [...live.changes.values()]
      return { seen: { live, size: changes.length }, changes }
    })
    const document = new OpenDocument(replica, def, id, seen, changes)
    try {
      await document.#follow() // a commit since that step was not heard of
    } catch (error) {
      await document.abandon(error)
      throw error
    }
    return document
  }

  /** All fields as the screen has them, frozen at every depth. The same object until one changes. */
  get fields(): Readonly<Fields> {
    return this.#entity.whole(this.#def)
  }

  get deleted(): boolean {
    return this.#isGone || this.#entity.deleted
  }

  /** Edits that could not be saved, oldest first. Another array when there is another one. */
  get unsaved(): readonly LostEdit[] {
    return this.#edits.lost
  }

  text(key: string): string {
    return textIn(this.fields, key)
  }

  /**
   * Calls `listener` after each change of the document and after each commit of its entity, before the call that has
   * changed it returns; after a change that a listener makes, once all listeners have heard of the change before. Returns
   * the function that ends this.
   */
  onShown(listener: (shown: Shown) => void): () => void {
    const known = this.#changed // changes that the caller sees already, even if nobody has heard of them yet
    return this.#listeners.add((shown, number) => {
      if (number > known) listener(shown)
    })
  }

  /**
   * The document as Automerge's object, another one after each change. A text that the document lacks is made first, here
   * and not yet on the disk.
   */
  get object(): Doc {
    return this.#useObject().doc
  }

  /**
   * Edits the document. `make` gets the fields as they are on the screen. Throws `READ_ONLY`, `ENTITY_DELETED`,
   * `ENTITY_NOT_FOUND`, `CLOSED`, `EDIT_MIXED` (`make` has itself edited this document), and the codes of `Entity.write`;
   * then nothing has changed.
   */
  edit(make: (before: Readonly<Fields>) => Edited): void {
    this.#begin()
    const before = this.fields
    const written = this.#run(() => make(before))
    const changes = this.#entity.write(this.#def, written.changes, this.#replica.seconds())
    if (changes.length === 0) return
    const { splices } = written.changes
    const made = (key: string) => splices.flatMap(({ key: of, ...splice }) => (of === key ? splice : []))
    this.#made(changes, fieldsOf(written), this.#textsOf(before, made), this.#object?.apply(changes))
  }

  /**
   * Lets `f` change Automerge's object of the document. Throws what `edit` and `DocumentObject.change` throw; then nothing
   * has changed.
   */
  change(f: (doc: never) => void): void {
    this.#begin()
    const object = this.#useObject()
    const before = this.fields
    const all = () => this.#entity.changes.values()
    const done = this.#run(() => object.change(f, this.#replica.seconds(), all))
    if (done === undefined) return
    let patches: readonly TextPatch[]
    try {
      patches = this.#entity.apply([done.made])
    } catch (error) {
      this.#following = this.#following.then(() => this.#follow({ edits: [], error })).catch(() => {})
      throw error
    }
    const keys = Object.keys({ ...before, ...this.fields })
    const fields = keys.filter((key) => before[key] !== this.fields[key]).sort()
    this.#made(
      [done.made],
      fields,
      this.#textsOf(before, () => [], patches),
      done,
    )
  }

  /** Begins an edit. Throws when the document may not be edited. */
  #begin(): void {
    const entity = this.id
    if (this.#isClosed)
      throw new HeadwaterError("CLOSED", `the document of ${entity} is closed: open it again`, { entity })
    if (this.#isEdited) {
      const message = "an update has edited its own document: make both edits in one"
      throw new HeadwaterError("EDIT_MIXED", message, { entity })
    }
    mustWrite(this.#replica)
    if (this.#isGone) throw new HeadwaterError("ENTITY_NOT_FOUND", `no ${this.#def.name} ${entity}`, { entity })
    if (this.deleted) throw new HeadwaterError("ENTITY_DELETED", `${entity} is deleted; restore it first`, { entity })
    this.#renewActor()
  }

  /** Runs an app's function, which must not edit the document in another way meanwhile. */
  #run<T>(f: () => T): T {
    this.#isEdited = true
    try {
      return f()
    } finally {
      this.#isEdited = false
    }
  }

  /** Shows an edit, and saves it behind that. */
  #made(
    changes: readonly Change[],
    fields: readonly string[],
    texts: Shown["texts"],
    object: ObjectChange | undefined,
  ): void {
    const { principal } = this.#replica.state
    this.#edits.add({ changes: [...this.#texts, ...changes], fields, principal })
    this.#texts = []
    this.#show({ from: "here", texts, object })
    this.#edits.saveSoon()
  }

  /**
   * Resolves when every edit so far is saved. Tries at once, also after a failure. Rejects with the error of a save that
   * has failed; it is tried again.
   */
  saved(): Promise<void> {
    return this.#edits.saved()
  }

  /** Queues all edits to be saved before any step that is queued later. */
  flush(): void {
    this.#edits.flush()
  }

  /** Saves what is not saved yet, and frees the document. Rejects as `saved` does, and stays open then. */
  async close(): Promise<void> {
    await this.saved()
    await this.abandon()
  }

  /** Frees the document without another try to save its edits: they become `unsaved`, with this error. */
  async abandon(error?: unknown): Promise<void> {
    if (this.#isClosed) return
    this.#edits.end(error, this.fields)
    this.#isClosed = true
    this.#unsubscribe()
    await this.#following
    release(this.#entity)
  }

  // ── what others have saved ────────────────────────────────────────────────────────────────────────────────────────

  #committed({ entities }: Changed): void {
    if (entities !== "all" && !entities.has(this.id) && !this.#isBehind) return
    this.#following = this.#following
      .then(() => this.#follow())
      .catch(() => {
        this.#isBehind = true // until the next commit
      })
  }

  /**
   * Shows the changes that are saved and not on the screen. Makes the document again when some changes on the screen are
   * not there any more. `without`: edits that can never be saved, and why.
   */
  async #follow(without?: Refused): Promise<void> {
    if (this.#isClosed) return
    const saved = await this.#replica.step([], (tx) => {
      const edits = this.#edits.all.flatMap(({ changes }) => changes)
      const unsaved = new Set([...edits, ...this.#texts].map(({ hash }) => hash))
      return changesToShow(this.#replica, tx, this.#entity, { seen: this.#seen, unsaved, again: without !== undefined })
    })
    if (this.#isClosed) return
    this.#isBehind = false
    const before = this.fields
    if (saved === "gone") {
      this.#isGone = true
      this.#edits.lose([...this.#edits.all], without?.error ?? notFound(this.id), before)
      return this.#show({ from: "relay", texts: new Map(), object: undefined })
    }
    this.#isGone = false
    this.#seen = saved
    if (saved.all !== undefined) return this.#makeAgain(saved.all, before, without)
    const news = saved.fresh.filter(({ hash }) => !this.#entity.changes.has(hash))
    let patches: readonly TextPatch[]
    try {
      patches = news.length > 0 ? this.#entity.apply(news) : []
    } catch (error) {
      if (without !== undefined) throw error
      return this.#follow({ edits: [], error }) // the document must not be used any more
    }
    const isHere = news.every((change) => this.#replica.authorship.hasMade(this.id, change))
    const texts = this.#textsOf(before, () => [], patches)
    this.#show({ from: isHere ? "here" : "relay", texts, object: this.#object?.apply(news) })
  }

  /** Makes the document again from what is saved, and from those edits that can be applied to it. The others are lost. */
  #makeAgain(all: readonly Change[], before: Readonly<Fields>, without?: Refused): void {
    const changes = new Map(all.map((change) => [change.hash, change]))
    const lost: UnsavedEdit[] = []
    for (const edit of this.#edits.all) {
      const here = new Set(edit.changes.map(({ hash }) => hash))
      const fits = edit.changes.every(({ deps }) => deps.every((dep) => changes.has(dep) || here.has(dep)))
      if (!fits || without?.edits.includes(edit)) lost.push(edit)
      else for (const change of edit.changes) changes.set(change.hash, change)
    }
    const old = this.#entity
    this.#entity = this.#hydrate([...changes.values()])
    this.#principal = this.#replica.state.principal
    release(old)
    this.#edits.lose(lost, without?.error ?? notFound(this.id), before)
    const texts = this.#textsOf(before, () => [])
    this.#show({ from: "relay", texts, object: this.#makeObjectAgain(texts) })
  }

  #hydrate(changes: readonly Change[]): Entity {
    return Entity.hydrate(this.id, History.of(causalOrder(changes)), this.#newActor())
  }

  #newActor(): Actor {
    return hex(this.#replica.clock.random(16))
  }

  #useObject(): DocumentObject {
    if (this.#object === undefined) {
      this.#texts = this.#entity.makeTexts(this.#def)
      this.#object = new DocumentObject(this.#def, this.#entity.changes.values(), this.#newActor())
    }
    return this.#object
  }

  /** `texts`: how the texts have changed. */
  #makeObjectAgain(texts: Shown["texts"]): ObjectChange | undefined {
    if (this.#object === undefined) return undefined
    this.#texts = this.#entity.makeTexts(this.#def)
    const patches = [...texts].flatMap(([key, splices]) => patchesOf(key, splices))
    return this.#object.replace(this.#entity.changes.values(), this.#newActor(), patches)
  }

  /**
   * An actor belongs to one principal. When another one has connected, the next edits get another actor. An actor from
   * before any principal had connected belongs to the first one that has.
   */
  #renewActor(): void {
    const { principal, firstPrincipal } = this.#replica.state
    const owner = this.#principal ?? firstPrincipal
    this.#principal = principal
    if (owner === principal) return
    const old = this.#entity
    this.#entity = this.#hydrate([...old.changes.values()])
    release(old)
    this.#object?.renewActor(this.#newActor())
  }

  // ── telling ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** By key, how each text has changed since `before`. `made`: the splices of an edit, if they are known. */
  #textsOf(
    before: Readonly<Fields>,
    made: (key: string) => readonly TextSplice[],
    patches: readonly TextPatch[] = [],
  ): Map<string, readonly TextSplice[]> {
    const texts = new Map<string, readonly TextSplice[]>()
    for (const key of Object.keys(this.#def.fields)) {
      if (!isText(this.#def, key)) continue
      const [was, is] = [textIn(before, key), this.text(key)]
      if (was === is) continue
      const splices = made(key)
      if (splices.length > 0) texts.set(key, splices)
      else texts.set(key, patches.length > 0 ? splicesOf(key, was, is, patches) : splicesBetween(was, is))
    }
    return texts
  }

  #show(shown: Shown): void {
    this.#news.push([shown, ++this.#changed])
    if (this.#isTelling) return
    this.#isTelling = true
    for (let next = this.#news.shift(); next !== undefined; next = this.#news.shift()) this.#listeners.tellNow(...next)
    this.#isTelling = false
  }
}

function textIn(fields: Readonly<Fields>, key: string): string {
  const value = fields[key]
  return typeof value === "string" ? value : ""
}

const notFound = (entity: string) =>
  new HeadwaterError("ENTITY_NOT_FOUND", "a change on which this edit depends is not there any more", { entity })

/** Frees an entity. `free` throws after a panic inside WebAssembly; then the memory may never be given back. */
function release(entity: Entity): void {
  try {
    entity.free()
  } catch {
    // the document is not used again either way
  }
}
