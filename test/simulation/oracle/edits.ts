/** What became of every edit that the property has made: each carries a token that is found again in changes and rows. */
import { HeadwaterError } from "../../../src/base/errors.ts"
import type { Hash } from "../../../src/wire/protocol.ts"
import type { Device } from "../world/store.ts"

/** What an edit does to its entity. */
export type Kind = "create" | "field" | "splice" | "text assigned" | "array register" | "delete" | "restore"

/** An edit of the property's own making; its token stands in what it wrote. */
export interface EditMade {
  readonly token: string
  readonly replica: string
  readonly entity: string
  /** The turn in which it was asked for: the same number for all that one program asks for at once. */
  readonly turn: number
  fields: readonly string[]
  does: readonly Kind[]
  state: "asked" | "saved" | "failed"
  /** It has taken something out of a text. */
  cuts?: true
  /** Its change, once that is on a disk. */
  hash?: Hash
  /** The only disk that held it is gone, by an act of ours. */
  excused?: true
}

/** How things stood on the device when an edit was asked for. */
interface Before {
  /** What it held of the entity. */
  readonly held: ReadonlySet<Hash>
  readonly failuresTold: number
  readonly readFailures: number
  /** The disk had damaged some of what it held of the entity. */
  readonly damaged: boolean
  /** What the program knew of the entity was all that there was, and nothing else was to become of it. */
  readonly sure: boolean
}

/** What the oracle knows. */
interface Facts {
  readonly changes: ReadonlyMap<
    Hash,
    { readonly hash: Hash; readonly entity: string; readonly chunk: Uint8Array; readonly deps: readonly Hash[] }
  >
  held(device: string): ReadonlyMap<Hash, string>
  isStored(hash: Hash): boolean
  readonly devices: {
    owed(device: string): { get(hash: Hash): object | undefined }
    hasForgotten(device: Device, hash: Hash): boolean
    isDamaged(device: Device, entity: string): boolean
  }
  readonly causes: { shown(device: Device, hash: Hash): void }
  fail(kind: string, message: string): void
}

export class Edits {
  readonly made = new Map<string, EditMade>()
  /** Body tokens that somebody has cut out. */
  readonly removed = new Set<string>()
  /** How many of each kind were saved. */
  readonly kinds: Record<Kind, number> = {
    create: 0,
    field: 0,
    splice: 0,
    "text assigned": 0,
    "array register": 0,
    delete: 0,
    restore: 0,
  }
  /** How often a device has saved in several commits what it was asked for in one turn. */
  dividedTurns = 0
  /** By device and turn: how many commits had been asked for when the first edit of it was saved. */
  readonly #commits = new Map<string, number>()
  readonly #oracle: Facts

  constructor(oracle: Facts) {
    this.#oracle = oracle
  }

  /** Follows an edit from when it is asked for; it is `open`, with others of the same program, until it is answered. */
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

  /** The promise of an edit has resolved: its change is on this device's disk, now and from now on. */
  #saved(device: Device, edit: EditMade, before: Before): void {
    edit.state = "saved"
    for (const kind of edit.does) this.kinds[kind]++
    const turn = `${device.name} ${edit.turn}`
    const commits = this.#commits.get(turn)
    if (commits === undefined) this.#commits.set(turn, device.asked)
    else if (commits !== device.asked) this.dividedTurns++
    const there = edit.fields.length ? this.changeWith(device, edit) : this.#hasWritten(device, edit, before)
    if (!there) this.#oracle.fail("said to be saved", `${device.name} ${describe(edit)}`)
  }

  /** An edit without a token is seen by what is new; one that others may have been ahead of need write nothing. */
  #hasWritten(device: Device, { entity, does, cuts }: EditMade, before: Before): boolean {
    const must = does.includes("splice") ? cuts : before.sure
    return !must || this.#hasNews(device, entity, before)
  }

  /** An edit may fail for these reasons and no others. */
  #refused(device: Device, edit: EditMade, before: Before, error: unknown): void {
    edit.state = "failed"
    const { entity, does } = edit
    const [kind] = does
    const updates = kind !== "create" && kind !== "delete" && kind !== "restore"
    const begins = (hash: Hash) => this.#oracle.changes.get(hash)!.deps.length === 0
    const reasons: Record<string, boolean> = {
      STORE_FAILED: device.failures > before.failuresTold || device.readFailures > before.readFailures,
      ENTITY_EXISTS: kind === "create" && this.#heldOf(device, entity).size > 0,
      ENTITY_DELETED: updates && (!before.sure || this.#hasNews(device, entity, before)),
      ENTITY_NOT_FOUND: before.damaged || (kind === "restore" && ![...before.held].some(begins)),
    }
    if (error instanceof HeadwaterError && reasons[error.code]) return
    this.#oracle.fail("refused for no good reason", `${device.name} ${describe(edit)}: ${String(error)}`)
  }

  #heldOf(device: Device, entity: string): ReadonlySet<Hash> {
    return new Set([...this.#oracle.held(device.name)].filter(([, of]) => of === entity).map(([hash]) => hash))
  }

  #hasNews(device: Device, entity: string, { held }: Before): boolean {
    return [...this.#heldOf(device, entity)].some((hash) => !held.has(hash))
  }

  /** What a replica shows is saved here, or on the relay's disk. */
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

  /** Not there yet: written here, or on the device of which this one is a copy. */
  #isOwed(device: Device, { hash }: EditMade): boolean {
    if (hash === undefined) return false
    const { devices } = this.#oracle
    return devices.owed(device.name).get(hash) !== undefined || devices.hasForgotten(device, hash)
  }

  /** The saved edits that a device holds, its own and others'. */
  savedOn(device: Device): EditMade[] {
    const held = this.#oracle.held(device.name)
    return [...this.made.values()].filter(({ state, hash }) => state === "saved" && hash && held.has(hash))
  }

  /** Everything that this device had saved is on the relay's disk, or was since an older copy took its place. */
  allStored(device: Device, edits: readonly EditMade[]): void {
    for (const edit of edits)
      if (!this.#stored(edit)) this.#oracle.fail("said to be stored", `${device.name} ${edit.token}`)
  }

  /** Pairs of saved edits that did not know of each other. */
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

  /** The change on a device that made an edit. */
  changeWith(device: Device, edit: EditMade): Hash | undefined {
    const { hash, token, entity } = edit
    const held = this.#oracle.held(device.name)
    if (hash && held.has(hash)) return hash
    for (const [other, where] of held) {
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
