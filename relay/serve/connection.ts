/**
 * Serves one connected replica: handles its messages, and stops reading while the unanswered ones take too much memory.
 * A connection has no socket, timer or file of its own, so the simulation in the tests runs this code unchanged.
 * Several workspaces may share a connection. The messages for one workspace take effect in the order in which they
 * arrived.
 */
import type { Clock } from "../../src/base/env.ts"
import { type Code, HeadwaterError } from "../../src/base/errors.ts"
import {
  type Access,
  type ClientMessage,
  type Cursor,
  decodeClient,
  encode,
  type Have,
  limits,
  type Pull,
  type Push,
  position as positionOf,
  type RelayMessage,
} from "../../src/wire/protocol.ts"
import { type Asker, answerHave } from "./answer-have.ts"
import { type Appended, appendPush, refusePush } from "./append-push.ts"
import { Junk } from "./junk.ts"
import { costOf } from "./message-cost.ts"
import type { ServedWorkspaces } from "./served-workspace.ts"
import { type Outlet, Stream } from "./stream.ts"
import { type InHand, Unanswered } from "./unanswered-messages.ts"
import { run } from "./work.ts"

/**
 * Close codes: 1001 and 1011 are from RFC 6455, 4400 and 4408 are Headwater's. `docs/protocol.md` says how a client
 * reacts to each code.
 */
export const closeCode = { bad: 4400, idle: 4408, failed: 1011, away: 1001 } as const

export interface ConnectionOptions {
  /** Identifies this connection: no other connection of the relay has the same id. */
  readonly id: number
  readonly workspaces: ServedWorkspaces
  readonly clock: Clock
  readonly principal: string
  readonly access: Access
  send(frame: Uint8Array): void
  /** Closes the socket. The connection has ended: it sends nothing more and ignores further frames. */
  close(code: number, reason: string): void
  /** Bytes that were given to `send` and that the network has not taken yet. */
  buffered(): number
  /**
   * Returns the number of `buffered` bytes above which the socket counts as full: `ServeSizes.socketBytes` at most.
   * Without this function, the number is always `socketBytes`.
   */
  ceiling?(): number
  /** Stops reading from the socket, or resumes. A few frames that still arrive after a stop do no harm. */
  pauseReading?(paused: boolean): void
  /**
   * Writes to the relay's report why the connection is about to close. With a `workspace`, writes why the entries of
   * that workspace cannot be read or appended.
   */
  report?(code: Code, error: unknown, workspace?: string): void
}

/** The result of a push. Every change of the push is on the disk, except the refused ones. */
interface Stored extends Pick<Appended, "refusals" | "junk"> {
  readonly at?: Cursor | undefined
}

export class Connection implements Outlet, Asker {
  readonly id: number
  /** Whether the client has sent a pull, a push or a have. A connection that has sent none of them may be closed. */
  active = false
  readonly #o: ConnectionOptions
  /**
   * The streams by workspace id. A stream stays until the connection ends. Only a stream whose log could not be opened
   * is replaced, by the next message for its workspace.
   */
  readonly #streams = new Map<string, Stream>()
  #closed = false
  readonly #unanswered = new Unanswered()
  #paused = false
  /** Functions that each resolve a promise of `room()`. They are called once the socket is no longer full. */
  #awaitingRoom: (() => void)[] = []
  /** Meters the chunks that this connection has pushed and that the relay cannot store. */
  readonly #junk: Junk
  /** Ids of the workspaces whose log failed in the middle of a heal. The remaining pages of that heal are skipped. */
  readonly #lostHeals = new Set<string>()

  constructor(options: ConnectionOptions) {
    this.#o = options
    this.id = options.id
    this.#junk = new Junk(options.workspaces.sizes.junkBytes)
  }

  // ── events of the socket ──────────────────────────────────────────────────────────────────────────────────────────

