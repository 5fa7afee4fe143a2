/**
 * One connected replica, told what arrives and when the socket has room again. No socket, no timer, no file of its own,
 * so a simulation runs it as it is. Several workspaces may share a connection; each is handled by itself, in order.
 */
import type { Clock } from "../../src/base/env.ts"
import { type Code, HeadwaterError } from "../../src/base/errors.ts"
import {
  type Access,
  type ClientMessage,
  decodeClient,
  type EntityHeads,
  encode,
  type Hash,
  type Have,
  limits,
  type Pull,
  type Push,
  partsOf,
  position,
  type RelayMessage,
} from "../../src/wire/protocol.ts"
import type { Log } from "../log/contract.ts"
import { sameHeads } from "./admission.ts"
import { appendPush } from "./append-push.ts"
import type { Workspaces } from "./served-workspace.ts"
import { type Outlet, Stream } from "./stream.ts"

/** Bytes that the socket may hold before streams wait for it. */
const SOCKET_BOUND = 2 ** 20
/** Bytes of frames that may be in hand before no more are read: pushes wait here for their flush. */
const HAND_BOUND = limits.message
/** What a frame in hand costs besides its bytes, and what each chunk, head or other small part of it does: it is held decoded. */
const FRAME_COST = 1024
const PART_COST = 512
/** Heads, the replica's and the log's, that are compared before others get their turn; so many are in one `want`. */
const COMPARED = 4096
/** Refusals that are told before others get their turn. */
const TOLD = 128

/** Close codes: those of RFC 6455 and ours. `docs/protocol.md` says what a client does about each. */
export const close = { bad: 4400, idle: 4408, failed: 1011, away: 1001 } as const

export interface SessionOptions {
  /** Names this connection among those of the relay. */
  readonly id: number
  readonly workspaces: Workspaces
  readonly clock: Clock
  readonly principal: string
  readonly access: Access
  send(frame: Uint8Array): void
  /** The session says nothing more and wants to hear nothing more. */
  close(code: number, reason: string): void
  /** Bytes given to `send` that the network has not taken yet. */
  buffered(): number
  /** Whether the network should keep what arrives for now: too much is in hand. A few frames more do no harm. */
  hold?(on: boolean): void
  /** Why it is about to close: for the relay's own log. */
  report?(code: Code, error: unknown): void
}

export class Session implements Outlet {
  readonly id: number
  /** It has pulled, pushed or healed: whoever never does need not stay. */
  greeted = false
  readonly #o: SessionOptions
  readonly #streams = new Map<string, Stream>()
  #closed = false
  #inHand = 0
  #held = false
  #finished: (() => void)[] = []
  /** The haves so far: the pages of a heal are compared in their order. */
  #haves = Promise.resolve()
  #waiting: (() => void)[] = []

  constructor(options: SessionOptions) {
    this.#o = options
    this.id = options.id
  }

  // ── what the socket tells ─────────────────────────────────────────────────────────────────────────────────────────

