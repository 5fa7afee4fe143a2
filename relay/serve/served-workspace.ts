/**
 * A workspace that has connected replicas. Holds its log, the log's recent entries, and the streams that follow the
 * log.
 */
import { HeadwaterError } from "../../src/base/errors.ts"
import { type Cursor, type Entry, position as positionOf } from "../../src/wire/protocol.ts"
import type { AppendedChange, Log, Logs } from "../log/contract.ts"
import { DecodedFrame } from "./decoded-frame.ts"
import { EntityNumbers } from "./heal-marks.ts"
import { RecentBudget, RecentEntries, type RecentEntry } from "./recent-entries.ts"
import { type ServeSizes, usualServeSizes } from "./serve-sizes.ts"

export interface Follower {
  /** Called when more entries are flushed. */
  flushed(): void
  /** Called when flushed entries were lost. The log then holds none of the cursors that it gave before. */
  broke(): void
}

/** A version of the log. As long as the version stays equal, no entry was appended, rolled back or lost. */
export interface LogVersion {
  readonly appended: number
  readonly breaks: number
}

/**
 * All entries after a position, up to the flushed end, and one encoded frame of them for all followers at that
 * position.
 */
export interface SharedFrame {
  /** The position that the entries follow. */
  readonly from: number
  /** The flushed end, and its position. */
  readonly cursor: Cursor
  readonly position: number
  readonly entries: readonly RecentEntry[]
  /**
   * Bytes of the entries that each connection pushed itself, by the connection's id. A connection that pushed a quarter
   * of all bytes or more gets a frame of its own, with runs.
   */
  readonly pushed: ReadonlyMap<number, number>
  /** Bytes of the entries, which is the credit that the frame uses. */
  readonly bytes: number
  /** The encoded frame. Absent until the first follower needs it. */
  encoded?: Uint8Array
}

/** The workspaces of one relay that have connected replicas. */
export class ServedWorkspaces {
  /** The sizes for everything that serves these workspaces. */
  readonly sizes: ServeSizes
  readonly #logs: Logs
  readonly #budget: RecentBudget
  readonly #open = new Map<string, ServedWorkspace>()

  constructor(logs: Logs, sizes: Partial<ServeSizes> = {}) {
    this.sizes = { ...usualServeSizes, ...sizes }
    this.#logs = logs
    this.#budget = new RecentBudget(this.sizes.recentBytes)
  }