  /** Handles a received frame. Never throws: an invalid frame ends this connection and does not affect any other. */
  receive(frame: Uint8Array): void {
    if (this.#closed) return
    try {
      const message = decodeClient(frame)
      if (message) this.#handle(message, frame.length)
    } catch (error) {
      this.#end(closeCode.bad, error instanceof HeadwaterError ? error.code : "MESSAGE_BAD", error)
    }
    this.#regulate()
  }

  /** Call it when the socket can take more bytes: the streams then go on sending. */
  drained(): void {
    for (const stream of this.#streams.values()) stream.pump()
    if (!this.full()) for (const resolve of this.#awaitingRoom.splice(0)) resolve()
    this.#regulate()
  }

  /**
   * Call it when the socket has closed. Work that has begun is finished nevertheless. Messages that still wait for
   * their turn are dropped, which frees their memory at once. Nothing is lost, because the client sends them again.
   */
  disconnected(): void {
    if (this.#closed) return
    this.#closed = true
    this.#unanswered.drop()
    for (const stream of this.#streams.values()) this.#leave(stream)
    this.#streams.clear()
    for (const resolve of this.#awaitingRoom.splice(0)) resolve()
  }

  /** Bytes of memory charged for messages that are not answered yet. */
  get unanswered(): number {
    return this.#unanswered.bytes
  }

  /** The part of `unanswered`, in bytes, that is freed as soon as the connection ends. */
  get droppable(): number {
    return this.#unanswered.droppable
  }

  /** Resolves once no received message is unanswered. */
  answered(): Promise<void> {
    return this.#unanswered.answered()
  }

  // ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #handle(message: ClientMessage, bytes: number): void {
    const cost = bytes + costOf(message)
    switch (message.t) {
      case "pull":
        return this.#work(message, cost, (stream) => this.#pull(stream, message))
      case "push":
        return this.#work(message, cost, (stream, inHand) => this.#push(stream, inHand, message.w, message.id))
      case "have":
        return this.#work(message, cost, (stream, inHand) => this.#have(stream, inHand))
      case "ping":
        return this.send({ t: "pong" })
      case "presence":
        return
      default:
        this.send({ t: "notice", ...("w" in message && { w: message.w }), code: "FORBIDDEN" })
    }
  }

  async #pull(stream: Stream, { w, cursor, reach, credit }: Pull): Promise<void> {
    await stream.workspace.turn(async (log) => {
      if (cursor === undefined) return stream.grant(credit)
      // Both the cursor and the reach must be in the log. An acknowledged change may lie after the cursor, but never
      // after the reach. So a log without the reach may have lost an acknowledged change, and the replica must heal it.
      const inLog = (!cursor || (await log.holds(cursor))) && (!reach || (await log.holds(reach)))
      if (this.#closed) return
      stream.begin(inLog ? (cursor ? positionOf(cursor) : 0) : undefined, credit)
      if (!inLog) this.send({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    })
  }

  #have(stream: Stream, inHand: InHand<Have>): Promise<void> {
    stream.lastHave = stream.lastHave.then(() => this.#compare(stream, inHand))
    return stream.lastHave
  }

  /**
   * While a push waits, only `inHand` may refer to it, so that dropping the push frees its memory. Therefore `w` and
   * `id` are passed separately.
   */
  async #push(stream: Stream, inHand: InHand<Push>, w: string, id: string): Promise<void> {
    const { sizes } = this.#o.workspaces
    const stored = await this.#store(stream, inHand).catch((error): Stored | undefined => {
      const push = this.#unanswered.begin(inHand)
      if (!push) return undefined
      this.#o.report?.("LOG_FAILED", error, w)
      return { refusals: refusePush(push, sizes.retryMs), junk: { chunks: 0, bytes: 0 } }
    })
    if (!stored) return
    const { at, refusals, junk } = stored
    for (const [sent, refusal] of refusals.entries()) {
      if (sent % sizes.sentRejects === sizes.sentRejects - 1) await this.breathe()
      await this.room()
      this.send({ t: "reject", w, id, ...refusal })
    }
    this.send({ t: "ack", w, id, ...(at && { at }) })
    // End the connection only after the refusals are sent, so that the replica sets these changes aside and does not
    // push them again on its next connection.
    this.#junk.pushed(junk.chunks, junk.bytes)
    if (!this.#junk.tooMuch) return
    const error = new HeadwaterError("CHUNK_BAD", "the connection has pushed too many chunks that nobody can store")
    this.#end(closeCode.bad, "MESSAGE_BAD", error)
  }

  /**
   * Stores a push. Resolves once everything that the result states is on the disk, or with undefined if the connection
   * ended before work on the push began. Rejects when the log fails; it is then unknown which changes are stored.
   */
  async #store({ workspace }: Stream, inHand: InHand<Push>): Promise<Stored | undefined> {
    const { principal, access, workspaces } = this.#o
    const pusher = { connection: this.id, principal, access, breathe: () => this.breathe() }
    const appended = await workspace.turn(() => {
      const push = this.#unanswered.begin(inHand)
      return push && run(appendPush(workspace, push, pusher, workspaces.sizes))
    })
    if (!appended) return undefined
    const { position, refusals, restOn, junk } = appended
    const at = position > 0 ? await workspace.log.flushed(position) : undefined
    // Send no refusal before this flush, because it may depend on an entry that was just appended and can still be
    // lost.
    if (refusals.length > 0) await workspace.log.flushed(restOn)
    return { at, refusals, junk }
  }

  /**
   * Compares a page of `have` with the log. Never rejects: if the log fails, the remaining pages of the heal are
   * skipped, and the replica gets the notice after the last page.
   */
  async #compare(stream: Stream, inHand: InHand<Have>): Promise<void> {
    const have = this.#unanswered.begin(inHand)
    if (!have) return
    const { w, single, more } = have
    const heals = !single
    if (!heals || !this.#lostHeals.has(w)) {
      const { comparedHeads } = this.#o.workspaces.sizes
      await answerHave(stream, have, this, comparedHeads).catch((error) => this.failed(stream, error, heals))
    }
    if (heals && !more && this.#lostHeals.delete(w)) this.#sayFailed(w)
  }

  // ── the connection ────────────────────────────────────────────────────────────────────────────────────────────────

  get closed(): boolean {
    return this.#closed
  }

  send(message: RelayMessage): void {
    this.sendFrame(encode(message))
  }

  /**
   * Never throws, because an error of the socket must not be taken for a failure of the log whose entries are being
   * sent.
   */
  sendFrame(frame: Uint8Array): void {
    if (this.#closed) return
    try {
      this.#o.send(frame)
    } catch (error) {
      this.#o.report?.("LOG_FAILED", error)
      this.disconnected()
      this.#o.close(closeCode.failed, "LOG_FAILED")
    }
  }

  full(): boolean {
    return this.#closed || this.#o.buffered() > this.#ceiling()
  }

  readBytes(): number {
    return Math.min(this.#o.workspaces.sizes.readBytes, this.#o.ceiling?.() ?? Number.POSITIVE_INFINITY)
  }

  #ceiling(): number {
    return this.#o.ceiling?.() ?? this.#o.workspaces.sizes.socketBytes
  }

  /**
   * Resolves when the socket is no longer full or the connection has ended. Await it between answers, because a small
   * message may ask for large answers.
   */
  room(): Promise<void> | undefined {
    if (this.#closed || !this.full()) return undefined
    return new Promise((resolve) => this.#awaitingRoom.push(resolve))
  }

  breathe(): Promise<void> {
    return new Promise((resolve) => void this.#o.clock.after(0, resolve))
  }

  introduction() {
    const { principal, access, clock } = this.#o
    const { message, chunk, ops } = limits
    return { principal, access, limits: { message, chunk, ops }, time: clock.now() }
  }

  /**
   * Call it when a log has failed. The log's stream stops, and the replica pulls again after `retryMs`; the other
   * workspaces of the connection go on. If more pages of a heal follow, the replica gets the notice only after the last
   * of them. Otherwise the replica could not know which of its pages the relay has skipped.
   */
  failed(stream: Stream, error: unknown, pagesFollow = false): void {
    if (this.#closed) return
    const w = stream.workspace.id
    this.#o.report?.("LOG_FAILED", error, w)
    stream.fail()
    if (pagesFollow) this.#lostHeals.add(w)
    else this.#sayFailed(w)
  }

  #sayFailed(w: string): void {
    this.send({ t: "notice", w, code: "LOG_FAILED", retryIn: this.#o.workspaces.sizes.retryMs })
  }

  #end(status: number, code: Code, error: unknown): void {
    if (this.#closed) return
    this.#o.report?.(code, error)
    this.send({ t: "notice", code })
    this.disconnected()
    this.#o.close(status, code)
  }

  /** Runs the job that a message asks of its workspace. The message's memory is charged until the job is done. */
  #work<M extends { readonly w: string }>(
    message: M,
    cost: number,
    job: (stream: Stream, inHand: InHand<M>) => Promise<void>,
  ): void {
    const { w } = message
    const stream = this.#streamOf(w)
    if (!stream) return this.send({ t: "notice", w, code: "RATE" })
    this.active = true
    const inHand = this.#unanswered.add(message, cost)
    const done = () => {
      this.#unanswered.end(inHand)
      this.#regulate()
    }
    void job(stream, inHand)
      .catch((error) => this.failed(stream, error))
      .then(done)
  }

  /**
   * Returns the stream of a workspace, and enters the workspace first if necessary. Undefined: this connection has
   * already entered as many workspaces as it may.
   */
  #streamOf(w: string): Stream | undefined {
    const entered = this.#streams.get(w)
    if (entered && !entered.workspace.failed) return entered
    if (entered) {
      this.#streams.delete(w)
      this.#leave(entered)
    }
    if (this.#streams.size === limits.workspaces) return undefined
    const { workspaces } = this.#o
    const workspace = workspaces.enter(w)
    const stream = new Stream(workspace, this)
    workspace.followers.add(stream)
    this.#streams.set(w, stream)
    return stream
  }

  #leave(stream: Stream): void {
    const { workspace } = stream
    stream.stop()
    workspace.followers.delete(stream)
    // Leave the workspace only when the jobs of this connection in the workspace's queue are done.
    void workspace
      .turn(() => {})
      .catch(() => {})
      .then(() => this.#o.workspaces.leave(workspace))
      .catch((error) => this.#o.report?.("LOG_FAILED", error))
  }

  #regulate(): void {
    const tooMuch = this.#unanswered.bytes > this.#o.workspaces.sizes.unansweredBytes
    const pause = !this.#closed && (tooMuch || this.full())
    if (pause === this.#paused) return
    this.#paused = pause
    this.#o.pauseReading?.(pause)
  }
}
