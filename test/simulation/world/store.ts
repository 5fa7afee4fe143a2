/**
 * A device's disk behind the library's `Store` contract. A commit takes effect at one moment and is reported at a later
 * one, and a crash in between loses the report. Of the commits that have not taken effect at a crash, the seed decides
 * how many still do, earlier ones first.
 */
import { HeadwaterError } from "../../../src/base/errors.ts"
import { copyOf, decodeKey, encodeKey, type Range, rangeOf, sameValue } from "../../../src/store/key.ts"
import { opening } from "../../../src/store/opening.ts"
import type { Expect, Key, Store, Value, Write } from "../../../src/store/store.ts"
import { draw, type Lane, type Latency, type Process, type Scheduler } from "./clock.ts"
import type { Random } from "./random.ts"

/**
 * `harmed`: the disk has damaged this record. A copy of the record is damaged too. `lost`: the hashes of the changes
 * that cannot be read any more, if the record is a page of a history.
 */
export type Records = Map<string, readonly [key: Key, value: Value, harmed?: true, lost?: readonly string[]]>

/** The workspace that the property checks. */
export const WORKSPACE = "w"
/** A second workspace on the same store. It keeps the shared socket open. */
export const HOME = "home"

interface Commit {
  readonly writes: readonly Write[]
  /** Whether it is a commit of the workspace that the property checks. */
  readonly ours: boolean
  readonly expect: readonly Expect[]
  readonly fail: boolean
  readonly process: Process
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

export class Device {
  readonly name: string
  records: Records = new Map()
  /** Number of commits that failed. */
  failures = 0
  /** Number of reads that failed. */
  readFailures = 0
  /** How many of the failed commits were reported to the program. */
  failuresTold = 0
  /** Number of commits of the checked workspace that were asked for. */
  asked = 0
  /** Called when a commit of the checked workspace is asked for, whether it succeeds or not. */
  onAsked: (writes: readonly Write[]) => void = () => {}
  /** Called when a commit of the checked workspace has taken effect. */
  onCommit: (writes: readonly Write[]) => void = () => {}
  /** Called when records of the checked workspace are listed. */
  onList: (prefix: Key) => void = () => {}
  readonly lane: Lane
  /** By how much longer than usual the next commit takes, simulated ms. */
  nextCommitMs = 0
  readonly #reports: Lane
  readonly #scheduler: Scheduler
  readonly #latency: Latency
  readonly #random: Random
  #locks = new Set<string>()
  #waiting: Commit[] = []
  #failing = 0
  /** Reads of the checked workspace fail until this time. */
  #unreadableUntil = 0
  /** Whether no commit has succeeded since one failed. The program's memory may be older than the disk then. */
  #unsure = false

  constructor(scheduler: Scheduler, name: string, latency: Latency) {
    this.#scheduler = scheduler
    this.name = name
    this.#latency = latency
    this.#random = scheduler.random(`device ${name}`)
    this.lane = scheduler.lane(`${name} commit`, latency)
    this.#reports = scheduler.lane(`${name} commit report`, latency)
  }

  /**
   * Makes the next `n` commits of the checked workspace fail; 0: none. Commits of the second workspace never fail. The
   * oracle would take their failures for the reason why edits of the checked workspace failed.
   */
  failCommits(n: number): void {
    this.#failing = n
  }

  /** Makes reads of the checked workspace fail for `ms`; 0: not any longer. */
  failReads(ms: number): void {
    this.#unreadableUntil = this.#scheduler.now + ms
  }

  /** Damages a record. */
  harm(key: Key, value: Value, lost: readonly string[] = []): void {
    this.records.set(encodeKey(key), [key, value, true, [...this.harmedIn(key), ...lost]])
  }

  /** The hashes of the changes that damage has taken from a page of a history. */
  harmedIn(key: Key): readonly string[] {
    return this.records.get(encodeKey(key))?.[3] ?? []
  }

  /** Whether this record is damaged and was not written again since. */
  isHarmed(key: Key): boolean {
    return this.records.get(encodeKey(key))?.[2] === true
  }

