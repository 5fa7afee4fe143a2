/**
 * A device's disk behind the library's `Store` contract. A commit takes effect at one moment and is reported at a later
 * one; a crash in between loses the report, and commits that have not taken effect are lost or not as the seed says, the
 * earlier ones first.
 */
import { HeadwaterError } from "../../src/errors.ts"
import type { Expect, Key, Store, Value, Write } from "../../src/store/store.ts"
import { draw, type Lane, type Latency, type Process, type Scheduler } from "./clock.ts"
import type { Random } from "./random.ts"

export type Records = Map<string, readonly [Key, Value]>

interface Commit {
  readonly writes: readonly Write[]
  readonly expect: readonly Expect[]
  readonly fail: boolean
  readonly process: Process
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

/** A part is printable, so a separator below U+0020 keeps the order of IndexedDB's array keys. */
const flat = (key: Key): string => key.join("\u0001")

export class Device {
  readonly name: string
  records: Records = new Map()
  /** Commits that have taken effect, and that were refused. */
  commits = 0
  failures = 0
  /** Called when one is asked for, whatever becomes of it. */
  onAsked: (writes: readonly Write[]) => void = () => {}
  /** Called when one has taken effect. */
  onCommit: (writes: readonly Write[]) => void = () => {}
  readonly lane: Lane
  readonly #reports: Lane
  readonly #scheduler: Scheduler
  readonly #latency: Latency
  readonly #random: Random
  #claims = new Set<string>()
  #waiting: Commit[] = []
  #failing = 0

  constructor(scheduler: Scheduler, name: string, latency: Latency) {
    this.#scheduler = scheduler
    this.name = name
    this.#latency = latency
    this.#random = scheduler.random(`device ${name}`)
    this.lane = scheduler.lane(`${name} commit`, latency)
    this.#reports = scheduler.lane(`${name} commit report`, latency)
  }

  /** The next `n` commits fail; 0: the disk is well again. */
  failCommits(n: number): void {
    this.#failing = n
  }

  /** The power goes: what has not taken effect may still, the earlier commits first. */
  crash(): void {
    const keep = this.#random.below(this.#waiting.length + 1)
    for (const commit of this.#waiting.slice(0, keep)) if (!commit.fail) this.#apply(commit)
    this.#waiting = []
    this.#claims = new Set()
    this.#failing = 0
    this.lane.clear()
    this.#reports.clear()
  }

  /** Whether the library's store of the one workspace has this record. */
  has(kind: string, entity: string, hash?: string): boolean {
    return this.records.has(flat(["w", kind, entity, ...(hash ? [hash] : [])]))
  }

  /** The changes that it has set aside as refused. */
  rejected(): string[] {
    return [...this.records.values()].filter(([key]) => key[1] === "rejected").map(([key]) => key[3]!)
  }

  backup(): Records {
    return new Map(this.records)
  }

  restore(records: Records): void {
    this.records = new Map(records)
  }

  /** The store as one life of the program sees it. */
  open(process: Process): Store {
    return {
      claim: (workspace) =>
        this.#take(process, `claim ${workspace}`, () => {
          if (this.#claims.has(workspace)) throw new HeadwaterError("STORE_IN_USE", `${workspace} is open elsewhere`)
          this.#claims.add(workspace)
          return () => this.#take(process, `release ${workspace}`, () => void this.#claims.delete(workspace))
        }),
      get: (key) => this.#take(process, `get ${key.join("/")}`, () => own(this.records.get(flat(key))?.[1])),
      list: (prefix, options) => this.#take(process, `list ${prefix.join("/")}`, () => this.#list(prefix, options)),
      commit: (writes, options) => this.#commit(process, writes, options?.expect ?? []),
    }
  }

  /** Reads wait for nothing and nothing waits for them. */
  #take<T>(process: Process, label: string, f: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!process.alive) return
      this.#scheduler.after(
        draw(this.#random, this.#latency),
        `${this.name} ${label}`,
        () => settle(f, resolve, reject),
        process,
      )
    })
  }

  #list(
    prefix: Key,
    { after, limit = Infinity }: { readonly after?: Key; readonly limit?: number } = {},
  ): [Key, Value][] {
    const start = `${flat(prefix)}\u0001`
    const names = [...this.records.keys()].filter((name) => name.startsWith(start) && (!after || name > flat(after)))
    return names
      .sort()
      .slice(0, limit)
      .map((name) => {
        const [key, value] = this.records.get(name)!
        return [key, own(value)]
      })
  }

  #commit(process: Process, writes: readonly Write[], expect: readonly Expect[]): Promise<void> {
    return new Promise((done, failed) => {
      if (!process.alive) return
      this.onAsked(writes)
      const fail = this.#failing > 0
      if (fail) this.#failing--
      const commit = { writes: writes.map(copy), expect, fail, process, done, failed }
      this.#waiting.push(commit)
      this.lane.push(fail ? "fails" : `${writes.length}`, () => this.#settle(commit), process)
    })
  }

  #settle(commit: Commit): void {
    this.#waiting.shift()
    const { process, done, failed } = commit
    let error: unknown
    if (commit.fail) this.failures++
    // Nobody can say of a disk that has failed whether it has written all the same.
    if (commit.fail && this.#random.chance(0.3)) this.#apply(commit)
    if (commit.fail) error = new HeadwaterError("STORE_FAILED", "the simulated disk said no")
    else if (!this.#holds(commit.expect)) error = new HeadwaterError("STORE_MOVED", "a key holds something else")
    else this.#apply(commit)
    const report = error === undefined ? done : () => failed(error)
    this.#reports.push(error ? "failed" : "done", report, process)
  }

  #apply({ writes }: Commit): void {
    for (const [key, value] of writes) {
      if (value === undefined) this.records.delete(flat(key))
      else this.records.set(flat(key), [key, value])
    }
    this.commits++
    this.onCommit(writes)
  }

  #holds(expect: readonly Expect[]): boolean {
    return expect.every(([key, value]) => same(this.records.get(flat(key))?.[1], value))
  }
}

function settle<T>(f: () => T, resolve: (value: T) => void, reject: (error: unknown) => void): void {
  let value: T
  try {
    value = f()
  } catch (error) {
    reject(error)
    return
  }
  resolve(value)
}

/** Neither side may change what the other holds. */
const own = <V extends Value | undefined>(value: V): V => (value instanceof Uint8Array ? (value.slice() as V) : value)
const copy = ([key, value]: Write): Write => [[...key], own(value)]

const same = (a: Value | undefined, b: Value | undefined): boolean =>
  a instanceof Uint8Array && b instanceof Uint8Array
    ? a.length === b.length && a.every((byte, i) => byte === b[i])
    : a === b
