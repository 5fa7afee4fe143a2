/** A workspace at the relay: its log, the live end of it, and the streams that follow it. */
import { HeadwaterError } from "../../src/base/errors.ts"
import { type Cursor, type Entry, position } from "../../src/wire/protocol.ts"
import type { AppendedChange, Log, Logs } from "../log/contract.ts"
import { Numbers } from "./heal-marks.ts"
import { type Live, Ring, Window } from "./recent-entries.ts"

/** Bytes of live items in one frame; one item may be bigger. */
const FRAME = 2 ** 20

export interface Follower {
  /** More entries are durable. */
  flushed(): void
  /** Flushed entries were lost: no place is what it was. */
  broke(): void
}

/** The end of a log, as long as nothing of it is lost. Nobody else appends within a turn. */
export interface Ground {
  readonly appended: number
  readonly breaks: number
}

/** All that follows a place, up to the flushed end. */
export interface Batch {
  readonly from: number
  readonly end: number
  readonly to: Cursor
  readonly live: readonly Live[]
  /** Those that pushed some of it. */
  readonly sessions: ReadonlySet<number>
  /** Bytes of its items. */
  readonly size: number
  /** Its frame for whoever pushed none of it and stands in no need of first fields. Made once, sent to all. */
  frame?: Uint8Array
}

/** The workspaces of one relay that somebody is connected to. */
export class Workspaces {
  readonly #logs: Logs
  readonly #ring: Ring
  readonly #open = new Map<string, Workspace>()

  constructor(logs: Logs, options: { readonly ring?: number } = {}) {
    this.#logs = logs
    this.#ring = new Ring(options.ring ?? 8 * 2 ** 20)
  }

  /** Whoever enters a workspace leaves it some day. */
  enter(id: string): Workspace {
    let workspace = this.#open.get(id)
    if (!workspace) this.#open.set(id, (workspace = new Workspace(id, this.#logs.open(id), this.#ring)))
    workspace.visitors++
    return workspace
  }

  async leave(workspace: Workspace): Promise<void> {
    workspace.visitors--
    if (workspace.visitors > 0) return
    this.#open.delete(workspace.id)
    await workspace.close()
  }
}

export class Workspace {
  readonly id: string
  readonly followers = new Set<Follower>()
  visitors = 0
  /** What the heals that run now call the entities they have compared. */
  readonly numbers = new Numbers()
  readonly #ring: Ring
  #log: Log | undefined
  #failure: unknown
  #window: Window | undefined
  #batch: Batch | undefined
  #end: { readonly cursor: Cursor; readonly place: number } | undefined
  #breaks = 0
  #last: Promise<unknown>
  #subscriptions: (() => void)[] = []

  constructor(id: string, log: Promise<Log>, ring: Ring) {
    this.id = id
    this.#ring = ring
    this.#last = log.then(
      (opened) => this.#opened(opened),
      (failure) => {
        this.#failure = failure
      },
    )
  }

  /**
   * Does one thing at a time, in the order of the calls, so that no append comes between a push's look-ups and its own.
   * Rejects when the log cannot be opened, and with whatever the job rejects with.
   */
  turn<T>(job: (log: Log) => T | Promise<T>): Promise<T> {
    const result = this.#last.then(() => job(this.log))
    this.#last = result.catch(() => {})
    return result
  }

  get log(): Log {
    if (this.#log) return this.#log
    throw new HeadwaterError("LOG_FAILED", `the log of workspace ${this.id} is not open`, { cause: this.#failure })
  }

  /** What look-ups from here on will rest on. */
  ground(): Ground {
    return { appended: this.log.appended, breaks: this.#breaks }
  }

  /** `LOG_FAILED` when something that was looked up since then may have been lost: a failed flush, a damaged record. */
  holdsOn(ground: Ground): void {
    if (ground.appended === this.log.appended && ground.breaks === this.#breaks) return
    throw new HeadwaterError("LOG_FAILED", `the log of workspace ${this.id} was cut back while a push was looked up`)
  }

  /** The flushed end: asked for by every follower after every flush. */
  get end(): { readonly cursor: Cursor; readonly place: number } {
    const cursor = this.log.end
    if (this.#end?.cursor !== cursor) this.#end = { cursor, place: position(cursor) }
    return this.#end
  }

  /** Appends within a turn; returns the place after the entry. */
  append(entry: Entry, changes: readonly AppendedChange[], live: Live): number {
    const before = this.log.appended
    const place = this.log.append(entry, changes, live.bytes)
    this.#window!.add(before, place, live)
    return place
  }

  /** The live entry before this place. */
  live(place: number): Live | undefined {
    return this.#window?.at(place)
  }

  /** Undefined where that is not all live any more, or too much for one frame. */
  batch(from: number): Batch | undefined {
    const { cursor: to, place: end } = this.end
    if (this.#batch?.from === from && this.#batch.end === end) return this.#batch
    if (!this.#window?.covers(from)) return undefined
    const live: Live[] = []
    const sessions = new Set<number>()
    let size = 0
    for (let place = from + 1; place <= end; place++) {
      const item = this.#window.at(place)!
      live.push(item)
      sessions.add(item.session)
      size += item.bytes.length
      if (size > FRAME && live.length > 1) return undefined
    }
    this.#batch = { from, end, to, live, sessions, size }
    return this.#batch
  }

  async close(): Promise<void> {
    for (const unsubscribe of this.#subscriptions) unsubscribe()
    this.#window?.clear()
    await this.#log?.close()
  }

  #opened(log: Log): void {
    const window = new Window(this.#ring, log.appended)
    this.#log = log
    this.#window = window
    this.#subscriptions = [
      log.onFlush(() => {
        for (const follower of this.followers) follower.flushed()
      }),
      log.onBreak(() => {
        this.#breaks++
        window.clear()
        this.#batch = undefined
        for (const follower of this.followers) follower.broke()
      }),
    ]
  }
}
