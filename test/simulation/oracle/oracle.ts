/**
 * What must hold at every moment, whatever happens. The oracle reads frames, the devices' records and the relay's disk,
 * never a private field: a violation is something that a user, a second client or the next start could see.
 */

import type { OutRecord, State } from "../../../src/replica/records.ts"
import type { Write } from "../../../src/store/store.ts"
import { type Change, isDerived, readChange } from "../../../src/wire/chunk.ts"
import {
  decodeClient,
  decodeEntry,
  decodeRelay,
  type Entry,
  type Hash,
  type Item,
  position,
} from "../../../src/wire/protocol.ts"
import type { Connection } from "../world/network.ts"
import { type Device, WORKSPACE } from "../world/store.ts"
import { Causes } from "./causes.ts"
import { Edits, tokensIn } from "./edits.ts"

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

/** An entry of the relay's log. */
export interface Logged {
  readonly position: number
  readonly entry: Entry
}

interface Place {
  readonly position: number
  readonly entity: string
  readonly hash: Hash
}

export class Oracle {
  /** The first thing that was wrong: it may be found inside the engine, which would swallow a throw. */
  violation: Violation | undefined
  readonly changes = new Map<Hash, Minted>()
  readonly edits = new Edits(this)
  readonly causes = new Causes(this)
  /** The last disk that held it is gone, by an act of ours. */
  readonly lost = new Set<Hash>()
  /** Was on the relay's disk at some time. */
  readonly stored = new Set<Hash>()
  /** Counts of what came by on the wire. */
  readonly seen = { heals: 0, adopted: 0, rejected: 0, again: 0 }
  /** The relay's log as appended, change by change. */
  #log: Place[] = []
  /** What the relay has acknowledged, and nobody has taken from it since. */
  readonly #acknowledged = new Set<Hash>()
  /** Was in the relay's log at some time, flushed or not. */
  readonly #appended = new Set<Hash>()
  readonly #authors = new Map<Hash, string>()
  readonly #minted = new Map<string, Hash>()
  readonly #held = new Map<string, Map<Hash, string>>()
  /** What lies at or before a cursor that the relay has given out. */
  readonly #before = new Map<string, readonly Place[]>()
  /** The connection that has last carried it to the relay. */
  readonly #pushed = new Map<Hash, number>()
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
    const change = this.#read("bytes that are no change", entity, () => readChange(chunk))
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

