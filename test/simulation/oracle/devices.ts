/** What the disks of all devices hold after each commit, and the checks of each commit. */

import type { Held } from "../../../src/replica/disk/change-record.ts"
import type { State } from "../../../src/replica/disk/records.ts"
import type { Key, Value, Write } from "../../../src/store/store.ts"
import { type Cursor, decodeEntry, type Hash } from "../../../src/wire/protocol.ts"
import { jsonIn } from "../../support/record.ts"
import type { Device } from "../world/store.ts"
import { ChangesOnDisk, changesIn } from "./changes-on-disk.ts"
import { tokensIn } from "./edits.ts"
import { type Minted, short } from "./facts.ts"
import type { Oracle } from "./oracle.ts"
import { type Owed, OwedOnDisk } from "./owed.ts"
import type { Stored } from "./relay-log.ts"

interface DeviceAccess {
  readonly access: State["access"]
  readonly changes: number
  /**
   * Whether the relay has told the device that it may only read, and the device has not committed that yet. If the
   * relay lets it write again before that commit, the disk never says "read".
   */
  readonly toldReadOnly: boolean
}

export class Devices {
  readonly #oracle: Oracle
  readonly #changes = new Map<string, ChangesOnDisk>()
  readonly #owed = new Map<string, OwedOnDisk>()
  /** Every change that the disk of any device has damaged in this run, with its entity. */
  readonly #damaged = new Map<Hash, string>()
  /** Whether a record of any device was damaged in this run. */
  anyHarmed = false
  /**
   * Changes of which the run has damaged or replaced the outbox record on a device. They are not kept per device,
   * because a copy of the device's disk lacks the records as well.
   */
  readonly #forgotten = new Set<Hash>()
  /** For each device: the access that its disk names, and how many commits have changed that. */
  readonly #access = new Map<string, DeviceAccess>()
  /** The principal that made each change, as the first outbox record of that change says. */
  readonly #authors = new Map<Hash, string>()

  constructor(oracle: Oracle) {
    this.#oracle = oracle
  }

  held(device: string): ReadonlyMap<Hash, string> {
    return this.#onDisk(device).held
  }

