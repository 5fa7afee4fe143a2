/** The relay's log, change by change: what was appended, what is still there, what may be missing. */
import { type Cursor, type Entry, type Hash, position } from "../../../src/wire/protocol.ts"
import { type Logged, short } from "./facts.ts"
import type { Oracle } from "./oracle.ts"

export interface Place {
  readonly position: number
  readonly entity: string
  readonly hash: Hash
}

export class RelayLog {
  readonly #oracle: Oracle
  /** As appended, flushed or not. */
  #places: Place[] = []
  /** What the relay has acknowledged, and nobody has taken from it since. */
  readonly #acknowledged = new Set<Hash>()
  /** Was in the log at some time, flushed or not. */
  readonly #appended = new Set<Hash>()
  /** What lies at or before a cursor that the relay has given out. */
  readonly #before = new Map<string, readonly Place[]>()

  constructor(oracle: Oracle) {
    this.#oracle = oracle
  }

  has(hash: Hash): boolean {
    return this.#places.some((place) => place.hash === hash)
  }

  /** It was in the log at some time. */
  hadEver(hash: Hash): boolean {
    return this.#appended.has(hash)
  }

  /** What is in the log and on the disk now. */
  flushed(): readonly Place[] {
    return this.#places.filter(({ hash }) => this.#oracle.onDiskNow(hash))
  }

  /** What lies at or before a cursor; undefined when the relay has never given it out. */
  before(cursor: string): readonly Place[] | undefined {
    return this.#before.get(cursor)
  }

  appended(at: number, entry: Entry): void {
    for (const place of this.#placesOf({ position: at, entry })) {
      this.#places.push(place)
      this.#oracle.causes.appended(place.hash)
      this.#checkAuthor(entry, place.hash)
      this.#appended.add(place.hash)
    }
  }

  /** A derived change is nobody's. What somebody adopts was in the log before; everything else carries its author's name. */
  #checkAuthor(entry: Entry, hash: Hash): void {
    if (this.#oracle.changes.get(hash)!.derived) return
    const author = this.#oracle.devices.authorOf(hash)
    const what = `${entry.entity} ${short(hash)}`
    if (entry.adopted) {
      // Where the record that it is owed is lost, nobody knows any more whose it is.
      if (!this.hadEver(hash) && !this.#oracle.devices.anyForgot(hash))
        this.#oracle.fail("adopted for no reason", `${what} was in no log before`)
    } else if (author !== undefined && author !== entry.by)
      this.#oracle.fail("wrong author", `${what} of ${author} was taken as ${entry.by}'s`)
  }

  acknowledged(hash: Hash): void {
    this.#acknowledged.add(hash)
  }

  /** The disk failed: what was appended behind this place never was. */
  rolledBack(to: number): void {
    this.#set(this.#places.filter(({ position }) => position <= to))
  }

  /** The relay's disk after a crash, or an older copy of it. */
  restarted(log: readonly Logged[], older: boolean): void {
    this.#set(log.flatMap((logged) => this.#placesOf(logged)))
    const there = new Set(this.#places.map(({ hash }) => hash))
    for (const hash of there) this.#appended.add(hash)
    for (const hash of this.#acknowledged) {
      if (there.has(hash)) continue
      this.#acknowledged.delete(hash)
      if (!older) this.#oracle.fail("acknowledged and lost", short(hash))
    }
  }

  /** A byte of this segment was changed behind the relay's back; the log is what its disk would have given without that. */
  harmed(segment: number, log: readonly Logged[]): void {
    const places = log.flatMap((logged) => this.#placesOf(logged))
    this.#oracle.causes.harmed(
      segment,
      places.map(({ hash }) => hash),
    )
  }

  /**
   * The relay tells somebody this place. In a log that has lost something the places before its new end have the names
   * that they had: such a cursor stands for what is left, and the relay knows it no more.
   */
  gaveOut(cursor: Cursor): void {
    const name = Buffer.from(cursor).toString("hex")
    const at = position(cursor)
    const left = this.#places.filter((place) => place.position <= at)
    const before = this.#before.get(name) ?? left
    const still = new Set(left.map(({ hash }) => hash))
    this.#before.set(
      name,
      before.filter(({ hash }) => still.has(hash)),
    )
  }

  #set(places: Place[]): void {
    this.#places = places
    this.#oracle.causes.logIs(places.map(({ hash }) => hash))
  }

  #placesOf({ position, entry: { entity, chunks } }: Logged): Place[] {
    return chunks.map((chunk) => ({ position, entity, hash: this.#oracle.learn(entity, chunk).hash }))
  }
}
