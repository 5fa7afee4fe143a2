/**
 * What must hold at every moment, whatever happens. The oracle reads frames, the devices' records and the relay's disk,
 * never a private field: a violation is something that a user, a second client or the next start could see.
 */
import { type Change, isDerived, readChange } from "../../src/chunk.ts"
import { HeadwaterError } from "../../src/errors.ts"
import {
  decodeClient,
  decodeEntry,
  decodeRelay,
  type Entry,
  type Hash,
  type Item,
  position,
} from "../../src/protocol.ts"
import type { OutRecord, RejectedRecord, State } from "../../src/records.ts"
import type { Write } from "../../src/store/store.ts"
import type { Connection } from "./network.ts"
import type { Device } from "./store.ts"

export class Violation extends Error {
  readonly kind: string
  constructor(kind: string, message: string) {
    super(`${kind}: ${message}`)
    this.kind = kind
  }
}

export interface Minted extends Change {
  readonly entity: string
  readonly derived: boolean
}

/** An edit of the property's own making; its token stands in what it wrote. */
export interface EditMade {
  readonly token: string
  readonly replica: string
  readonly entity: string
  readonly fields: readonly string[]
  state: "asked" | "saved" | "failed"
  /** Its change, once that is on a disk. */
  hash?: Hash
  /** The only disk that held it is gone, by an act of ours. */
  excused?: true
}

export interface Logged {
  readonly position: number
  readonly entry: Entry
}

interface Place {
  readonly entity: string
  readonly hash: Hash
}

export class Oracle {
  /** The first thing that was wrong: it may be found inside the engine, which would swallow a throw. */
  violation: Violation | undefined
  readonly changes = new Map<Hash, Minted>()
  readonly edits = new Map<string, EditMade>()
  /** Body tokens that somebody has cut out. */
  readonly removed = new Set<string>()
  /** Was on the relay's disk at some time. */
  readonly stored = new Set<Hash>()
  /** Counts of what came by on the wire. */
  readonly seen = { heals: 0, adopted: 0, rejected: 0, known: 0 }
  /** The relay's log as appended. */
  #log: Logged[] = []
  /** What the relay has acknowledged, and nobody has taken from it since. */
  readonly #acknowledged = new Set<Hash>()
  /** Was in the relay's log at some time, flushed or not. */
  readonly #appended = new Set<Hash>()
  readonly #authors = new Map<Hash, string>()
  /** What the relay may take for known though its bytes are damaged: nobody has read them since. */
  readonly #harmed = new Set<Hash>()
  readonly #minted = new Map<string, Hash>()
  readonly #held = new Map<string, Map<Hash, string>>()
  /** What lies at or before a cursor that the relay has given out. */
  readonly #before = new Map<string, readonly Place[]>()
  readonly #pushes = new Map<string, { readonly hashes: Set<Hash> }>()
  readonly #onDisk: (bytes: Uint8Array) => boolean

  constructor(onDisk: (bytes: Uint8Array) => boolean) {
    this.#onDisk = onDisk
  }

  fail(kind: string, message: string): void {
    this.violation ??= new Violation(kind, message)
  }

  /** A change is met: nobody may ever have met another one of its actor and number. */
  learn(entity: string, chunk: Uint8Array): Minted {
    const change = readChange(chunk)
    const known = this.changes.get(change.hash)
    if (known) return known
    const minted = { ...change, entity, derived: isDerived(entity, change) }
    this.changes.set(change.hash, minted)
    const name = `${entity}/${change.actor}/${change.seq}`
    const other = this.#minted.get(name)
    if (other) this.fail("minted twice", `${name} names ${short(other)} and ${short(change.hash)}`)
    this.#minted.set(name, change.hash)
    return minted
  }

