/**
 * No effect before its cause: in the log, on the wire, on a device and on a screen a change comes after all changes
 * that it depends on. The one exception is a log that has lost changes. A change that depends on a lost one is an
 * orphan: it stays in the log and is served, but does not count as known until a replica has pushed the missing changes
 * again.
 */
import type { Hash } from "../../../src/wire/protocol.ts"

/** The part of the oracle that this file uses. */
interface Facts {
  readonly changes: ReadonlyMap<Hash, { readonly deps: readonly Hash[]; readonly entity: string }>
  readonly devices: { counts(device: Device, hash: Hash): boolean }
  fail(kind: string, message: string): void
}

interface Device {
  readonly name: string
  has(kind: string, entity: string, hash?: string): boolean
}

export class Causes {
  /** Changes that are in the relay's log together with all of their ancestors. */
  #whole = new Set<Hash>()
  /** Changes that were in the log at some time while an ancestor of theirs was missing there. */
  readonly #orphans = new Set<Hash>()
  /**
   * For each damaged segment that the relay has not read since the damage: the changes that the log has lost by it. The
   * relay may still take these changes for known.
   */
  #unread = new Map<number, Set<Hash>>()
  /** `#unread` at the time of each copy of the relay's files. A copy that is put back brings its damage back. */
  readonly #copies = new WeakMap<object, ReadonlyMap<number, Set<Hash>>>()
  /** For each connection: the changes that were sent to its client. */
  readonly #sent = new Map<number, Set<Hash>>()
  /** For each device: the changes that it holds together with all of their ancestors. */
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

  /** Call it with all changes of the log, in the order of the log. */
  logIs(hashes: readonly Hash[]): void {
    this.#whole = new Set()
    for (const hash of hashes) this.#take(hash)
  }

  #take(hash: Hash): void {
    if (this.#depsOf(hash).every((dep) => this.#whole.has(dep))) this.#whole.add(hash)
    else this.#orphans.add(hash)
  }

  /**
   * Call it when this segment was damaged while the relay was down. `undamaged` are the changes that the log would now
   * have without that damage, in the order of the log.
   */
  harmed(segment: number, undamaged: readonly Hash[]): void {
    const whole = new Set<Hash>()
    for (const hash of undamaged) if (this.#depsOf(hash).every((dep) => whole.has(dep))) whole.add(hash)
    const unread = [...whole].filter((hash) => !this.#whole.has(hash))
    this.#unread.set(segment, new Set([...(this.#unread.get(segment) ?? []), ...unread]))
  }

  /** Call it when a copy of the log's files was made. */
  copied(files: object): void {
    this.#copies.set(files, copyOf(this.#unread))
  }

  /**
   * Call it when a copy of the files has replaced the log's files. A copy that `harmRelay` has altered is not in
   * `#copies`: `#unread` then stays as it is, and `harmed` adds the new damage.
   */
  restored(files: object): void {
    const unread = this.#copies.get(files)
    if (unread) this.#unread = copyOf(unread)
  }

  /** Whether this change was damaged in a segment that the relay has not read since. */
  isUnread(hash: Hash): boolean {
    return [...this.#unread.values()].some((hashes) => hashes.has(hash))
  }

  /** Whether this change was ever an orphan. It did not count as known then, so the log may have it twice. */
  wasOrphan(hash: Hash): boolean {
    return this.#orphans.has(hash)
  }

  /** Call it when the relay has read this segment and reported what the segment lacks. */
  harmFound(segment: number): void {
    this.#unread.delete(segment)
  }

  // the wire and the devices ------------------------------------------------------------------------------------------

  /**
   * Call it when the relay sends a change to a device. All changes on which it depends must be on the device, or have
   * been sent before it on this connection.
   */
  served(connection: number, device: Device, hash: Hash): void {
    const sent = this.#sent.get(connection) ?? new Set()
    this.#sent.set(connection, sent.add(hash))
    if (this.#orphans.has(hash)) return
    for (const dep of this.#depsOf(hash))
      if (!sent.has(dep) && !this.#isOn(device, dep)) this.#fail(`served to ${device.name}`, hash, dep)
  }

  /** Call it when a device has committed a change. */
  committed(device: Device, hash: Hash): void {
    if (this.#orphans.has(hash)) return
    for (const dep of this.#depsOf(hash)) if (!this.#isOn(device, dep)) this.#fail(`saved on ${device.name}`, hash, dep)
  }

  /**
   * Call it when a row of a device shows the effect of a change. All ancestors of that change must be on the device;
   * orphans are no exception.
   */
  shown(device: Device, hash: Hash): void {
    const closed = this.#closed.get(device.name) ?? new Set()
    this.#closed.set(device.name, closed)
    const seen = new Set<Hash>()
    const open = [hash]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      if (closed.has(next) || seen.has(next)) continue
      if (!this.#oracle.devices.counts(device, next)) return this.#fail(`shown on ${device.name}`, hash, next)
      seen.add(next)
      open.push(...this.#depsOf(next))
    }
    for (const one of seen) closed.add(one)
  }

  /** Call it when a device has lost a change: its ancestors are then checked again. */
  dropped(device: string): void {
    this.#closed.delete(device)
  }

  #isOn(device: Device, hash: Hash): boolean {
    const { entity } = this.#oracle.changes.get(hash) ?? {}
    if (entity === undefined) return false
    return this.#oracle.devices.counts(device, hash) || device.has("rejected", entity, hash)
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