  /** A frame has arrived. Never throws; what is wrong with it ends this connection and disturbs no other. */
  receive(frame: Uint8Array): void {
    if (this.#closed) return
    try {
      const message = decodeClient(frame)
      if (message) this.#handle(message, frame.length)
    } catch (error) {
      this.#end(close.bad, error instanceof HeadwaterError ? error.code : "MESSAGE_BAD", error)
    }
    this.#regulate()
  }

  /** The socket has room again. */
  drained(): void {
    for (const stream of this.#streams.values()) stream.pump()
    if (!this.full()) for (const resolve of this.#waiting.splice(0)) resolve()
    this.#regulate()
  }

  /** The connection is gone. What it pushed before is finished all the same. */
  closed(): void {
    if (this.#closed) return
    this.#closed = true
    for (const stream of this.#streams.values()) this.#leave(stream)
    this.#streams.clear()
    for (const resolve of this.#waiting.splice(0)) resolve()
  }

  /** Resolves once everything received so far has been answered. */
  finished(): Promise<void> {
    if (this.#inHand === 0) return Promise.resolve()
    return new Promise((resolve) => this.#finished.push(resolve))
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
          const answered = this.#haves.then(() => this.#have(stream, message))
          this.#haves = answered.catch(() => {})
          return answered
        })
      case "ping":
        return this.#send({ t: "pong" })
      case "presence":
        return
      default:
        this.#send({ t: "notice", ...("w" in message && { w: message.w }), code: "FORBIDDEN" })
    }
  }

  async #pull(stream: Stream, { w, cursor, reach, credit }: Pull): Promise<void> {
    await stream.workspace.turn(async (log) => {
      if (cursor === undefined) return stream.grant(credit)
      // Both: a change that was acknowledged lies before the reach, and maybe behind the cursor.
      const held = (!cursor || (await log.holds(cursor))) && (!reach || (await log.holds(reach)))
      if (this.#closed) return
      stream.begin(held ? (cursor ? position(cursor) : 0) : undefined, credit)
      if (!held) this.#send({ t: "notice", w, code: "CURSOR_UNKNOWN" })
    })
  }

  async #push(stream: Stream, push: Push): Promise<void> {
    const { w, id } = push
    const { workspace } = stream
    const { principal, access } = this.#o
    const from = { session: this.id, principal, access, breathe: () => this.#breathe() }
    const { place, rests, refusals } = await workspace.turn(() => appendPush(workspace, push, from))
    const at = place > 0 ? await workspace.log.flushed(place) : undefined
    // What a refusal rests on may have been appended a moment ago, and be lost yet.
    if (refusals.length > 0) await workspace.log.flushed(rests)
    for (const [told, refusal] of refusals.entries()) {
      if (told % TOLD === TOLD - 1) await this.#breathe()
      await this.#room()
      this.#send({ t: "reject", w, id, ...refusal })
    }
    this.#send({ t: "ack", w, id, ...(at && { at }) })
  }

  /** Part by part, so that neither the others nor the memory have to bear what a page may ask for. */
  async #have(stream: Stream, have: Have): Promise<void> {
    const { w, page, more, single } = have
    for (let from = 0; !this.#closed; await this.#breathe()) {
      await this.#room()
      const { to, lacking } = await stream.workspace.turn((log) => this.#compare(log, stream, have, from))
      const last = to >= page.length
      // At least one, so that every have is answered.
      if (lacking.length > 0 || last) this.#send({ t: "want", w, page: lacking })
      if (last) break
      from = to
    }
    if (!single && !more) stream.heal()
  }

  /** What the log lacks of a page from this entity on, and how far it came. */
  async #compare(log: Log, stream: Stream, { page, single }: Have, from: number) {
    // Only what is durable counts: a replica that was told we hold something would not bring it again.
    const here = await log.flushed(log.appended)
    const same = single || this.#closed ? undefined : stream.gather(here)
    const lacking: EntityHeads[] = []
    let to = from
    for (let compared = 0; to < page.length && compared < COMPARED; to++) {
      const [entity, theirs] = page[to]!
      const found = log.entity(entity)
      const state = found instanceof Promise ? await found : found
      const heads = state?.heads ?? []
      compared += 1 + heads.length + theirs.length
      if (state?.purged !== undefined) continue
      if (single) lacking.push([entity, heads])
      else if (state && sameHeads(heads, theirs) && !log.harmed) same?.add(log.key(entity))
      else if (await lacks(log, entity, theirs)) lacking.push([entity, heads])
    }
    return { to, lacking }
  }

  // ── the connection ────────────────────────────────────────────────────────────────────────────────────────────────

  send(frame: Uint8Array): void {
    if (!this.#closed) this.#o.send(frame)
  }

  full(): boolean {
    return this.#closed || this.#o.buffered() > SOCKET_BOUND
  }

  introduction() {
    const { principal, access, clock } = this.#o
    const { message, chunk, ops } = limits
    return { principal, access, limits: { message, chunk, ops }, time: clock.now() }
  }

  /** Nothing that waits for this log will be answered: the replica begins again, with all that it was not acknowledged. */
  failed(error: unknown): void {
    this.#end(close.failed, "LOG_FAILED", error)
  }

  #send(message: RelayMessage): void {
    this.send(encode(message))
  }

  /** Resolves when the socket has let go of what it was given before: a small question may have a large answer. */
  #room(): Promise<void> | undefined {
    if (this.#closed || !this.full()) return undefined
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Lets others have the processor. */
  #breathe(): Promise<void> {
    return new Promise((resolve) => void this.#o.clock.after(0, resolve))
  }

  #end(status: number, code: Code, error: unknown): void {
    if (this.#closed) return
    this.#o.report?.(code, error)
    this.#send({ t: "notice", code })
    this.closed()
    this.#o.close(status, code)
  }

  /** Does what a message asks of a workspace, and counts it as in hand until that is done. */
  #work(w: string, cost: number, job: (stream: Stream) => Promise<void>): void {
    const stream = this.#streams.get(w) ?? this.#enter(w)
    if (!stream) return this.#send({ t: "notice", w, code: "RATE" })
    this.greeted = true
    this.#inHand += cost
    const done = () => {
      this.#inHand -= cost
      this.#regulate()
      if (this.#inHand === 0) for (const resolve of this.#finished.splice(0)) resolve()
    }
    void job(stream)
      .catch((error) => this.failed(error))
      .then(done)
  }

  #enter(w: string): Stream | undefined {
    if (this.#streams.size === limits.workspaces) return undefined
    const workspace = this.#o.workspaces.enter(w)
    const stream = new Stream(workspace, this)
    workspace.followers.add(stream)
    this.#streams.set(w, stream)
    return stream
  }

  #leave(stream: Stream): void {
    const { workspace } = stream
    stream.stop()
    workspace.followers.delete(stream)
    // Behind what is still to be done there for this connection.
    void workspace
      .turn(() => {})
      .catch(() => {})
      .then(() => this.#o.workspaces.leave(workspace))
      .catch((error) => this.#o.report?.("LOG_FAILED", error))
  }

  #regulate(): void {
    const hold = !this.#closed && (this.#inHand > HAND_BOUND || this.#o.buffered() > SOCKET_BOUND)
    if (hold === this.#held) return
    this.#held = hold
    this.#o.hold?.(hold)
  }
}

function partsIn(message: ClientMessage): number {
  let parts = 0
  if (message.t === "push") for (const entry of message.entries) parts += partsOf(entry)
  if (message.t === "have") for (const [, heads] of message.page) parts += heads.length
  return parts
}

async function lacks(log: Log, entity: string, theirs: readonly Hash[]): Promise<boolean> {
  for (const head of theirs) {
    const known = log.known(entity, head)
    if (!(known instanceof Promise ? await known : known)) return true
  }
  return false
}
