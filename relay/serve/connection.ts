/**
 * One connected replica: handles the messages that it sends, and stops reading when too much is unanswered. It has no
 * socket, timer or file of its own, so the simulation runs it as it is. Several workspaces may share a connection; the
 * messages of each take effect in the order in which they came.
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
  partsOf,
  position as positionOf,
  type RelayMessage,
} from "../../src/wire/protocol.ts"
import { type Asker, answerHave } from "./answer-have.ts"
import { type Appended, appendPush, refusePush } from "./append-push.ts"
import { Junk } from "./junk.ts"
import type { ServedWorkspaces } from "./served-workspace.ts"
import { type Outlet, Stream } from "./stream.ts"

/** Bytes of memory charged for an unanswered frame beyond its own, and for each decoded part of it. */
const FRAME_COST = 1024
const PART_COST = 512

/** Close codes: those of RFC 6455 and ours. `docs/protocol.md` says what a client does about each. */
export const closeCode = { bad: 4400, idle: 4408, failed: 1011, away: 1001 } as const

export interface ConnectionOptions {
  /** Names this connection among those of the relay. */
  readonly id: number
  readonly workspaces: ServedWorkspaces
  readonly clock: Clock
  readonly principal: string
  readonly access: Access
  send(frame: Uint8Array): void
  /** The connection has ended: it sends nothing more and ignores what it receives. */
  close(code: number, reason: string): void
  /** Bytes that were given to `send` and that the network has not taken yet. */
  buffered(): number
  /** Bytes above which the socket is full at the moment, `ServeSizes.socketBytes` at most. Absent: so many. */
  ceiling?(): number
  /** Whether to stop reading from the socket for now. A few more frames do no harm. */
  pauseReading?(paused: boolean): void
  /**
   * Told of what is wrong, for the relay's own log: why the connection is about to close, or why the log of this
   * workspace does not serve it.
   */
  report?(code: Code, error: unknown, workspace?: string): void
}

/** What has become of a push: every change of it but the refused ones is on the disk. */
interface Stored extends Pick<Appended, "refusals" | "junk"> {
  readonly at?: Cursor | undefined
}

/** A message that is not answered yet. */
interface InHand<M> {
  /** Undefined: the connection has ended before the work on it began. */
  message: M | undefined
  /** Bytes of memory charged for it. */
  cost: number
}

export class Connection implements Outlet, Asker {
  readonly id: number
  /** Whether the client has sent a pull, a push or a have. A connection without any may be closed. */
  active = false
  readonly #o: ConnectionOptions
  /** By workspace id. A stream stays until the connection ends. */
  readonly #streams = new Map<string, Stream>()
  #closed = false
  /** Bytes of memory charged for frames that are not answered yet. */
  #unanswered = 0
  /** Messages on which the work has not begun. The end of the connection drops them: nothing of them is acknowledged. */
  readonly #waiting = new Set<InHand<unknown>>()
  /** Bytes that dropping these would free. */
  #droppable = 0
  #paused = false
  /** Resolves each `answered()` once all frames are answered. */
  #awaitingAnswers: (() => void)[] = []
  /** Resolves each `room()` once the socket has room. */
  #awaitingRoom: (() => void)[] = []
  /** What it has pushed in vain. */
  readonly #junk: Junk
  /** Settles when the last have was answered: the pages of a heal are compared in their order. */
  #lastHave = Promise.resolve()
  /** Workspaces whose log has failed between two pages of a heal: the pages up to the last one are passed over. */
  readonly #lostHeals = new Set<string>()

  constructor(options: ConnectionOptions) {
    this.#o = options
    this.id = options.id
    this.#junk = new Junk(options.workspaces.sizes.junkBytes)
  }

  // ── what the socket tells ─────────────────────────────────────────────────────────────────────────────────────────

  /** A frame has arrived. Never throws; a frame that is wrong ends this connection and disturbs no other. */
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