  /**
   * Opens the workspace unless it is open already. If its log could not be opened, opens the workspace again, for this
   * caller and later ones. Each call needs a call of `leave`.
   */
  enter(id: string): ServedWorkspace {
    let workspace = this.#open.get(id)
    if (!workspace || workspace.failed) {
      workspace = new ServedWorkspace(id, this.#logs.open(id), this.#budget, this.sizes.frameBytes)
      this.#open.set(id, workspace)
    }
    workspace.entered++
    return workspace
  }

  /** Leaves the workspace, and closes it when no connection is left in it. */
  async leave(workspace: ServedWorkspace): Promise<void> {
    workspace.entered--
    if (workspace.entered > 0) return
    if (this.#open.get(workspace.id) === workspace) this.#open.delete(workspace.id)
    await workspace.close()
  }
}

export class ServedWorkspace {
  readonly id: string
  readonly followers = new Set<Follower>()
  /** Number of connections that have entered and not left. */
  entered = 0
  /** Gives entities the numbers that all running heals of this workspace share (`HealMarks`). */
  readonly entityNumbers = new EntityNumbers()
  readonly #budget: RecentBudget
  readonly #frameBytes: number
  #log: Log | undefined
  /** Set when the log could not be opened. `cause`: the error. */
  #failure: { readonly cause: unknown } | undefined
  #recent: RecentEntries | undefined
  /**
   * The last shared frame. It is kept only while one flush is announced to the followers, so that idle workspaces keep
   * none.
   */
  #sharedFrame: SharedFrame | undefined
  #isFlushing = false
  #end: { readonly cursor: Cursor; readonly position: number } | undefined
  /** Number of times that flushed entries were lost. */
  #breaks = 0
  /** Resolves when the newest turn has ended. */
  #lastTurn: Promise<unknown>
  #unsubscribe: (() => void)[] = []

  constructor(id: string, log: Promise<Log>, budget: RecentBudget, frameBytes: number) {
    this.id = id
    this.#budget = budget
    this.#frameBytes = frameBytes
    this.#lastTurn = log.then(
      (opened) => this.#opened(opened),
      (cause) => {
        this.#failure = { cause }
      },
    )
  }

  /**
   * Runs one job at a time, in the order of the calls, so that no other push appends between a push's look-ups and its
   * append. Rejects when the log cannot be opened, or when the job rejects.
   */
  turn<T>(job: (log: Log) => T | Promise<T>): Promise<T> {
    const result = this.#lastTurn.then(() => job(this.log))
    this.#lastTurn = result.catch(() => {})
    return result
  }

  /** Whether the log could not be opened. To try again, call `ServedWorkspaces.enter` again. */
  get failed(): boolean {
    return this.#failure !== undefined
  }

  get log(): Log {
    if (this.#log) return this.#log
    const what = `the log of workspace ${this.id} could not be opened; its clients ask again`
    throw new HeadwaterError("LOG_FAILED", what, { cause: this.#failure?.cause })
  }

  /**
   * Returns the log's version. Take it before look-ups, and pass it to `requireUnchanged` before an append that depends
   * on them.
   */
  logVersion(): LogVersion {
    return { appended: this.log.appended, breaks: this.#breaks }
  }

  /** Throws `LOG_FAILED` if the log's version has changed, because a flush has failed or a damaged record was found. */
  requireUnchanged(version: LogVersion): void {
    if (version.appended === this.log.appended && version.breaks === this.#breaks) return
    const what = `the log of workspace ${this.id} lost entries while a push was judged`
    throw new HeadwaterError("LOG_FAILED", `${what}; its client pushes again`)
  }

  /** The flushed end of the log. It is cached, because every follower asks for it after every flush. */
  get end(): { readonly cursor: Cursor; readonly position: number } {
    const cursor = this.log.end
    if (this.#end?.cursor !== cursor) this.#end = { cursor, position: positionOf(cursor) }
    return this.#end
  }

  /** Appends an entry and returns its position. Call it within a turn. */
  append(entry: Entry, changes: readonly AppendedChange[], recent: RecentEntry): number {
    const previous = this.log.appended
    const position = this.log.append(entry, changes, recent.bytes)
    this.#recent!.add(previous, position, recent)
    return position
  }

  /** Returns the entry at this position, or undefined if it is not among the recent ones. */
  recent(position: number): RecentEntry | undefined {
    return this.#recent?.at(position)
  }

  /**
   * Returns the shared frame of the entries after this position. Undefined if some of the entries are not recent, or if
   * they are too large for one frame.
   */
  sharedFrame(from: number): SharedFrame | undefined {
    const { cursor, position } = this.end
    if (this.#sharedFrame?.from === from && this.#sharedFrame.position === position) return this.#sharedFrame
    if (!this.#recent?.covers(from)) return undefined
    const entries: RecentEntry[] = []
    const pushed = new Map<number, number>()
    let bytes = 0
    const frame = new DecodedFrame()
    for (let at = from + 1; at <= position; at++) {
      const entry = this.#recent.at(at)!
      entries.push(entry)
      pushed.set(entry.connection, (pushed.get(entry.connection) ?? 0) + entry.bytes.length)
      bytes += entry.bytes.length
      if (!frame.fits(entry.bytes) || (bytes > this.#frameBytes && entries.length > 1)) return undefined
    }
    const shared = { from, cursor, position, entries, pushed, bytes }
    if (this.#isFlushing) this.#sharedFrame = shared
    return shared
  }

  async close(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.#recent?.clear()
    await this.#log?.close()
  }

  /**
   * Passes each follower to `call`, except a follower that is added or removed while this method runs. An error of one
   * follower does not keep other followers from their entries: the error is thrown after the last call, and the log
   * reports it.
   */
  #tell(call: (follower: Follower) => void): void {
    const errors: unknown[] = []
    for (const follower of [...this.followers]) {
      try {
        if (this.followers.has(follower)) call(follower)
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors.length === 1 ? errors[0] : new AggregateError(errors, "followers failed")
  }

  #opened(log: Log): void {
    const recent = new RecentEntries(this.#budget, log.appended)
    this.#log = log
    this.#recent = recent
    this.#unsubscribe = [
      log.onFlush(() => {
        this.#isFlushing = true
        try {
          this.#tell((follower) => follower.flushed())
        } finally {
          this.#isFlushing = false
          this.#sharedFrame = undefined
        }
      }),
      log.onBreak(() => {
        this.#breaks++
        recent.clear()
        this.#tell((follower) => follower.broke())
      }),
    ]
  }
}