  /** A throw would be lost inside the engine, which takes it for one of its own. */
  #read<T>(kind: string, where: string, read: () => T): T {
    try {
      return read()
    } catch (error) {
      this.fail(kind, `${where}: ${String(error)}`)
      throw error
    }
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
    return this.#log.some((place) => place.hash === hash)
  }

  // devices -----------------------------------------------------------------------------------------------------------

  held(device: string): ReadonlyMap<Hash, string> {
    return this.#held.get(device) ?? new Map()
  }

  /** A device's records are not what they were, by an act of ours. */
  reload(device: Device): void {
    const held = new Map<Hash, string>()
    for (const [key, value] of device.ours) {
      if (key[1] !== "change") continue
      held.set(key[3]!, key[2]!)
      this.#learnRecord(value as Uint8Array)
    }
    this.#held.set(device.name, held)
    this.causes.dropped(device.name)
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
        if (!held.delete(hash)) continue
        touched.add(entity)
        this.causes.dropped(device.name)
      } else if (!held.has(hash)) {
        fresh.push(this.#learnRecord(value as Uint8Array))
        held.set(hash, entity)
        touched.add(entity)
      }
    }
    for (const [[, kind, , hash], value] of writes)
      if (kind === "out" && value) this.#noteAuthor(hash!, value as string)
    for (const change of fresh) this.#checkOwed(device, change)
    for (const { hash } of fresh) this.causes.committed(device, hash)
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
    if (this.#appended.has(hash) || device.has("out", entity, hash)) return
    this.fail("saved without its outbox record", `${device.name} ${entity} ${short(hash)}`)
  }

  #checkNotLost(device: Device, [, kind, entity = "", hash = ""]: readonly string[], value: unknown): void {
    if (value !== undefined || !hash) return
    const change = device.has("change", entity, hash)
    const rejected = device.has("rejected", entity, hash)
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
    if (writes.some(told) || device.has("stale", entity)) return
    this.fail("changed without its row", `${device.name} ${entity}`)
  }

  /** A row says only what the changes on the same disk say. */
  #checkTold(device: Device, entity: string, row: string): void {
    for (const token of tokensIn(row)) {
      const edit = this.edits.made.get(token)
      if (edit && !this.edits.changeWith(device, edit))
        this.fail("row without its change", `${device.name} ${entity} ${token}`)
    }
  }

  #checkCursor(device: Device, { cursor }: State): void {
    if (!cursor) return
    const before = this.#before.get(cursor)
    if (!before) return this.fail("cursor out of nowhere", `${device.name} ${cursor}`)
    const held = this.held(device.name)
    for (const { entity, hash } of before) {
      if (held.has(hash) || device.has("rejected", entity, hash)) continue
      this.fail("cursor ahead of its entries", `${device.name} at ${cursor} lacks ${entity} ${short(hash)}`)
    }
  }

  #learnRecord(value: Uint8Array): Minted {
    const { entity, chunks } = this.#read("bytes that are no entry", "a device", () => decodeEntry(value))
    return this.learn(entity, chunks[0]!)
  }

  /** Changes that a device has in any form: nothing else could give them back. */
  kept(device: Device): Hash[] {
    return [...this.held(device.name).keys(), ...device.rejected()]
  }

  // the wire ----------------------------------------------------------------------------------------------------------

  /** A replica sends: only what is saved. */
  up(device: Device, connection: Connection, frame: Uint8Array): void {
    const message = this.#read("bytes that are no message", device.name, () => decodeClient(frame))
    if (!isOurs(message)) return
    if (message?.t === "have" && !message.single && !message.more) this.seen.heals++
    if (message?.t !== "push") return
    const hashes = new Set<Hash>()
    for (const { entity, chunks } of message.entries) {
      for (const chunk of chunks) {
        const { hash } = this.learn(entity, chunk)
        hashes.add(hash)
        if (message.adopt) this.seen.adopted++
        if ((this.#pushed.get(hash) ?? connection.id) !== connection.id) this.seen.again++
        this.#pushed.set(hash, connection.id)
        if (!this.held(device.name).has(hash)) this.fail("sent before saved", `${device.name} ${entity} ${short(hash)}`)
      }
    }
    this.#pushes.set(`${connection.id} ${message.id}`, { hashes })
  }

  isPush(frame: Uint8Array): boolean {
    const message = decodeClient(frame)
    return message?.t === "push" && isOurs(message)
  }

  isNews(frame: Uint8Array): boolean {
    const message = decodeRelay(frame)
    return (message?.t === "entries" || message?.t === "ack") && isOurs(message)
  }

  /** The relay sends: only what is on its disk, acks and cursors included. Nobody hears what is sent to no device. */
  down(device: Device | undefined, connection: Connection, frame: Uint8Array): void {
    const message = this.#read("bytes that are no message", "the relay", () => decodeRelay(frame))
    if (!isOurs(message)) return
    if (message?.t === "entries") {
      for (const item of message.items) this.#checkServed(device, connection, item)
      if (message.cursor) this.#noteCursor(message.cursor)
    } else if (message?.t === "reject") {
      this.seen.rejected++
      this.#pushes.get(`${connection.id} ${message.id}`)?.hashes.delete(message.hash)
    } else if (message?.t === "ack") {
      for (const hash of this.#pushes.get(`${connection.id} ${message.id}`)?.hashes ?? []) {
        // Of what it does not know to be damaged the relay says that it has it; it cannot be held to that.
        const unread = this.causes.isUnread(hash)
        if (!this.onDiskNow(hash) && !unread) this.fail("acknowledged before stored", short(hash))
        this.stored.add(hash)
        if (!unread) this.#acknowledged.add(hash)
      }
    }
  }

  #checkServed(device: Device | undefined, connection: Connection, item: Item): void {
    if (!("entry" in item)) return
    for (const chunk of item.entry.chunks) {
      const { hash, entity } = this.learn(item.entry.entity, chunk)
      if (!this.#onDisk(chunk)) this.fail("served before stored", `${entity} ${short(hash)}`)
      if (device) this.causes.served(connection.id, device, hash)
    }
  }

  // the relay ---------------------------------------------------------------------------------------------------------

  appended(at: number, entry: Entry): void {
    for (const place of this.#placesOf({ position: at, entry })) {
      this.#log.push(place)
      const { hash, derived } = this.changes.get(place.hash)!
      const again = this.#appended.has(hash)
      this.#appended.add(hash)
      this.causes.appended(hash)
      const author = this.#authors.get(hash)
      if (derived) continue
      if (entry.adopted) {
        if (!again) this.fail("adopted for no reason", `${entry.entity} ${short(hash)} was in no log before`)
      } else if (author !== undefined && author !== entry.by)
        this.fail("wrong author", `${entry.entity} ${short(hash)} of ${author} was taken as ${entry.by}'s`)
    }
  }

  /** The disk failed: what was appended behind this place never was. */
  rolledBack(to: number): void {
    this.#setLog(this.#log.filter(({ position }) => position <= to))
  }

  /** The relay's disk after a crash, or an older copy of it. */
  restarted(log: Logged[], older: boolean): void {
    this.#setLog(log.flatMap((logged) => this.#placesOf(logged)))
    const there = new Set(this.#log.map(({ hash }) => hash))
    for (const hash of there) this.#appended.add(hash)
    for (const hash of this.#acknowledged) {
      if (there.has(hash)) continue
      this.#acknowledged.delete(hash)
      if (!older) this.fail("acknowledged and lost", short(hash))
    }
  }

  /** A byte of this segment was changed behind the relay's back; the log is what its disk would have given without that. */
  harmed(segment: number, log: readonly Logged[]): void {
    const places = log.flatMap((logged) => this.#placesOf(logged))
    this.causes.harmed(
      segment,
      places.map(({ hash }) => hash),
    )
  }

  #setLog(places: Place[]): void {
    this.#log = places
    this.causes.logIs(places.map(({ hash }) => hash))
  }

  #noteCursor(cursor: Uint8Array): void {
    const name = Buffer.from(cursor).toString("hex")
    if (this.#before.has(name)) return
    const at = position(cursor)
    this.#before.set(
      name,
      this.#log.filter((place) => place.position <= at),
    )
  }

  #placesOf({ position, entry: { entity, chunks } }: Logged): Place[] {
    return chunks.map((chunk) => ({ position, entity, hash: this.learn(entity, chunk).hash }))
  }
}

/** Whatever is said of another workspace on the same socket is none of our business. */
const isOurs = (message: object | null): boolean => !message || !("w" in message) || message.w === WORKSPACE

export const short = (hash: Hash): string => hash.slice(0, 8)