  isStored(hash: Hash): boolean {
    if (this.stored.has(hash)) return true
    const change = this.changes.get(hash)
    if (!change || !this.#onDisk(change.chunk)) return false
    this.stored.add(hash)
    return true
  }

  /** Before the relay's disk goes back in time: what it holds now was stored once. */
  noteStored(): void {
    for (const hash of this.changes.keys()) this.isStored(hash)
  }

  onDiskNow(hash: Hash): boolean {
    const change = this.changes.get(hash)
    return change !== undefined && this.#onDisk(change.chunk)
  }

  /** The relay would give it back: it is in the log and safe. Bytes behind a torn tail are neither. */
  relayHolds(hash: Hash): boolean {
    const change = this.changes.get(hash)
    if (!change || !this.#onDisk(change.chunk)) return false
    return this.#log.some(({ entry }) => entry.chunks.some((chunk) => this.learn(entry.entity, chunk).hash === hash))
  }

  // devices -----------------------------------------------------------------------------------------------------------

  held(device: string): ReadonlyMap<Hash, string> {
    return this.#held.get(device) ?? new Map()
  }

  /** A device's records are not what they were, by an act of ours. */
  reload(device: Device): void {
    const held = new Map<Hash, string>()
    for (const [key, value] of device.records.values()) {
      if (key[1] !== "change") continue
      held.set(key[3]!, key[2]!)
      this.#learnRecord(value as Uint8Array)
    }
    this.#held.set(device.name, held)
  }

  /** A number that was given away in vain is given away all the same. */
  asked(writes: readonly Write[]): void {
    for (const [key, value] of writes)
      if (key[1] === "change" && value !== undefined) this.#learnRecord(value as Uint8Array)
  }

  committed(device: Device, writes: readonly Write[]): void {
    const held = this.#held.get(device.name) ?? new Map<Hash, string>()
    this.#held.set(device.name, held)
    const touched = new Set<string>()
    const fresh: Minted[] = []
    for (const [[, kind, entity = "", hash = ""], value] of writes) {
      if (kind !== "change") continue
      if (value === undefined) {
        if (held.delete(hash)) touched.add(entity)
      } else if (!held.has(hash)) {
        fresh.push(this.#learnRecord(value as Uint8Array))
        held.set(hash, entity)
        touched.add(entity)
      }
    }
    for (const [[, kind, , hash], value] of writes)
      if (kind === "out" && value) this.#noteAuthor(hash!, value as string)
    for (const change of fresh) this.#checkOwed(device, change)
    for (const [key, value] of writes) this.#checkNotLost(device, key, value)
    for (const entity of touched) this.#checkRow(device, entity, writes)
    for (const [key, value] of writes) if (key[1] === "row") this.#checkTold(device, key.at(-1)!, value as string)
    for (const [key, value] of writes)
      if (key[1] === "state") this.#checkCursor(device, JSON.parse(value as string) as State)
  }

  /** Who minted a change, as its first outbox record says. */
  #noteAuthor(hash: Hash, owed: string): void {
    const { how, principal } = JSON.parse(owed) as OutRecord
    if (how === "own" && principal !== null && !this.#authors.has(hash)) this.#authors.set(hash, principal)
  }

  /** Saved and owed in one commit: what is not from the relay is on its way there. */
  #checkOwed(device: Device, { hash, entity }: Minted): void {
    if (this.#appended.has(hash) || record(device, "out", entity, hash)) return
    this.fail("saved without its outbox record", `${device.name} ${entity} ${short(hash)}`)
  }

  #checkNotLost(device: Device, [, kind, entity = "", hash = ""]: readonly string[], value: unknown): void {
    if (value !== undefined || !hash) return
    const change = record(device, "change", entity, hash)
    const rejected = record(device, "rejected", entity, hash)
    if (kind === "change" && !rejected) this.fail("saved and lost", `${device.name} dropped ${entity} ${short(hash)}`)
    if (kind === "rejected" && !change)
      this.fail("rejected and lost", `${device.name} dropped ${entity} ${short(hash)}`)
    if (kind === "out" && !rejected && !this.isStored(hash)) {
      this.fail("no longer owed", `${device.name} ${entity} ${short(hash)} was never on the relay's disk`)
    }
  }

  /** Whoever reads the rows and nothing else must learn that there is something new. */
  #checkRow(device: Device, entity: string, writes: readonly Write[]): void {
    const told = ([key]: Write) =>
      (key[1] === "row" || key[1] === "page") && (key.includes(entity) || key[1] === "page")
    if (writes.some(told) || record(device, "stale", entity)) return
    this.fail("changed without its row", `${device.name} ${entity}`)
  }

  /** A row says only what the changes on the same disk say. */
  #checkTold(device: Device, entity: string, row: string): void {
    for (const token of tokensIn(row)) {
      const edit = this.edits.get(token)
      if (edit && !this.#changeWith(device, edit))
        this.fail("row without its change", `${device.name} ${entity} ${token}`)
    }
  }

  #checkCursor(device: Device, { cursor }: State): void {
    if (!cursor) return
    const before = this.#before.get(cursor)
    if (!before) return this.fail("cursor out of nowhere", `${device.name} ${cursor}`)
    const held = this.held(device.name)
    for (const { entity, hash } of before) {
      if (held.has(hash) || record(device, "rejected", entity, hash)) continue
      this.fail("cursor ahead of its entries", `${device.name} at ${cursor} lacks ${entity} ${short(hash)}`)
    }
  }

