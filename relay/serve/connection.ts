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
import type { ServedWorkspaces } from "./served-workspace.ts"
import { type Outlet, Stream } from "./stream.ts"
import { Unreadable } from "./unreadable.ts"

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
  /** Whether to stop reading from the socket for now. A few more frames do no harm. */
  pauseReading?(paused: boolean): void
  /**
   * Told of what is wrong, for the relay's own log: why the connection is about to close, or why the log of this
   * workspace does not serve it.
   */
  report?(code: Code, error: unknown, workspace?: string): void
}

/** What has become of a push: every change of it but the refused ones is on the disk. */
interface Stored extends Pick<Appended, "refusals" | "unreadable"> {
  readonly at?: Cursor | undefined
}

export class Connection implements Outlet, Asker {
  readonly id: number
  /** It has sent a pull, a push or a have. One that never does may be closed. */
  active = false
  readonly #o: ConnectionOptions
  /** By workspace id. One stays until the connection ends. */
  readonly #streams = new Map<string, Stream>()
  #closed = false
  /** Bytes of memory charged for frames that are not answered yet. */
  #unanswered = 0
  #paused = false
  /** Resolves each `answered()` once all frames are answered. */
  #awaitingAnswers: (() => void)[] = []
  /** Resolves each `room()` once the socket has room. */
  #awaitingRoom: (() => void)[] = []
  /** What it has sent that nobody can read. */
  readonly #unreadable: Unreadable
  /** Settles when the last have was answered: the pages of a heal are compared in their order. */
  #lastHave = Promise.resolve()
  /** Workspaces whose log has failed between two pages of a heal: the pages up to the last one are passed over. */
  readonly #lostHeals = new Set<string>()

  constructor(options: ConnectionOptions) {
    this.#o = options
    this.id = options.id
    this.#unreadable = new Unreadable(options.workspaces.sizes.unreadableBytes)
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

  /** The socket is gone. What was pushed before is appended all the same. */
  disconnected(): void {
    if (this.#closed) return
    this.#closed = true
    for (const stream of this.#streams.values()) this.#leave(stream)
    this.#streams.clear()
    for (const resolve of this.#awaitingRoom.splice(0)) resolve()
  }

  /** Bytes of memory charged for what was received and is not answered yet. */
  get unanswered(): number {
    return this.#unanswered
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
        return this.#work(message.w, cost, (stream) => this.#pull(stream, message))
      case "push":
        return this.#work(message.w, cost, (stream) => this.#push(stream, message))
      case "have":
        return this.#work(message.w, cost, (stream) => {
          this.#lastHave = this.#lastHave.then(() => this.#have(stream, message))
          return this.#lastHave
        })
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

  async #push(stream: Stream, push: Push): Promise<void> {
    const { w, id } = push
    const { sizes } = this.#o.workspaces
    const stored = await this.#store(stream, push).catch((error): Stored => {
      this.#o.report?.("LOG_FAILED", error, w)
      return { refusals: refusePush(push, sizes.retryMs), unreadable: { chunks: 0, bytes: 0 } }
    })
    const { at, refusals, unreadable } = stored
    for (const [sent, refusal] of refusals.entries()) {
      if (sent % sizes.sentRejects === sizes.sentRejects - 1) await this.breathe()
      await this.room()
      this.send({ t: "reject", w, id, ...refusal })
    }
    this.send({ t: "ack", w, id, ...(at && { at }) })
    // Only after its refusals: the replica sets these changes aside, and goes on without them on its next connection.
    this.#unreadable.pushed(unreadable.chunks, unreadable.bytes)
    if (!this.#unreadable.tooMuch) return
    const error = new HeadwaterError("CHUNK_BAD", "the connection has pushed too many chunks that nobody can read")
    this.#end(closeCode.bad, "MESSAGE_BAD", error)
  }

  /** Resolves once all that it says is on the disk. Rejects when the log fails; then nothing is known of the push. */
  async #store({ workspace }: Stream, push: Push): Promise<Stored> {
    const { principal, access, workspaces } = this.#o
    const pusher = { connection: this.id, principal, access, breathe: () => this.breathe() }
    const appended = await workspace.turn(() => appendPush(workspace, push, pusher, workspaces.sizes))
    const { position, refusals, restOn, unreadable } = appended
    const at = position > 0 ? await workspace.log.flushed(position) : undefined
    // A refusal may rest on an entry that was appended a moment ago and can still be lost.
    if (refusals.length > 0) await workspace.log.flushed(restOn)
    return { at, refusals, unreadable }
  }

  /** Never rejects: the pages behind a lost one are passed over, and the replica is told when its last page has come. */
  async #have(stream: Stream, have: Have): Promise<void> {
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
    return this.#closed || this.#o.buffered() > this.#o.workspaces.sizes.socketBytes
  }

  /** Resolves when the socket has room, or the connection has ended: a small message may ask for large answers. */
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
  #work(w: string, cost: number, job: (stream: Stream) => Promise<void>): void {
    const stream = this.#streamOf(w)
    if (!stream) return this.send({ t: "notice", w, code: "RATE" })
    this.active = true
    this.#unanswered += cost
    const done = () => {
      this.#unanswered -= cost
      this.#regulate()
      if (this.#unanswered === 0) for (const resolve of this.#awaitingAnswers.splice(0)) resolve()
    }
    void job(stream)
      .catch((error) => this.failed(stream, error))
      .then(done)
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
    const stream = new Stream(workspace, this, workspaces.sizes.readBytes)
    workspace.followers.add(stream)
    this.#streams.set(w, stream)
    return stream
  }

  #leave(stream: Stream): void {
    const { workspace } = stream
    stream.stop()
    workspace.followers.delete(stream)
    // Only after all that this connection still has to do there.
    void workspace
      .turn(() => {})
      .catch(() => {})
      .then(() => this.#o.workspaces.leave(workspace))
      .catch((error) => this.#o.report?.("LOG_FAILED", error))
  }

  #regulate(): void {
    const { unansweredBytes, socketBytes } = this.#o.workspaces.sizes
    const pause = !this.#closed && (this.#unanswered > unansweredBytes || this.#o.buffered() > socketBytes)
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
