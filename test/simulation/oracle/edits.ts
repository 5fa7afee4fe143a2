/** Every edit of the run, and its fate. Most edits write a token, which the oracle finds again in changes and rows. */
import { HeadwaterError } from "../../../src/base/errors.ts"
import type { Hash } from "../../../src/wire/protocol.ts"
import type { Device } from "../world/store.ts"

/** What an edit does to its entity. */
export type Kind = "create" | "field" | "splice" | "text assigned" | "array register" | "delete" | "restore"

/** An edit that the run has made. Its token is in the text or title that it wrote. */
export interface EditMade {
  readonly token: string
  readonly replica: string
  readonly entity: string
  /** The turn of the scheduler in which the program made the edit. */
  readonly turn: number
  fields: readonly string[]
  does: readonly Kind[]
  state: "asked" | "saved" | "failed"
  /** Set for an edit that removed something from a text. */
  cuts?: true
  /** The hash of its change, once the oracle has found the change on a disk. */
  hash?: Hash
  /** Set when the program had begun to close before the edit was made on its screen. */
  late?: true
  /** Set when the run has destroyed the only disk that held the change. */
  excused?: true
}

/** The state of the device when an edit was asked for. */
interface Before {
  /** The changes of the entity that it held. */
  readonly held: ReadonlySet<Hash>
  readonly failuresTold: number
  readonly readFailures: number
  /** Whether its disk had damaged a change of the entity. */
  readonly damaged: boolean
  /**
   * Whether the program knew all changes of the entity that were on its disk, and no other edit of the entity was open.
   */
  readonly sure: boolean
  /** The access that its disk named, and how many commits had changed that. */
  readonly access: ReturnType<Facts["devices"]["access"]>
}

/** The part of the oracle that this file uses. */
interface Facts {
  readonly changes: ReadonlyMap<
    Hash,
    { readonly hash: Hash; readonly entity: string; readonly chunk: Uint8Array; readonly deps: readonly Hash[] }
  >
  held(device: string): ReadonlyMap<Hash, string>
  isStored(hash: Hash): boolean
  readonly devices: {
    owed(device: string): { get(hash: Hash): object | undefined }
    anyForgot(hash: Hash): boolean
    access(device: Device): { readonly access: string | null; readonly changes: number; readonly toldReadOnly: boolean }
    isDamaged(device: Device, entity: string): boolean
    counts(device: Device, hash: Hash): boolean
  }
  readonly causes: { shown(device: Device, hash: Hash): void }
  fail(kind: string, message: string): void
}

export class Edits {
  readonly made = new Map<string, EditMade>()
  /** Tokens that an edit has cut out of a `body`. */
  readonly removed = new Set<string>()
  /** How many edits of each kind were saved. */
  readonly kinds: Record<Kind, number> = {
    create: 0,
    field: 0,
    splice: 0,
    "text assigned": 0,
    "array register": 0,
    delete: 0,
    restore: 0,
  }
  /** How many edits were refused because the device may only read. */
  readOnly = 0
  /** How often a device has saved the edits of one turn in more than one commit. */
  dividedTurns = 0
  /** For each device and turn: how many commits had been asked for when the first edit of that turn was saved. */
  readonly #commits = new Map<string, number>()
  readonly #oracle: Facts

  constructor(oracle: Facts) {
    this.#oracle = oracle
  }

  /**
   * Follows an edit from the moment it is asked for. Until its answer comes it is in `open`, with the other edits of
   * the same program.
   */
  follow(device: Device, edit: EditMade, open: Set<EditMade>, answer: Promise<unknown>): void {
    if (edit.fields.length) this.made.set(edit.token, edit)
    const { entity } = edit
    const alone = ![...open].some((other) => other.entity === entity)
    const damaged = this.#oracle.devices.isDamaged(device, entity)
    const before: Before = {
      held: this.#heldOf(device, entity),
      failuresTold: device.failuresTold,
      readFailures: device.readFailures,
      damaged,
      sure: alone && device.quiet && !device.has("stale", entity) && !damaged,
      access: this.#oracle.devices.access(device),
    }
    open.add(edit)
    answer.then(
      () => {
        open.delete(edit)
        this.#saved(device, edit, before)
      },
      (error) => {
        open.delete(edit)
        this.#refused(device, edit, before, error)
      },
    )
  }

