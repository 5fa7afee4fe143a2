/** The relay's log, change by change: what was appended, what is still there, and what may be missing. */
import { type Cursor, type Entry, type Hash, position } from "../../../src/wire/protocol.ts"
import { type Logged, short } from "./facts.ts"
import type { Oracle } from "./oracle.ts"

export interface Place {
  readonly position: number
  readonly entity: string
  readonly hash: Hash
}

/** A change in the log at some moment. `losses`: how often the log had lost the change by that moment. */
export interface Stored extends Place {
  readonly losses: number
}

export class RelayLog {
  readonly #oracle: Oracle
  /** The changes in the log, flushed or not, in the order in which they were appended. */
  #places: Place[] = []
  /** Changes that the relay has acknowledged, without those that the run has taken from its disk since. */
  readonly #acknowledged = new Set<Hash>()
  /** Changes that were in the log at some time, flushed or not. */
  readonly #appended = new Set<Hash>()
  /** How often the log has lost a change. */
  readonly #losses = new Map<Hash, number>()
  /** For each cursor that the relay has given out: the changes at or before it. */
  readonly #before = new Map<string, readonly Place[]>()

  constructor(oracle: Oracle) {
    this.#oracle = oracle
  }

  has(hash: Hash): boolean {
    return this.#places.some((place) => place.hash === hash)
  }

  /** Whether this change was in the log at some time. */
  hadEver(hash: Hash): boolean {
    return this.#appended.has(hash)
  }

  /** The changes that are in the log and flushed. */
  flushed(): readonly Stored[] {
    const flushed = this.#places.filter(({ hash }) => this.#oracle.onDiskNow(hash))
    return flushed.map((place) => ({ ...place, losses: this.losses(place.hash) }))
  }

  /** How often the log has lost this change. */
  losses(hash: Hash): number {
    return this.#losses.get(hash) ?? 0
  }

  /** The changes at or before a cursor; undefined when the relay never gave out this cursor. */
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

  /**
   * Checks the principal that an entry names. An adopted change must have been in the log before. Any other change must
   * name its author. A derived change has no author, so it is not checked.
   */
  #checkAuthor(entry: Entry, hash: Hash): void {
    if (this.#oracle.changes.get(hash)!.derived) return
    const author = this.#oracle.devices.authorOf(hash)
    const what = `${entry.entity} ${short(hash)}`
    if (entry.adopted) {
      // If the outbox record of a change is lost, its author is not known any more. Then the change is adopted although
      // it was in no log.
      if (!this.hadEver(hash) && !this.#oracle.devices.anyForgot(hash))
        this.#oracle.fail("adopted for no reason", `${what} was in no log before`)
    } else if (author !== undefined && author !== entry.by)
      this.#oracle.fail("wrong author", `${what} of ${author} was taken as ${entry.by}'s`)
  }

  acknowledged(hash: Hash): void {
    this.#acknowledged.add(hash)
  }

  /** Call it when a flush failed: entries behind this position are not in the log any more. */
  rolledBack(to: number): void {
    this.#set(this.#places.filter(({ position }) => position <= to))
  }

  /** Call it when the relay starts again, after a crash or on an older copy of its disk. */
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

  /**
   * Call it when a byte of this segment was altered while the relay was down. `log`: the entries that the relay would
   * read from the unaltered files.
   */
  harmed(segment: number, log: readonly Logged[]): void {
    const places = log.flatMap((logged) => this.#placesOf(logged))
    this.#oracle.causes.harmed(
      segment,
      places.map(({ hash }) => hash),
    )
  }

  /**
   * Call it when the relay sends this cursor. If the log has lost entries, the relay may give out a cursor again that
   * it gave before the loss. The cursor then promises only the entries that are left, because the relay does not know
   * of the lost ones.
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
    const there = new Set(places.map(({ hash }) => hash))
    for (const { hash } of this.#places) if (!there.has(hash)) this.#losses.set(hash, this.losses(hash) + 1)
    this.#places = places
    this.#oracle.causes.logIs(places.map(({ hash }) => hash))
  }

  #placesOf({ position, entry: { entity, chunks } }: Logged): Place[] {
    return chunks.map((chunk) => ({ position, entity, hash: this.#oracle.learn(entity, chunk).hash }))
  }
}