  #learnRecord(value: Uint8Array): Minted {
    const { entity, chunks } = decodeEntry(value)
    return this.learn(entity, chunks[0]!)
  }

  /** Changes that a device has in any form: nothing else could give them back. */
  kept(device: Device): Hash[] {
    return [...this.held(device.name).keys(), ...rejectedOn(device).map(({ hash }) => hash)]
  }

  // edits -------------------------------------------------------------------------------------------------------------

  /** The promise of an edit has resolved: its change is on this device's disk, now and from now on. */
  saved(device: Device, edit: EditMade): void {
    edit.state = "saved"
    if (edit.fields.length === 0) return
    if (!this.#changeWith(device, edit)) this.fail("said to be saved", `${device.name} ${edit.token}`)
  }

  refused(edit: EditMade, error: unknown): void {
    edit.state = "failed"
    const code = error instanceof HeadwaterError ? error.code : undefined
    if (code === undefined || !EXPECTED.has(code))
      this.fail("refused for no good reason", `${edit.token}: ${String(error)}`)
  }

  /** What a replica shows is saved here, or on the relay's disk. */
  shown(
    device: Device,
    rows: readonly { readonly id: string; readonly title?: string; readonly body?: string }[],
  ): void {
    for (const { id, title, body } of rows) {
      for (const token of tokensIn(`${title ?? ""}${body ?? ""}`)) {
        const edit = this.edits.get(token)
        if (!edit) this.fail("shown out of nowhere", `${device.name} ${id} ${token}`)
        else if (!this.#changeWith(device, edit)) this.fail("shown before saved", `${device.name} ${id} ${token}`)
        else if (!this.#isOwed(device, edit) && !this.#stored(edit))
          this.fail("phantom", `${device.name} ${id} ${token}`)
      }
    }
  }

  /** Not there yet: written here, or on the device of which this one is a copy. */
  #isOwed(device: Device, { entity, hash }: EditMade): boolean {
    return hash !== undefined && record(device, "out", entity, hash)
  }

  /** The saved edits that a device holds, its own and others'. */
  savedOn(device: Device): EditMade[] {
    const held = this.held(device.name)
    return [...this.edits.values()].filter(({ state, hash }) => state === "saved" && hash && held.has(hash))
  }

  /** Everything that this device had saved is on the relay's disk, or was since an older copy took its place. */
  allStored(device: Device, edits: readonly EditMade[]): void {
    for (const edit of edits) if (!this.#stored(edit)) this.fail("said to be stored", `${device.name} ${edit.token}`)
  }

  /** Pairs of saved edits that did not know of each other. */
  concurrency(): { "concurrent edits": number; conflicts: number } {
    const saved = [...this.edits.values()].filter(({ hash }) => hash && this.changes.has(hash))
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
      open.push(...(this.changes.get(next)?.deps ?? []))
    }
    return found
  }

  #stored({ hash, token, entity }: EditMade): boolean {
    if (hash) return this.isStored(hash)
    return [...this.changes.values()].some((change) => {
      return change.entity === entity && includes(change.chunk, token) && this.isStored(change.hash)
    })
  }

  #changeWith(device: Device, edit: EditMade): Hash | undefined {
    const { hash, token, entity } = edit
    const held = this.held(device.name)
    if (hash && held.has(hash)) return hash
    for (const [other, where] of held) {
      if (where !== entity || !includes(this.changes.get(other)!.chunk, token)) continue
      edit.hash = other
      return other
    }
    return undefined
  }

  // the wire ----------------------------------------------------------------------------------------------------------

  /** A replica sends: only what is saved. */
  up(device: Device, connection: Connection, frame: Uint8Array): void {
    const message = decodeClient(frame)
    if (message?.t === "have" && !message.single && !message.more) this.seen.heals++
    if (message?.t !== "push") return
    const hashes = new Set<Hash>()
    for (const { entity, chunks } of message.entries) {
      for (const chunk of chunks) {
        const { hash } = this.learn(entity, chunk)
        hashes.add(hash)
        if (message.adopt) this.seen.adopted++
        if (!this.held(device.name).has(hash)) this.fail("sent before saved", `${device.name} ${entity} ${short(hash)}`)
      }
    }
    this.#pushes.set(`${connection.id} ${message.id}`, { hashes })
  }

  isPush(frame: Uint8Array): boolean {
    return decodeClient(frame)?.t === "push"
  }

  /** The relay sends: only what is on its disk, acks and cursors included. */
  down(connection: Connection, frame: Uint8Array): void {
    const message = decodeRelay(frame)
    if (message?.t === "entries") {
      for (const item of message.items) this.#checkShown(item)
      if (message.cursor) this.#noteCursor(message.cursor)
    } else if (message?.t === "reject") {
      this.seen.rejected++
      this.#pushes.get(`${connection.id} ${message.id}`)?.hashes.delete(message.hash)
    } else if (message?.t === "ack") {
      for (const hash of this.#pushes.get(`${connection.id} ${message.id}`)?.hashes ?? []) {
        if (!this.onDiskNow(hash) && !this.#harmed.has(hash)) this.fail("acknowledged before stored", short(hash))
        this.stored.add(hash)
        this.#acknowledged.add(hash)
      }
    }
  }

  #checkShown(item: Item): void {
    if (!("entry" in item)) return
    for (const chunk of item.entry.chunks) {
      const { hash, entity } = this.learn(item.entry.entity, chunk)
      if (!this.#onDisk(chunk)) this.fail("served before stored", `${entity} ${short(hash)}`)
    }
  }

  // the relay ---------------------------------------------------------------------------------------------------------

  appended(at: number, entry: Entry): void {
    this.#log.push({ position: at, entry })
    for (const chunk of entry.chunks) {
      const { hash, derived } = this.learn(entry.entity, chunk)
      this.#appended.add(hash)
      const author = this.#authors.get(hash)
      if (derived || entry.adopted || author === undefined || author === entry.by) continue
      this.fail("wrong author", `${entry.entity} ${short(hash)} of ${author} was taken as ${entry.by}'s`)
    }
  }

  /** The disk failed: what was appended behind this place never was. */
  rolledBack(to: number): void {
    this.#log = this.#log.filter(({ position }) => position <= to)
  }

  /** The relay's disk after a crash, or an older copy of it. */
  restarted(log: Logged[], older: boolean): void {
    this.#log = log
    const there = new Set<Hash>()
    for (const { entry } of log) for (const chunk of entry.chunks) there.add(this.learn(entry.entity, chunk).hash)
    for (const hash of there) this.#appended.add(hash)
    for (const hash of this.#acknowledged) {
      if (there.has(hash)) continue
      this.#acknowledged.delete(hash)
      if (!older) this.fail("acknowledged and lost", short(hash))
    }
  }

  /** Bytes of the relay's disk were changed behind its back. */
  noteHarm(): void {
    for (const hash of this.stored) if (!this.onDiskNow(hash)) this.#harmed.add(hash)
  }

  #noteCursor(cursor: Uint8Array): void {
    const name = Buffer.from(cursor).toString("hex")
    if (this.#before.has(name)) return
    const places: Place[] = []
    for (const { position: at, entry } of this.#log) {
      if (at > position(cursor)) break
      for (const chunk of entry.chunks)
        places.push({ entity: entry.entity, hash: this.learn(entry.entity, chunk).hash })
    }
    this.#before.set(name, places)
  }
}

/** What an edit may be answered with when disks fail and others delete. */
const EXPECTED = new Set(["STORE_FAILED", "CLOSED", "ENTITY_DELETED", "ENTITY_NOT_FOUND", "ENTITY_EXISTS"])

const tokensIn = (text: string): string[] => text.match(/<[0-9a-z]{2,}>/g) ?? []
const includes = (chunk: Uint8Array, token: string): boolean =>
  Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).includes(token)
export const short = (hash: Hash): string => hash.slice(0, 8)

export function record(device: Device, kind: string, entity: string, hash?: Hash): boolean {
  const key = ["w", kind, entity, ...(hash ? [hash] : [])]
  return device.records.has(key.join("\u0001"))
}

/** What a device has set aside as refused. */
export function rejectedOn(device: Device): { entity: string; hash: Hash; record: RejectedRecord }[] {
  return [...device.records.values()]
    .filter(([key]) => key[1] === "rejected")
    .map(([key, value]) => ({ entity: key[2]!, hash: key[3]!, record: JSON.parse(value as string) as RejectedRecord }))
}