  /** The promise of an edit has resolved, so its change must be on this device's disk. */
  #saved(device: Device, edit: EditMade, before: Before): void {
    edit.state = "saved"
    for (const kind of edit.does) this.kinds[kind]++
    const turn = `${device.name} ${edit.turn}`
    const commits = this.#commits.get(turn)
    if (commits === undefined) this.#commits.set(turn, device.asked)
    else if (commits !== device.asked) this.dividedTurns++
    const there = edit.fields.length ? this.changeWith(device, edit) : this.#hasWritten(device, edit, before)
    if (!there) this.#oracle.fail("said to be saved", `${device.name} ${describe(edit)}`)
    // A cut of nothing on a screen saves nothing, so no step finds out that the right to write has ended a moment ago.
    if (edit.does.includes("splice") && edit.fields.length === 0 && !edit.cuts) return
    const { access, changes } = before.access
    if (access === "read" && this.#oracle.devices.access(device).changes === changes)
      this.#oracle.fail("saved without the right to write", `${device.name} ${describe(edit)}`)
  }

  /**
   * Whether an edit that wrote no token has made a change: its entity has a new one. An edit need not make a change if
   * an earlier one may have done the same.
   */
  #hasWritten(device: Device, { entity, does, cuts }: EditMade, before: Before): boolean {
    const must = does.includes("splice") ? cuts : before.sure
    return !must || this.#hasNews(device, entity, before)
  }

  /** An edit may be refused only for these reasons. */
  #refused(device: Device, edit: EditMade, before: Before, error: unknown): void {
    edit.state = "failed"
    const { entity, does } = edit
    const [kind] = does
    const updates = kind !== "create" && kind !== "delete" && kind !== "restore"
    const [then, now] = [before.access, this.#oracle.devices.access(device)]
    const begins = (hash: Hash) => this.#oracle.changes.get(hash)!.deps.length === 0
    const reasons: Record<string, boolean> = {
      STORE_FAILED: device.failures > before.failuresTold || device.readFailures > before.readFailures,
      ENTITY_EXISTS: kind === "create" && this.#heldOf(device, entity).size > 0,
      ENTITY_DELETED: updates && (!before.sure || this.#hasNews(device, entity, before)),
      READ_ONLY: then.access === "read" || then.toldReadOnly || now.toldReadOnly || now.changes > then.changes,
      DOCUMENT_FAILED: before.damaged,
      CLOSED: edit.late === true,
      ENTITY_NOT_FOUND: before.damaged || (kind === "restore" && ![...before.held].some(begins)),
    }
    if (error instanceof HeadwaterError && error.code === "READ_ONLY") this.readOnly++
    if (error instanceof HeadwaterError && reasons[error.code]) return
    this.#oracle.fail("refused for no good reason", `${device.name} ${describe(edit)}: ${String(error)}`)
  }

  #heldOf(device: Device, entity: string): ReadonlySet<Hash> {
    return new Set([...this.#oracle.held(device.name)].filter(([, of]) => of === entity).map(([hash]) => hash))
  }

  #hasNews(device: Device, entity: string, { held }: Before): boolean {
    return [...this.#heldOf(device, entity)].some((hash) => !held.has(hash))
  }

  /** Everything that a replica shows must be saved on its device, and be in its outbox or stored. */
  shown(
    device: Device,
    rows: readonly { readonly id: string; readonly title?: string; readonly body?: string }[],
  ): void {
    for (const { id, title, body } of rows) {
      for (const token of tokensIn(`${title ?? ""}${body ?? ""}`)) {
        const edit = this.made.get(token)
        const hash = edit && this.changeWith(device, edit)
        if (!edit) this.#oracle.fail("shown out of nowhere", `${device.name} ${id} ${token}`)
        else if (!hash) this.#oracle.fail("shown before saved", `${device.name} ${id} ${token}`)
        else if (!this.#isOwed(device, edit) && !this.#stored(edit))
          this.#oracle.fail("phantom", `${device.name} ${id} ${token}`)
        else this.#oracle.causes.shown(device, hash)
      }
    }
  }

  /** Whether the edit's change is in this device's outbox, or was in an outbox until the run harmed or replaced it. */
  #isOwed(device: Device, { hash }: EditMade): boolean {
    if (hash === undefined) return false
    const { devices } = this.#oracle
    return devices.owed(device.name).get(hash) !== undefined || devices.anyForgot(hash)
  }

  /** The saved edits whose changes a device holds, its own and those of other devices. */
  savedOn(device: Device): EditMade[] {
    const held = this.#oracle.held(device.name)
    return [...this.made.values()].filter(({ state, hash }) => state === "saved" && hash && held.has(hash))
  }

  /** All these edits must be on the relay's disk, or have been there before an older copy replaced it. */
  allStored(device: Device, edits: readonly EditMade[]): void {
    for (const edit of edits)
      if (!this.#stored(edit)) this.#oracle.fail("said to be stored", `${device.name} ${edit.token}`)
  }

  /**
   * Counts pairs of saved, concurrent edits of one entity. `conflicts`: those pairs that write the same field, without
   * `body`, whose edits merge.
   */
  concurrency(): { "concurrent edits": number; conflicts: number } {
    const saved = [...this.made.values()].filter(({ hash }) => hash && this.#oracle.changes.has(hash))
    const ancestors = new Map(saved.map(({ hash }) => [hash!, this.#ancestors(hash!)]))
    let concurrent = 0
    let conflicts = 0
    for (const [i, a] of saved.entries()) {
      for (const b of saved.slice(i + 1)) {
        if (a.entity !== b.entity || a.hash === b.hash) continue
        if (ancestors.get(a.hash!)!.has(b.hash!) || ancestors.get(b.hash!)!.has(a.hash!)) continue
        concurrent++
        if (a.fields.some((field) => field !== "body" && b.fields.includes(field))) conflicts++
      }
    }
    return { "concurrent edits": concurrent, conflicts }
  }

  #ancestors(hash: Hash): Set<Hash> {
    const found = new Set<Hash>()
    const open = [hash]
    for (let next = open.pop(); next; next = open.pop()) {
      if (found.has(next)) continue
      found.add(next)
      open.push(...(this.#oracle.changes.get(next)?.deps ?? []))
    }
    return found
  }

  #stored({ hash, token, entity }: EditMade): boolean {
    if (hash) return this.#oracle.isStored(hash)
    return [...this.#oracle.changes.values()].some((change) => {
      return change.entity === entity && includes(change.chunk, token) && this.#oracle.isStored(change.hash)
    })
  }

  /** The change on this device that an edit has made. */
  changeWith(device: Device, edit: EditMade): Hash | undefined {
    const { hash, token, entity } = edit
    if (hash && this.#oracle.devices.counts(device, hash)) return hash
    for (const [other, where] of this.#oracle.held(device.name)) {
      if (where !== entity || !includes(this.#oracle.changes.get(other)!.chunk, token)) continue
      edit.hash = other
      return other
    }
    return undefined
  }
}

export function describe({ token, replica, entity, does, state, hash }: EditMade): string {
  return `${token} of ${replica}, ${does.join(" and ")} in ${entity}, ${state}${hash ? `, ${hash.slice(0, 8)}` : ""}`
}

export const tokensIn = (text: string): string[] => text.match(/<[0-9a-z]{2,}>/g) ?? []
const includes = (chunk: Uint8Array, token: string): boolean =>
  Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).includes(token)
