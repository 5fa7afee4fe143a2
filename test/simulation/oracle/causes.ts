/**
 * No effect before its cause: in the log, on the wire, on a device and on a screen a change comes after all that it rests
 * on. The one exception is a log that has lost something: what rests on that stays and is served, and is not taken for
 * known until somebody has given back what is missing.
 */
import type { Hash } from "../../../src/wire/protocol.ts"

/** What the oracle knows. */
interface Facts {
  readonly changes: ReadonlyMap<Hash, { readonly deps: readonly Hash[]; readonly entity: string }>
  held(device: string): ReadonlyMap<Hash, string>
  fail(kind: string, message: string): void
}

interface Device {
  readonly name: string
  has(kind: string, entity: string, hash?: string): boolean
}

export class Causes {
  /** In the relay's log with everything that they rest on. */
  #whole = new Set<Hash>()
  /** Were in the log at some time without something that they rest on. */
  readonly #orphans = new Set<Hash>()
  /** By segment of the log: the relay may take them for known, because nobody has read there since it was damaged. */
  #unread = new Map<number, Set<Hash>>()
  /** The same of each copy of the disk: one that was made before the damage was found brings it back. */
  readonly #copies = new WeakMap<object, ReadonlyMap<number, Set<Hash>>>()
  /** By connection: what has been sent to its client. */
  readonly #sent = new Map<number, Set<Hash>>()
  /** By device: what is held there with everything that it rests on. */
  readonly #closed = new Map<string, Set<Hash>>()
  readonly #oracle: Facts

  constructor(oracle: Facts) {
    this.#oracle = oracle
  }

  // the log -----------------------------------------------------------------------------------------------------------

  appended(hash: Hash): void {
    for (const dep of this.#depsOf(hash)) {
      const unread = [...this.#unread.values()].filter((hashes) => hashes.has(dep))
      if (!this.#whole.has(dep) && unread.length === 0) this.#fail("appended to the log", hash, dep)
      for (const hashes of unread) hashes.add(hash)
    }
    this.#take(hash)
  }

  /** What the log holds now, in its order. */
  logIs(hashes: readonly Hash[]): void {
    this.#whole = new Set()
    for (const hash of hashes) this.#take(hash)
  }

  #take(hash: Hash): void {
    if (this.#depsOf(hash).every((dep) => this.#whole.has(dep))) this.#whole.add(hash)
    else this.#orphans.add(hash)
  }

  /** This segment was damaged behind the relay's back; without that the log would now hold what it is given, in its order. */
  harmed(segment: number, undamaged: readonly Hash[]): void {
    const whole = new Set<Hash>()
    for (const hash of undamaged) if (this.#depsOf(hash).every((dep) => whole.has(dep))) whole.add(hash)
    const unread = [...whole].filter((hash) => !this.#whole.has(hash))
    this.#unread.set(segment, new Set([...(this.#unread.get(segment) ?? []), ...unread]))
  }

  /** These files are those of the log. */
  copied(files: object): void {
    this.#copies.set(files, copyOf(this.#unread))
  }

  /** They have taken the place of the log's. A copy that was changed on its way has what the log has now. */
  restored(files: object): void {
    const unread = this.#copies.get(files)
    if (unread) this.#unread = copyOf(unread)
  }

  /** Was damaged where nobody has read since. */
  isUnread(hash: Hash): boolean {
    return [...this.#unread.values()].some((hashes) => hashes.has(hash))
  }

  /** The log has served it without all that it rests on: nobody took it for known, so it was brought again. */
  wasOrphan(hash: Hash): boolean {
    return this.#orphans.has(hash)
  }

  /** The relay has read this segment and said what it lacks. */
  harmFound(segment: number): void {
    this.#unread.delete(segment)
  }

  // the wire and the devices --------------------------------------------------------------------------------------------

  /** A connection brings a change to a device: what it rests on is there, or was sent before it. */
  served(connection: number, device: Device, hash: Hash): void {
    const sent = this.#sent.get(connection) ?? new Set()
    this.#sent.set(connection, sent.add(hash))
    if (this.#orphans.has(hash)) return
    for (const dep of this.#depsOf(hash))
      if (!sent.has(dep) && !this.#isOn(device, dep)) this.#fail(`served to ${device.name}`, hash, dep)
  }

  /** A device has committed a change. */
  committed(device: Device, hash: Hash): void {
    if (this.#orphans.has(hash)) return
    for (const dep of this.#depsOf(hash)) if (!this.#isOn(device, dep)) this.#fail(`saved on ${device.name}`, hash, dep)
  }

  /** A device shows what a change has done: all that this rests on is there, without exception. */
  shown(device: Device, hash: Hash): void {
    const closed = this.#closed.get(device.name) ?? new Set()
    this.#closed.set(device.name, closed)
    const held = this.#oracle.held(device.name)
    const seen = new Set<Hash>()
    const open = [hash]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (closed.has(next) || seen.has(next)) continue
      if (!held.has(next)) return this.#fail(`shown on ${device.name}`, hash, next)
      seen.add(next)
      open.push(...this.#depsOf(next))
    }
    for (const one of seen) closed.add(one)
  }

  /** Something has left a device's disk. */
  dropped(device: string): void {
    this.#closed.delete(device)
  }

  #isOn(device: Device, hash: Hash): boolean {
    const { entity } = this.#oracle.changes.get(hash) ?? {}
    if (entity === undefined) return false
    return this.#oracle.held(device.name).has(hash) || device.has("rejected", entity, hash)
  }

  #depsOf(hash: Hash): readonly Hash[] {
    return this.#oracle.changes.get(hash)?.deps ?? []
  }

  #fail(what: string, hash: Hash, dep: Hash): void {
    const entity = this.#oracle.changes.get(hash)?.entity
    this.#oracle.fail("effect before its cause", `${entity} ${short(hash)} was ${what} without ${short(dep)}`)
  }
}

const copyOf = (unread: ReadonlyMap<number, Set<Hash>>) =>
  new Map([...unread].map(([segment, hashes]) => [segment, new Set(hashes)]))

const short = (hash: Hash): string => hash.slice(0, 8)
