/**
 * A document on a screen: the saved changes of an entity, and edits that are not saved yet. An edit shows at once and is
 * saved behind that. The first edit begins a commit, and the edits made meanwhile are saved together by the next one.
 *
 * It is an Automerge document of its own, beside the replica's live one, under an actor of its own. So nothing that
 * happens to the live document (a commit that fails, an eviction) takes an edit from the screen. What is saved are the
 * changes as the screen has them: to save the same bytes twice does nothing, so a save can be repeated when it is unknown
 * whether it has succeeded.
 */
import { HeadwaterError } from "../base/errors.ts"
import { hex } from "../base/hash.ts"
import { Listeners } from "../base/listeners.ts"
import { Entity } from "../document/entity.ts"
import { causalOrder } from "../document/history/graph.ts"
import { History } from "../document/history/history.ts"
import { splicesBetween, splicesOf, type TextPatch } from "../document/text-splices.ts"
import type { Edited, Fields } from "../schema/draft.ts"
import { type AnyDef, isText } from "../schema/schema.ts"
import type { TextSplice } from "../schema/types.ts"
import type { Change } from "../wire/chunk.ts"
import { fieldsOf, mustWrite, saveMade, writable } from "./author.ts"
import type { Changed } from "./disk/records-in-memory.ts"
import type { Live } from "./live-document.ts"
import type { Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

/** Shortest and longest wait before a failed save is tried again, ms. The wait doubles with each failure. */
const [SAVE_AGAIN_MS, LAST_SAVE_AGAIN_MS] = [2000, 60_000]

/** How a document on a screen has changed. */
export interface Shown {
  readonly from: "here" | "relay"
  /** By key, the splices of each `text()` field that has changed. */
  readonly texts: ReadonlyMap<string, readonly TextSplice[]>
}

/** An edit that is not saved yet. */
interface Edit {
  readonly changes: readonly Change[]
  readonly fields: readonly string[]
  /** The principal that had connected last when the edit was made: the edit is saved and pushed as this principal's. */
  readonly principal: string | null
}

/** An edit that could not be saved, with the error that says why. `fields`: what the screen showed of the fields it wrote. */
export interface Lost {
  readonly error: HeadwaterError
  readonly fields: Readonly<Fields>
}

/** A call of `saved`. */
interface Wait {
  /** The edits that must be saved first. */
  readonly edits: Set<Edit>
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Where a live document stood when its changes were read. */
interface Seen {
  readonly live: Live
  /** How many changes it had. */
  readonly size: number
}

export class OpenDocument {
  readonly id: string
  readonly #replica: Replica
  readonly #def: AnyDef
  #entity: Entity
  /** The principal to which the actor of `#entity` belongs; null until one has connected. */
  #principal: string | null
  /** Edits that are not saved yet, oldest first. */
  #edits: Edit[] = []
  #unsaved: readonly Lost[] = []
  #waits: Wait[] = []
  #isSaving = false
  /** How many saves have failed, one after the other. */
  #failures = 0
  #cancelRetry: (() => void) | undefined
  #seen: Seen
  /** The steps that read what others have saved, one after the other. */
  #following: Promise<void> = Promise.resolve()
  /** Whether the last such step failed: some saved changes may not be on the screen. */
  #isBehind = false
  /** Whether the entity is not on this device any more, because the relay has refused its creation. */
  #isGone = false
  readonly #unsubscribe: () => void
  readonly #listeners = new Listeners<[Shown]>()
  /** What the listeners are to be told. A listener may edit the document: what that shows comes after what it was told. */
  readonly #news: Shown[] = []
  #isTelling = false
  #isClosed = false

  private constructor(replica: Replica, def: AnyDef, id: string, seen: Seen, changes: readonly Change[]) {
    this.#replica = replica
    this.#def = def
    this.id = id
    this.#principal = replica.state.principal
    this.#entity = this.#hydrate(changes)
    this.#seen = seen
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
  get unsaved(): readonly Lost[] {
    return this.#unsaved
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
    return this.#listeners.add(listener)
  }

  /**
   * Edits the document. `make` gets the fields as they are on the screen. Throws `READ_ONLY`, `ENTITY_DELETED`,
   * `ENTITY_NOT_FOUND`, `CLOSED`, `EDIT_MIXED` (`make` has itself edited this document), and the codes of `Entity.write`;
   * then nothing has changed.
   */
  edit(make: (before: Readonly<Fields>) => Edited): void {
    const entity = this.id
    if (this.#isClosed)
      throw new HeadwaterError("CLOSED", `the document of ${entity} is closed: open it again`, { entity })
    mustWrite(this.#replica)
    if (this.#isGone) throw new HeadwaterError("ENTITY_NOT_FOUND", `no ${this.#def.name} ${entity}`, { entity })
    if (this.deleted) throw new HeadwaterError("ENTITY_DELETED", `${entity} is deleted; restore it first`, { entity })
    this.#renewActor()
    const before = this.fields
    const written = make(before)
    if (this.fields !== before) {
      throw new HeadwaterError("EDIT_MIXED", "an update has edited its own document: make both edits in one", {
        entity,
      })
    }
    const changes = this.#entity.write(this.#def, written.changes, this.#replica.seconds())
    if (changes.length === 0) return
    this.#edits.push({ changes, fields: fieldsOf(written), principal: this.#replica.state.principal })
    const { splices } = written.changes
    const made = (key: string) => splices.flatMap(({ key: of, ...splice }) => (of === key ? splice : []))
    const texts = this.#textsOf(before, made)
    this.#show("here", texts)
    if (this.#cancelRetry === undefined) void this.#save() // else the disk has just failed, and is tried again in time
  }

  /**
   * Resolves when every edit so far is saved. Tries at once, also after a failure. Rejects with the error of a save that
   * has failed; it is tried again.
   */
  saved(): Promise<void> {
    if (this.#edits.length === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waits.push({ edits: new Set(this.#edits), resolve, reject })
      void this.#save()
    })
  }

  /** Queues all edits to be saved before any step that is queued later. */
  flush(): void {
    for (const { changes, ...facts } of this.#edits) {
      // If this fails, `#save` meets the same error. If it succeeds, `#save` finds everything saved.
      const save = (tx: Transaction) => saveMade(this.#replica, tx, this.#def, this.id, changes, facts)
      this.#replica.step([this.id], save).catch(() => {})
    }
  }

  /** Saves what is not saved yet, and frees the document. Rejects as `saved` does, and stays open then. */
  async close(): Promise<void> {
    await this.saved()
    await this.abandon()
  }

  /** Frees the document without another try to save its edits: they become `unsaved`, with this error. */
  async abandon(error?: unknown): Promise<void> {
    if (this.#isClosed) return
    this.#lose(this.#edits.splice(0), error, this.fields)
    this.#isClosed = true
    this.#unsubscribe()
    this.#cancelRetry?.()
    await this.#following
    release(this.#entity)
  }

  // ── saving ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Saves the edits in one commit, and those that were made meanwhile in the next one. */
  async #save(): Promise<void> {
    if (this.#isSaving || this.#isClosed || this.#edits.length === 0) return
    this.#isSaving = true
    this.#cancelRetry?.()
    this.#cancelRetry = undefined
    const { principal } = this.#edits[0] as Edit
    const others = this.#edits.findIndex((edit) => edit.principal !== principal)
    const edits = this.#edits.slice(0, others < 0 ? undefined : others)
    const changes = edits.flatMap((edit) => edit.changes)
    const fields = [...new Set(edits.flatMap((edit) => edit.fields))].sort()
    try {
      await this.#replica.step([this.id], (tx) =>
        saveMade(this.#replica, tx, this.#def, this.id, changes, { fields, principal }),
      )
    } catch (error) {
      await this.#failed(error, edits)
      return
    }
    this.#isSaving = false
    this.#failures = 0
    this.#settle(edits)
    void this.#save()
  }

  /** Takes edits off the list, and resolves the calls of `saved` that waited for them. */
  #settle(edits: readonly Edit[]): void {
    const done = new Set(edits)
    this.#edits = this.#edits.filter((edit) => !done.has(edit))
    this.#waits = this.#waits.filter((wait) => {
      for (const edit of edits) wait.edits.delete(edit)
      if (wait.edits.size === 0) wait.resolve()
      return wait.edits.size > 0
    })
  }

  /**
   * After a failure of the disk or the machine the edits stay, and are saved later. Otherwise they can never be saved (the
   * principal may not write any more, or a change on which they depend was refused): they leave the screen.
   */
  async #failed(error: unknown, edits: readonly Edit[]): Promise<void> {
    const isHit = (wait: Wait) => edits.some((edit) => wait.edits.has(edit))
    const waits = this.#waits.filter(isHit)
    this.#waits = this.#waits.filter((wait) => !isHit(wait))
    const code = error instanceof HeadwaterError ? error.code : "STORE_FAILED"
    if (code.startsWith("STORE_") || code === "DOCUMENT_FAILED" || code === "WASM_FAILED") {
      const wait = Math.min(SAVE_AGAIN_MS * 2 ** this.#failures++, LAST_SAVE_AGAIN_MS)
      if (!this.#isClosed) {
        this.#cancelRetry = this.#replica.clock.after(wait, () => {
          this.#cancelRetry = undefined
          void this.#save()
        })
      }
    } else {
      await this.#follow({ edits, error }).catch(() => {
        this.#lose(edits, error, this.fields) // the replica is closed, or its disk has failed
      })
    }
    this.#isSaving = false
    for (const wait of waits) wait.reject(error)
    if (this.#cancelRetry === undefined) void this.#save() // edits that were made meanwhile
  }

  /** Moves edits to `unsaved`. `shown`: the fields of the screen that had them. */
  #lose(edits: readonly Edit[], cause: unknown, shown: Readonly<Fields>): void {
    if (edits.length === 0) return
    const error =
      cause instanceof HeadwaterError ? cause : new HeadwaterError("CLOSED", "the document was closed", { cause })
    const lost = edits.map(({ fields }) => ({
      error,
      fields: Object.fromEntries(fields.map((key) => [key, shown[key]])),
    }))
    this.#unsaved = [...this.#unsaved, ...lost]
    const gone = new Set(edits)
    this.#edits = this.#edits.filter((edit) => !gone.has(edit))
    const hit = this.#waits.filter((wait) => edits.some((edit) => wait.edits.has(edit)))
    this.#waits = this.#waits.filter((wait) => !hit.includes(wait))
    for (const wait of hit) wait.reject(error)
  }

  // ── what others have saved ────────────────────────────────────────────────────────────────────────────────────────

  #committed(changed: Changed): void {
    const deltas = [...changed.here.values(), ...changed.relay.values()]
    const isOurs = deltas.some(({ added, changed, removed }) => [added, changed, removed].flat().includes(this.id))
    if (!isOurs && !this.#isBehind) return
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
  async #follow(without?: { readonly edits: readonly Edit[]; readonly error: unknown }): Promise<void> {
    if (this.#isClosed) return
    const saved = await this.#replica.step([], (tx) => this.#read(tx, without !== undefined))
    if (this.#isClosed) return
    this.#isBehind = false
    const before = this.fields
    if (saved === "gone") {
      this.#isGone = true
      this.#lose([...this.#edits], without?.error ?? notFound(this.id), before)
      return this.#show("relay", new Map())
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
    this.#show(isHere ? "here" : "relay", texts)
  }

  /**
   * Reads, in a step, which saved changes are not on the screen. `all`: every saved change; undefined if the screen lacks
   * some of them at most. Everything is read in the step, because later steps add changes that are not saved yet. "gone":
   * no change is left on this device. Throws when the disk has damaged changes without which there is no document.
   */
  async #read(tx: Transaction, again: boolean) {
    const { documents } = this.#replica
    const live = tx.exists(this.id) ? await documents.live(this.id, tx) : undefined
    if (live === undefined) {
      if (!tx.exists(this.id) || (await documents.saved.isGone(this.id, tx))) return "gone"
      throw new HeadwaterError("DOCUMENT_FAILED", "the disk has damaged this entity", { entity: this.id })
    }
    const size = live.changes.size
    const fresh = this.#seen.live === live ? live.entity.changesSince(this.#seen.size) : this.#missing(live)
    const unsaved = new Set(this.#edits.flatMap(({ changes }) => changes.map(({ hash }) => hash)))
    const lacks = again || this.#entity.heads.some((hash) => !live.changes.has(hash) && !unsaved.has(hash))
    return { live, size, fresh, all: lacks ? [...live.changes.values()] : undefined }
  }

  #missing(live: Live): Change[] {
    const missing: Change[] = []
    for (const hash of live.changes.keys()) {
      if (!this.#entity.changes.has(hash)) missing.push(live.changes.get(hash) as Change)
    }
    return missing
  }

  /** Makes the document again from what is saved, and from those edits that can be applied to it. The others are lost. */
  #makeAgain(
    all: readonly Change[],
    before: Readonly<Fields>,
    without?: { readonly edits: readonly Edit[]; readonly error: unknown },
  ): void {
    const changes = new Map(all.map((change) => [change.hash, change]))
    const lost: Edit[] = []
    for (const edit of this.#edits) {
      const here = new Set(edit.changes.map(({ hash }) => hash))
      const fits = edit.changes.every(({ deps }) => deps.every((dep) => changes.has(dep) || here.has(dep)))
      if (!fits || without?.edits.includes(edit)) lost.push(edit)
      else for (const change of edit.changes) changes.set(change.hash, change)
    }
    const old = this.#entity
    this.#entity = this.#hydrate([...changes.values()])
    this.#principal = this.#replica.state.principal
    release(old)
    this.#lose(lost, without?.error ?? notFound(this.id), before)
    const texts = this.#textsOf(before, () => [])
    this.#show("relay", texts)
  }

  #hydrate(changes: readonly Change[]): Entity {
    const actor = hex(this.#replica.clock.random(16))
    return Entity.hydrate(this.id, History.of(causalOrder(changes)), actor)
  }

  /** An actor belongs to one principal. When another one has connected, the next edits get another actor. */
  #renewActor(): void {
    const { principal } = this.#replica.state
    if (this.#principal === principal) return
    if (this.#principal !== null) {
      const old = this.#entity
      this.#entity = this.#hydrate([...old.changes.values()])
      release(old)
    }
    this.#principal = principal
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

  #show(from: Shown["from"], texts: Shown["texts"]): void {
    this.#news.push({ from, texts })
    if (this.#isTelling) return
    this.#isTelling = true
    for (let next = this.#news.shift(); next !== undefined; next = this.#news.shift()) this.#listeners.tellNow(next)
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