  /** The socket has room again. */
  drained(): void {
    for (const stream of this.#streams.values()) stream.pump()
    if (!this.full()) for (const resolve of this.#awaitingRoom.splice(0)) resolve()
    this.#regulate()
  }

  /**
   * The socket is gone. Work that has begun is ended all the same. Messages that still wait for their turn are dropped,
   * and their memory is free at once: their client sends them again.
   */
  disconnected(): void {
    if (this.#closed) return
    this.#closed = true
    this.#unanswered -= this.#droppable
    this.#droppable = 0
    for (const inHand of this.#waiting) {
      inHand.message = undefined
      inHand.cost = FRAME_COST // its place in the queue of the workspace
    }
    this.#waiting.clear()
    for (const stream of this.#streams.values()) this.#leave(stream)
    this.#streams.clear()
    for (const resolve of this.#awaitingRoom.splice(0)) resolve()
  }

  /** Bytes of memory charged for messages that are not answered yet. */
  get unanswered(): number {
    return this.#unanswered
  }

  /** Bytes of `unanswered` that are free as soon as the connection ends. */
  get droppable(): number {
    return this.#droppable
  }

  /** Resolves once everything received so far has been answered. */
  answered(): Promise<void> {
    if (this.#unanswered === 0) return Promise.resolve()
    return new Promise((resolve) => this.#awaitingAnswers.push(resolve))
  }

  // ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────

  #handle(message: ClientMessage, bytes: number): void {
    const cost = bytes + FRAME_COST + PART_COST * partsIn(message)
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
      // Both must be in the log: an acknowledged change lies at or before the reach, and may lie after the cursor.
      const inLog = (!cursor || (await log.holds(cursor))) && (!reach || (await log.holds(reach)))
      if (this.#closed) return
      stream.begin(inLog ? (cursor ? positionOf(cursor) : 0) : undefined, credit)
      if (!inLog) this.send({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    })
  }

  #have(stream: Stream, inHand: InHand<Have>): Promise<void> {
    this.#lastHave = this.#lastHave.then(() => this.#compare(stream, inHand))
    return this.#lastHave
  }

  /** While the push waits, nothing but `inHand` may keep it in memory: so `w` and `id` come beside it. */
  async #push(stream: Stream, inHand: InHand<Push>, w: string, id: string): Promise<void> {
    const { sizes } = this.#o.workspaces
    const stored = await this.#store(stream, inHand).catch((error): Stored | undefined => {
      const push = this.#begin(inHand)
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
    // Only after its refusals: the replica sets these changes aside, and goes on without them on its next connection.
    this.#junk.pushed(junk.chunks, junk.bytes)
    if (!this.#junk.tooMuch) return
    const error = new HeadwaterError("CHUNK_BAD", "the connection has pushed too many chunks that nobody can store")
    this.#end(closeCode.bad, "MESSAGE_BAD", error)
  }

  /**
   * Stores a push. Resolves once everything that the result says is on the disk; with undefined when the connection has
   * ended before the work on it began. Rejects when the log fails; then nothing is known of the push.
   */
  async #store({ workspace }: Stream, inHand: InHand<Push>): Promise<Stored | undefined> {
    const { principal, access, workspaces } = this.#o
    const pusher = { connection: this.id, principal, access, breathe: () => this.breathe() }
    const appended = await workspace.turn(() => {
      const push = this.#begin(inHand)
      return push && appendPush(workspace, push, pusher, workspaces.sizes)
    })
    if (!appended) return undefined
    const { position, refusals, restOn, junk } = appended
    const at = position > 0 ? await workspace.log.flushed(position) : undefined
    // A refusal may depend on an entry that was appended a moment ago and can still be lost.
    if (refusals.length > 0) await workspace.log.flushed(restOn)
    return { at, refusals, junk }
  }

  /** Never rejects: the pages behind a lost one are passed over, and the replica is told when its last page has come. */
  async #compare(stream: Stream, inHand: InHand<Have>): Promise<void> {
    const have = this.#begin(inHand)
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

  /** Never throws: what is wrong with a socket must not pass for a failure of the log whose entries it is sent. */
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
   * Resolves when the socket has room, or the connection has ended. Wait for it between answers: a small message may
   * ask for large ones.
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
   * A log has failed. Its stream ends, and the replica begins there again after a while; the other workspaces of the
   * connection go on. Where pages of a heal follow, the replica is told when they have come: it could not tell before
   * which of its pages the relay has passed over.
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

  /** Does what a message asks of a workspace. Its memory is charged until that is done. */
  #work<M extends { readonly w: string }>(
    message: M,
    cost: number,
    job: (stream: Stream, inHand: InHand<M>) => Promise<void>,
  ): void {
    const { w } = message
    const stream = this.#streamOf(w)
    if (!stream) return this.send({ t: "notice", w, code: "RATE" })
    this.active = true
    this.#unanswered += cost
    const inHand: InHand<M> = { message, cost }
    this.#waiting.add(inHand)
    this.#droppable += cost - FRAME_COST
    const done = () => {
      this.#begin(inHand)
      this.#unanswered -= inHand.cost
      this.#regulate()
      if (this.#unanswered === 0) for (const resolve of this.#awaitingAnswers.splice(0)) resolve()
    }
    void job(stream, inHand)
      .catch((error) => this.failed(stream, error))
      .then(done)
  }

  /** The turn of a message has come. Undefined: the connection has ended before, and nobody waits for the answer. */
  #begin<M>(inHand: InHand<M>): M | undefined {
    if (this.#waiting.delete(inHand)) this.#droppable -= inHand.cost - FRAME_COST
    return inHand.message
  }

  /** Enters the workspace unless it has. Undefined: it has entered too many. */
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
    // Leave only after all jobs that this connection still has there.
    void workspace
      .turn(() => {})
      .catch(() => {})
      .then(() => this.#o.workspaces.leave(workspace))
      .catch((error) => this.#o.report?.("LOG_FAILED", error))
  }

  #regulate(): void {
    const tooMuch = this.#unanswered > this.#o.workspaces.sizes.unansweredBytes
    const pause = !this.#closed && (tooMuch || this.full())
    if (pause === this.#paused) return
    this.#paused = pause
    this.#o.pauseReading?.(pause)
  }
}

/** The parts of a message that are decoded into objects of their own. */
function partsIn(message: ClientMessage): number {
  let parts = 0
  if (message.t === "push") for (const entry of message.entries) parts += partsOf(entry)
  if (message.t === "have") for (const [, heads] of message.page) parts += heads.length
  return parts
}