  #onDisk(device: string): ChangesOnDisk {
    const changes = this.#changes.get(device) ?? new ChangesOnDisk()
    this.#changes.set(device, changes)
    return changes
  }

  /**
   * Whether a device holds the change, or has removed its damaged record and neither healed nor made the entity's row
   * again. Until then the row may show the change, and other changes that depend on it may arrive.
   */
  counts({ name }: { readonly name: string }, hash: Hash): boolean {
    return this.#onDisk(name).counts(hash)
  }

  /** The changes that a device holds and whose records are not damaged. */
  whole(device: Device): ReadonlyMap<Hash, string> {
    const changes = this.#onDisk(device.name)
    return new Map([...changes.held].filter(([hash]) => changes.isWhole(hash)))
  }

  /** Whether the record of a change on this device is damaged. `entity`: only changes of this entity. */
  isDamaged(device: Device, entity?: string): boolean {
    return this.#onDisk(device.name).isDamaged(entity)
  }

  /** The outbox of a device, as its disk has it. */
  owed(device: string): OwedOnDisk {
    return this.#owed.get(device) ?? new OwedOnDisk()
  }

  /** Whether this change was made under another account than `principal`, which therefore does not push it. */
  waitsForOther(device: Device, hash: Hash, principal: string | null): boolean {
    const owed = this.owed(device.name).get(hash)
    if (!owed || owed.how === "adopt" || principal === null) return false
    const state = device.ours.find(([[, kind]]) => kind === "state")?.[1]
    const { firstPrincipal } = jsonIn(state) as State
    return (owed.principal ?? firstPrincipal) !== principal
  }

  /** The access that a device's disk names, and how many commits have changed that. */
  access({ name }: Device): DeviceAccess {
    return this.#access.get(name) ?? { access: null, changes: 0, toldReadOnly: false }
  }

  /** Call it when the relay has told the device that it may only read. */
  toldReadOnly(device: Device): void {
    this.#access.set(device.name, { ...this.access(device), toldReadOnly: true })
  }

  #noteAccess(device: Device, { access }: State): void {
    const { access: before, changes } = this.access(device)
    this.#access.set(device.name, { access, changes: changes + (access === before ? 0 : 1), toldReadOnly: false })
  }

  authorOf(hash: Hash): string | undefined {
    return this.#authors.get(hash)
  }

  /** The changes that a device can read, or has on its rejected list: it could push them again. */
  kept(device: Device): Hash[] {
    return [...this.whole(device).keys(), ...device.rejected()]
  }

  /** Call it when the run has replaced or damaged a device's records. */
  reload(device: Device): void {
    const changes = new ChangesOnDisk()
    const owed = new OwedOnDisk()
    let mustHeal = false
    for (const [key, value] of device.ours) {
      if (key[1] === "state") {
        const state = jsonIn(value) as State
        this.#noteAccess(device, state)
        mustHeal = state.heal
      }
      if (device.isHarmed(key)) {
        this.anyHarmed = true
        // Until the device reads the damaged record, it shows the change and says that it holds it.
        const named = key[1] === "change" ? [key[3]!] : key[1] === "history" ? device.harmedIn(key) : []
        const harmed = named.filter((hash) => this.#oracle.changes.has(hash))
        changes.damage(key[2]!, harmed)
        for (const hash of harmed) this.#damaged.set(hash, key[2]!)
        if (key[1] !== "history") continue
      }
      if (OwedOnDisk.concerns(key)) owed.write(key, value)
      if (key[1] === "history") {
        changes.setPage(key, value)
        for (const { chunk } of changesIn(key, value)) this.#oracle.learn(key[2]!, chunk)
      }
      if (key[1] !== "change") continue
      changes.setLoose(key, this.#readRecord(value as Uint8Array))
    }
    const isOpen = (entity: string) => mustHeal || device.has("stale", entity)
    for (const [hash, entity] of this.#damaged) if (isOpen(entity)) changes.remove(entity, hash)
    for (const hash of this.owed(device.name).all().keys()) {
      if (owed.get(hash)) continue
      this.#forgotten.add(hash)
      this.#authors.delete(hash)
    }
    this.#changes.set(device.name, changes)
    this.#owed.set(device.name, owed)
    this.#oracle.causes.dropped(device.name)
  }

  /** Whether the run has damaged or replaced an outbox record of this change on any device. */
  anyForgot(hash: Hash): boolean {
    return this.#forgotten.has(hash)
  }

  /**
   * Call it when a commit is asked for, even if it fails later: no other change may use a pair (actor, seq) of its
   * changes.
   */
  asked(writes: readonly Write[]): void {
    for (const [key, value] of writes)
      if (key[1] === "change" && value !== undefined) this.#readRecord(value as Uint8Array)
  }

  committed(device: Device, writes: readonly Write[]): void {
    const { fresh, touched } = this.#followChanges(device, writes)
    this.#followOwed(device, writes)
    for (const change of fresh) this.#checkOwed(device, change)
    for (const { hash } of fresh) this.#oracle.causes.committed(device, hash)
    for (const [key, value] of writes) this.#checkNotLost(device, key, value)
    for (const entity of touched) this.#checkRow(device, entity, writes)
    for (const [key, value] of writes) {
      if (key[1] === "row" || key[1] === "page") this.#checkTold(device, key, (value ?? "") as string)
      if (key[1] !== "state") continue
      const state = jsonIn(value) as State
      this.#noteAccess(device, state)
      this.#checkCursor(device, state)
    }
  }

  #followChanges(device: Device, writes: readonly Write[]): { fresh: Minted[]; touched: Set<string> } {
    if (!writes.some(([key]) => ChangesOnDisk.concerns(key))) return { fresh: [], touched: new Set() }
    const changes = this.#onDisk(device.name)
    const { fresh, gone, otherWords } = changes.follow(writes, (value) => this.#readRecord(value))
    for (const hash of otherWords) this.#oracle.fail("folded with other words", `${device.name} ${short(hash)}`)
    for (const [hash, entity] of gone) {
      if (device.has("rejected", entity, hash)) continue
      this.#oracle.fail("saved and lost", `${device.name} dropped ${entity} ${short(hash)}`)
    }
    if (gone.size > 0) this.#oracle.causes.dropped(device.name)
    const minted = fresh.map((hash) => this.#oracle.changes.get(hash)!)
    return { fresh: minted, touched: new Set([...minted.map(({ entity }) => entity), ...gone.values()]) }
  }

  /**
   * A change that leaves the outbox must have been refused, or have been on the relay's disk. Its record may move into
   * a page of the outbox.
   */
  #followOwed(device: Device, writes: readonly Write[]): void {
    const owed = this.#owed.get(device.name) ?? new OwedOnDisk()
    this.#owed.set(device.name, owed)
    const concerning = writes.filter(([key]) => OwedOnDisk.concerns(key))
    if (concerning.length === 0) return
    const before = owed.all()
    for (const [key, value] of concerning) owed.write(key, value)
    const after = owed.all()
    for (const [hash, one] of after) this.#noteAuthor(hash, one)
    for (const [hash, { entity }] of before) {
      if (after.has(hash) || device.has("rejected", entity, hash) || this.#oracle.isStored(hash)) continue
      this.#oracle.fail("no longer owed", `${device.name} ${entity} ${short(hash)} was never on the relay's disk`)
    }
  }

  #noteAuthor(hash: Hash, { how, principal }: Owed): void {
    if (how === "own" && principal !== null && !this.#authors.has(hash)) this.#authors.set(hash, principal)
  }

  /** The commit that saves a new change also adds it to the outbox, unless the change came from the relay. */
  #checkOwed(device: Device, { hash, entity }: Minted): void {
    if (this.#oracle.log.hadEver(hash) || this.owed(device.name).get(hash)) return
    this.#oracle.fail("saved without its outbox record", `${device.name} ${entity} ${short(hash)}`)
  }

  #checkNotLost(device: Device, [, kind, entity = "", hash = ""]: Key, value: unknown): void {
    if (value !== undefined || !hash) return
    if (kind !== "rejected" || this.held(device.name).has(hash)) return
    this.#oracle.fail("rejected and lost", `${device.name} dropped ${entity} ${short(hash)}`)
  }

  /**
   * A commit that changes an entity writes its row or a stale mark. Otherwise code that reads only rows would not learn
   * of the change.
   */
  #checkRow(device: Device, entity: string, writes: readonly Write[]): void {
    const told = ([[, kind, , id], value]: Write) =>
      (kind === "row" && id === entity) || (kind === "page" && rowsIn(value).some((row) => row.id === entity))
    if (writes.some(told) || device.has("stale", entity)) return
    this.#oracle.fail("changed without its row", `${device.name} ${entity}`)
  }

  /** A row shows only edits whose changes are on the same disk. */
  #checkTold(device: Device, key: Key, rows: string): void {
    for (const token of tokensIn(rows)) {
      const edit = this.#oracle.edits.made.get(token)
      if (edit && !this.#oracle.edits.changeWith(device, edit))
        this.#oracle.fail("row without its change", `${device.name} ${key.slice(1).join("/")} ${token}`)
    }
  }

  /** A device that must heal may lack changes before its cursor. `pulls` checks the cursor if the device uses it. */
  #checkCursor(device: Device, { cursor, heal }: State): void {
    if (cursor && !heal) this.#checkBefore(device, cursor)
  }

  /** Call it when a device pulls from this cursor, even if it must heal: it must have all changes before the cursor. */
  pulls(device: Device, cursor: Cursor): void {
    this.#checkBefore(device, Buffer.from(cursor).toString("hex"))
  }

  #checkBefore(device: Device, cursor: string): void {
    const before = this.#oracle.log.before(cursor)
    if (!before) return this.#oracle.fail("cursor out of nowhere", `${device.name} ${cursor}`)
    const held = this.held(device.name)
    for (const { entity, hash } of before) {
      if (held.has(hash) || device.has("rejected", entity, hash)) continue
      this.#oracle.fail("cursor ahead of its entries", `${device.name} at ${cursor} lacks ${entity} ${short(hash)}`)
    }
  }

  /**
   * Call it when `whenSynced` has resolved. `stored`: the changes that the relay had stored when `whenSynced` was
   * called. The device must have them all, except changes that the relay has lost since, even if a replica pushed them
   * again.
   */
  checkSynced(device: Device, stored: readonly Stored[]): void {
    const held = this.held(device.name)
    for (const { entity, hash, losses } of stored) {
      if (held.has(hash) || device.has("rejected", entity, hash) || !this.#oracle.relayHolds(hash)) continue
      if (this.#oracle.log.losses(hash) > losses) continue
      this.#oracle.fail("said to be synced", `${device.name} lacks ${entity} ${short(hash)}`)
    }
  }

  #readRecord(value: Uint8Array): Held {
    const { entity, chunks, collection, by, adopted, once } = this.#oracle.read(
      "bytes that are no entry",
      "a device",
      () => decodeEntry(value),
    )
    return { change: this.#oracle.learn(entity, chunks[0]!), collection, by, adopted, once }
  }
}

const rowsIn = (page: Value | undefined): readonly { readonly id: string }[] => (page === undefined ? [] : jsonIn(page))