  /** The power fails. Of the commits that have not taken effect some still do, earlier ones first. */
  crash(): void {
    const keep = this.#random.below(this.#waiting.length + 1)
    for (const commit of this.#waiting.slice(0, keep)) if (!commit.fail) this.#apply(commit)
    this.#waiting = []
    this.#locks = new Set()
    this.#failing = 0
    this.#unsure = false
    this.failuresTold = this.failures
    this.lane.clear()
    this.#reports.clear()
  }

  /** Whether the program knows what is on the disk and waits for no commit. */
  get quiet(): boolean {
    return this.lane.length === 0 && this.#reports.length === 0 && !this.#unsure
  }

  /** Whether the checked workspace has this record. */
  has(kind: string, entity: string, hash?: string): boolean {
    return this.records.has(encodeKey([WORKSPACE, kind, entity, ...(hash ? [hash] : [])]))
  }

  /** The changes on its rejected list. */
  rejected(): string[] {
    return this.ours.filter(([key]) => key[1] === "rejected").map(([key]) => key[3]!)
  }

  get ours(): (readonly [Key, Value, ...unknown[]])[] {
    return [...this.records.values()].filter(isOurs)
  }

  backup(): Records {
    return new Map(this.records)
  }

  restore(records: Records): void {
    this.records = new Map(records)
  }

  /** The store as this process uses it. */
  open(process: Process): Store {
    const { claim, run } = opening({
      open: () => this.#take(process, "open", () => {}),
      close: () => this.#take(process, "close", () => {}),
      lock: (workspace) => this.#lock(process, workspace),
    })
    return {
      claim,
      get: (key) =>
        run("get", async () => {
          const name = encodeKey(key)
          return this.#read(process, `get ${key.join("/")}`, key, () => copyOf(this.records.get(name)?.[1]))
        }),
      list: (prefix, { after, limit = Infinity } = {}) =>
        run("list", async () => {
          const range = rangeOf(prefix, after)
          if (prefix[0] === WORKSPACE) this.onList(prefix)
          return this.#read(process, `list ${prefix.join("/")}`, prefix, () => this.#list(range, limit))
        }),
      commit: (writes, { expect = [] } = {}) =>
        run("commit", () => {
          const batch = writes.map(([key, value]) => [decodeKey(encodeKey(key)), copyOf(value)] as const)
          return this.#commit(process, batch, expect)
        }),
    }
  }

  async #lock(process: Process, workspace: string): Promise<() => Promise<void>> {
    await this.#take(process, `lock ${workspace}`, () => {
      if (this.#locks.has(workspace)) throw new HeadwaterError("STORE_IN_USE", `${workspace} is open elsewhere`)
      this.#locks.add(workspace)
    })
    return () => this.#take(process, `unlock ${workspace}`, () => void this.#locks.delete(workspace))
  }

  #read<T>(process: Process, label: string, [workspace]: Key, f: () => T): Promise<T> {
    return this.#take(process, label, () => {
      if (workspace !== WORKSPACE || this.#scheduler.now >= this.#unreadableUntil) return f()
      this.readFailures++
      throw new Error("the simulated disk cannot be read")
    })
  }

  /** Reads keep no order with commits or with each other. */
  #take<T>(process: Process, label: string, f: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!process.alive) return
      const event = () => settle(f, resolve, reject)
      this.#scheduler.after(draw(this.#random, this.#latency), `${this.name} ${label}`, event, process)
    })
  }

  #list({ gt, gte = "", lt }: Range, limit: number): [Key, Value][] {
    const names = [...this.records.keys()].filter((name) => name < lt && (gt === undefined ? name >= gte : name > gt))
    return names
      .sort()
      .slice(0, limit)
      .map((name) => [decodeKey(name), copyOf(this.records.get(name)![1])!])
  }

  #commit(process: Process, writes: readonly Write[], expect: readonly Expect[]): Promise<void> {
    return new Promise((done, failed) => {
      if (!process.alive) return
      const ours = writes.some(isOurs)
      if (ours) {
        this.asked++
        this.onAsked(writes)
      }
      const fail = ours && this.#failing > 0
      if (fail) this.#failing--
      const commit = { writes, ours, expect, fail, process, done, failed }
      this.#waiting.push(commit)
      this.lane.push(fail ? "fails" : `${writes.length}`, () => this.#settle(commit), process, this.nextCommitMs)
      this.nextCommitMs = 0
    })
  }

  #settle(commit: Commit): void {
    this.#waiting.shift()
    const { process, done, failed } = commit
    let error: unknown
    if (commit.fail) this.failures++
    if (commit.ours) this.#unsure = commit.fail
    const { failures } = this
    // A disk that reports a failure may have written all the same.
    if (commit.fail && this.#random.chance(0.3)) this.#apply(commit)
    if (commit.fail) error = new HeadwaterError("STORE_FAILED", "the simulated disk said no")
    else if (!this.#holds(commit.expect)) error = new HeadwaterError("STORE_MOVED", "a key holds something else")
    else this.#apply(commit)
    const report = () => {
      this.failuresTold = failures
      if (error === undefined) done()
      else failed(error)
    }
    this.#reports.push(error ? "failed" : "done", report, process)
  }

  #apply({ writes, ours }: Commit): void {
    for (const [key, value] of writes) {
      if (value === undefined) this.records.delete(encodeKey(key))
      else this.records.set(encodeKey(key), [key, value])
    }
    if (ours) this.onCommit(writes)
  }

  #holds(expect: readonly Expect[]): boolean {
    return expect.every(([key, value]) => sameValue(this.records.get(encodeKey(key))?.[1], value))
  }
}

const isOurs = ([[workspace]]: readonly [Key, ...unknown[]]): boolean => workspace === WORKSPACE

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
