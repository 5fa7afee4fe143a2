/**
 * The edits of a document on a screen that are not saved yet. The first edit begins a commit, and the edits made
 * meanwhile are saved together by the next one. After a failure of the disk they are saved again later.
 *
 * What is saved are the changes as the screen has them. To save the same bytes twice does nothing, so a save can be
 * repeated when it is unknown whether it has succeeded.
 */
import { HeadwaterError } from "../base/errors.ts"
import type { Entity } from "../document/entity.ts"
import type { Fields } from "../schema/draft.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Change } from "../wire/chunk.ts"
import { saveMade } from "./author.ts"
import type { Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

/** Shortest and longest wait before a failed save is tried again, ms. The wait doubles with each failure. */
const [SAVE_AGAIN_MS, LAST_SAVE_AGAIN_MS] = [2000, 60_000]

/** An edit that is not saved yet. */
export interface UnsavedEdit {
  readonly changes: readonly Change[]
  readonly fields: readonly string[]
  /** The principal that had connected last when the edit was made: the edit is saved and pushed as this principal's. */
  readonly principal: string | null
}

/** An edit that could not be saved, with the error that says why. `fields`: what the screen showed of the fields it wrote. */
export interface LostEdit {
  readonly error: HeadwaterError
  readonly fields: Readonly<Fields>
}

/** A call of `saved`. */
interface Wait {
  /** The edits that must be saved first. */
  readonly edits: Set<UnsavedEdit>
  /** Whether a commit has begun since the call. The failure of an earlier commit says nothing to this call. */
  isTried: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class UnsavedEdits {
  readonly #replica: Replica
  readonly #def: AnyDef
  /** Returns the entity that has the edits. */
  readonly #shown: () => Entity
  readonly #entity: string
  /** Takes edits that can never be saved off the screen, and calls `lose` for them. */
  readonly #refused: (edits: readonly UnsavedEdit[], error: unknown) => Promise<void>
  /** Oldest first. */
  #edits: UnsavedEdit[] = []
  #lost: readonly LostEdit[] = []
  #waits: Wait[] = []
  #isSaving = false
  #isEnded = false
  /** How many saves have failed, one after the other. */
  #failures = 0
  #cancelRetry: (() => void) | undefined

  constructor(
    replica: Replica,
    def: AnyDef,
    shown: () => Entity,
    refused: (edits: readonly UnsavedEdit[], error: unknown) => Promise<void>,
  ) {
    this.#replica = replica
    this.#def = def
    this.#shown = shown
    this.#entity = shown().id
    this.#refused = refused
  }

  /** The edits that are not saved yet, oldest first. */
  get all(): readonly UnsavedEdit[] {
    return this.#edits
  }

  /** Edits that could not be saved, oldest first. Another array when there is another one. */
  get lost(): readonly LostEdit[] {
    return this.#lost
  }

  add(edit: UnsavedEdit): void {
    this.#edits.push(edit)
  }

  /** Saves the edits. After a failure of the disk it does nothing: they are saved again after a wait. */
  saveSoon(): void {
    if (this.#cancelRetry === undefined) void this.#save()
  }

  /**
   * Resolves when every edit so far is saved. Tries at once, also after a failure. Rejects with the error of a commit that
   * has begun after the call and has failed; it is tried again.
   */
  saved(): Promise<void> {
    if (this.#edits.length === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#waits.push({ edits: new Set(this.#edits), isTried: false, resolve, reject })
      void this.#save()
    })
  }

  /** Queues all edits to be saved before any step that is queued later. */
  flush(): void {
    for (const { changes, ...facts } of this.#edits) {
      // If this fails, `#save` meets the same error. If it succeeds, `#save` finds everything saved.
      const save = (tx: Transaction) => saveMade(this.#replica, tx, this.#def, this.#shown(), changes, facts)
      this.#replica.step([this.#entity], save).catch(() => {})
    }
  }

  /** Saves the edits of one principal in one commit, and those that were made meanwhile in the next one. */
  async #save(): Promise<void> {
    if (this.#isSaving || this.#isEnded || this.#edits.length === 0) return
    this.#isSaving = true
    for (const wait of this.#waits) wait.isTried = true
    this.#cancelRetry?.()
    this.#cancelRetry = undefined
    let edits = this.#next() // for a step that is refused before it runs
    try {
      await this.#replica.step([this.#entity], (tx) => {
        edits = this.#next() // as late as possible: the fewer edits are left over, the less has to be computed
        const changes = edits.flatMap((edit) => edit.changes)
        const fields = [...new Set(edits.flatMap((edit) => edit.fields))].sort()
        const { principal = null } = edits[0] ?? {}
        return saveMade(this.#replica, tx, this.#def, this.#shown(), changes, { fields, principal })
      })
    } catch (error) {
      await this.#failed(error, edits)
      return
    }
    this.#isSaving = false
    this.#failures = 0
    this.#settle(edits)
    void this.#save()
  }

  /** Returns the edits of the first edit's principal, up to the first edit of another one. */
  #next(): readonly UnsavedEdit[] {
    const others = this.#edits.findIndex((edit) => edit.principal !== this.#edits[0]?.principal)
    return this.#edits.slice(0, others < 0 ? undefined : others)
  }

  /** Takes edits off the list, and resolves the calls of `saved` that waited for them. */
  #settle(edits: readonly UnsavedEdit[]): void {
    this.#drop(edits)
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
  async #failed(error: unknown, edits: readonly UnsavedEdit[]): Promise<void> {
    const waits = this.#takeWaits(edits, (wait) => wait.isTried)
    const code = error instanceof HeadwaterError ? error.code : "STORE_FAILED"
    if (code.startsWith("STORE_") || code === "DOCUMENT_FAILED" || code === "WASM_FAILED") this.#retryLater()
    else await this.#refused(edits, error)
    this.#isSaving = false
    for (const wait of waits) wait.reject(error)
    if (this.#waits.length > 0) void this.#save()
    else this.saveSoon() // edits that were made meanwhile
  }

  #retryLater(): void {
    if (this.#isEnded) return
    const wait = Math.min(SAVE_AGAIN_MS * 2 ** this.#failures++, LAST_SAVE_AGAIN_MS)
    this.#cancelRetry = this.#replica.clock.after(wait, () => {
      this.#cancelRetry = undefined
      void this.#save()
    })
  }

  /** Moves edits to `lost`. `shown`: the fields of the screen that had them. */
  lose(edits: readonly UnsavedEdit[], cause: unknown, shown: Readonly<Fields>): void {
    if (edits.length === 0) return
    const error =
      cause instanceof HeadwaterError ? cause : new HeadwaterError("CLOSED", "the document was closed", { cause })
    const lost = edits.map(({ fields }) => ({
      error,
      fields: Object.fromEntries(fields.map((key) => [key, shown[key]])),
    }))
    this.#lost = [...this.#lost, ...lost]
    const waits = this.#takeWaits(edits)
    this.#drop(edits)
    for (const wait of waits) wait.reject(error)
  }

  /** Saves nothing any more. The edits that are left are lost. */
  end(error: unknown, shown: Readonly<Fields>): void {
    this.lose([...this.#edits], error, shown)
    this.#isEnded = true
    this.#cancelRetry?.()
  }

  #drop(edits: readonly UnsavedEdit[]): void {
    const gone = new Set(edits)
    this.#edits = this.#edits.filter((edit) => !gone.has(edit))
  }

  /** Returns the calls of `saved` that wait for one of these edits, and takes them off the list. */
  #takeWaits(edits: readonly UnsavedEdit[], which = (_: Wait) => true): readonly Wait[] {
    const isHit = (wait: Wait) => which(wait) && edits.some((edit) => wait.edits.has(edit))
    const waits = this.#waits.filter(isHit)
    this.#waits = this.#waits.filter((wait) => !isHit(wait))
    return waits
  }
}
