/**
 * One WebSocket to a relay, shared by the workspaces that are attached to it: dialled while anyone is, dialled again with
 * full-jitter backoff when it breaks, checked by a heartbeat so that a half-open connection is noticed.
 */
import { type Env, randomUnit, type Socket } from "../base/env.ts"
import { type Code, HeadwaterError } from "../base/errors.ts"
import { type ClientMessage, decodeRelay, encode, limits, type RelayMessage, SUBPROTOCOL } from "../wire/protocol.ts"

/** A bearer token, or where to get one: asked on every dial. */
export type Token =
  | string
  | ((why: {
      reason: "open" | "expiring" | "refused"
      workspaces: readonly string[]
      signal: AbortSignal
    }) => string | Promise<string>)

export interface RelayOptions {
  /** `ws://` or `wss://` */
  readonly url: string
  readonly token?: Token | undefined
}

/** A connection that several workspaces can share. Dialled when the first of them is opened. */
export interface Relay {
  readonly url: string
  /** Ends the connection for every workspace on it. */
  close(): Promise<void>
}

/** What one workspace hears of its connection. */
export interface Channel {
  opened(link: Link): void
  received(message: RelayMessage, bytes: number): void
  /** `error` says why, `retryAt` (ms since 1970) when it is dialled again; null: not by itself. */
  closed(error: HeadwaterError | null, retryAt: number | null): void
  dialling(): void
}

/** One live connection, as a workspace uses it. */
export interface Link {
  send(message: ClientMessage): void
  /** It works: after the next break it is dialled again soon. */
  proven(): void
  /** This side cannot go on with it (a failed disk, a broken message): hang up and begin again later. */
  abandon(error: HeadwaterError): void
}

const FIRST_RETRY_MS = 1000
const LAST_RETRY_MS = 5 * 60_000
/** Silence after dialling that counts as nobody there. */
const OPEN_MS = 15_000
/** Time for the app's token function, which may ask its user or another server. */
const TOKEN_MS = 60_000
const BEAT_MS = 15_000
/**
 * Silence after a ping that counts as a dead connection: at first, and at most. It is doubled by every such death, for a
 * slow line answers behind the largest frame, which would otherwise never arrive; so many answers in a row undo that.
 */
const PATIENCE_MS = 10_000
const LONGEST_PATIENCE_MS = 160_000
const ANSWERS = 8

/** What a close says by itself (docs/protocol.md, section 6). */
const closeCodes: Readonly<Record<number, Code>> = {
  1002: "PROTOCOL_VERSION",
  1009: "TOO_LARGE",
  1011: "LOG_FAILED",
  1013: "RATE",
  4400: "MESSAGE_BAD",
  4401: "TOKEN_EXPIRED",
  4403: "FORBIDDEN",
  4406: "PROTOCOL_VERSION",
}

export class Connection implements Relay {
  readonly url: string
  readonly #token: Token | undefined
  readonly #channels = new Map<string, Channel>()
  /** Workspaces that have spoken on the present socket, gone ones included. */
  readonly #joined = new Set<string>()
  #env: Env | undefined
  #socket: Socket | undefined
  #open = false
  #attempts = 0
  /** A ping waits for an answer; and something has come since. */
  #pinged = false
  #heard = false
  #patience = PATIENCE_MS
  /** Pings in a row that were not met with silence. */
  #answers = 0
  #cancelTimer: (() => void) | undefined
  #cancelBeat: (() => void) | undefined
  #sleepless: (() => void) | undefined
  #tokenCall: AbortController | undefined
  readonly #closeListeners = new Set<() => void>()
  /** What the relay's last word was, if that was a notice: why it closes. */
  #farewell: Code | undefined
  closed = false

  constructor({ url, token }: RelayOptions) {
    this.url = url
    this.#token = token
  }

  /** Throws when a workspace cannot be joined to this connection. */
  mustTake(workspace: string): void {
    if (this.closed) throw new HeadwaterError("CLOSED", "this relay connection was closed")
    if (this.#channels.has(workspace)) {
      throw new HeadwaterError(
        "STORE_IN_USE",
        `workspace ${workspace} is open on this relay connection already, from another store: close it there, or open this one with a connection of its own`,
      )
    }
  }

  /** Joins a workspace to this connection; returns its way out. */
  attach(workspace: string, channel: Channel, env: Env): () => void {
    this.mustTake(workspace)
    this.#env ??= env
    this.#channels.set(workspace, channel)
    if (this.#open && this.#mayJoin(workspace)) this.#join(workspace, channel)
    else if (this.#dialing && !this.#open) channel.dialling()
    else this.#dial()
    this.#sleepless ??= this.#env.onWake(() => this.wake())
    return () => {
      if (this.#channels.get(workspace) !== channel) return
      this.#channels.delete(workspace)
      if (this.#channels.size === 0) this.#hangUp()
    }
  }

  /**
   * Who comes back needs a new socket: what the relay still says to who it was before (an ack, entries behind those that
   * nobody took, its own entries as runs) would be taken for an answer to who it is now.
   */
  #mayJoin(workspace: string): boolean {
    return !this.#joined.has(workspace) && this.#joined.size < Math.max(limits.workspaces, this.#channels.size)
  }

  #join(workspace: string, channel: Channel): void {
    this.#joined.add(workspace)
    channel.opened(this.#link(workspace))
  }

  /** Dials now instead of later. */
  wake(): void {
    if (this.#channels.size === 0) return
    if (this.#open) return this.#beatNow()
    if (this.#dialing) return
    this.#attempts = 0
    this.#dial()
  }

  async close(): Promise<void> {
    this.closed = true
    const channels = [...this.#channels.values()]
    this.#channels.clear()
    this.#hangUp()
    for (const channel of channels) channel.closed(null, null)
    for (const listener of [...this.#closeListeners]) listener()
  }

  /** Also for a workspace that has left it for now. */
  onClose(listener: () => void): () => void {
    this.#closeListeners.add(listener)
    return () => void this.#closeListeners.delete(listener)
  }

  get #dialing(): boolean {
    return this.#tokenCall !== undefined || this.#socket !== undefined
  }

  #hangUp(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    this.#tokenCall?.abort()
    this.#tokenCall = undefined
    this.#sleepless?.()
    this.#sleepless = undefined
    this.#attempts = 0
    this.#letGo(1000)
  }

  /** From here on nothing that the old socket says is heard. */
  #letGo(code: number): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#open = false
    this.#joined.clear()
    this.#farewell = undefined
    this.#pinged = false
    this.#cancelBeat?.()
    this.#cancelBeat = undefined
    if (socket === undefined) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(code)
  }

  #dial(): void {
    this.#letGo(1000)
    for (const channel of this.#channels.values()) channel.dialling()
    const call = new AbortController()
    this.#tokenCall = call
    this.#wait(TOKEN_MS, () => {
      call.abort()
      this.#tokenCall = undefined
      this.#failed(new HeadwaterError("FORBIDDEN", "the app's token function has not answered"))
    })
    void this.#bearer(call.signal).then(
      (token) => {
        if (call.signal.aborted) return
        this.#tokenCall = undefined
        this.#connect(token)
      },
      (cause) => {
        if (call.signal.aborted) return
        this.#tokenCall = undefined
        this.#failed(new HeadwaterError("FORBIDDEN", "the app's token function failed", { cause }))
      },
    )
  }

  /** For the next thing that happens to this connection; nothing else is waited for. */
  #wait(ms: number, late: () => void): void {
    this.#cancelTimer?.()
    this.#cancelTimer = (this.#env as Env).after(ms, late)
  }

  async #bearer(signal: AbortSignal): Promise<string | undefined> {
    if (typeof this.#token !== "function") return this.#token
    return this.#token({ reason: "open", workspaces: [...this.#channels.keys()], signal })
  }

  #connect(token: string | undefined): void {
    const env = this.#env as Env
    const socket = env.dial(this.url, token === undefined ? [SUBPROTOCOL] : [SUBPROTOCOL, `bearer.${base64url(token)}`])
    this.#socket = socket
    this.#wait(OPEN_MS, () => {
      this.#failed(new HeadwaterError("RELAY_UNREACHABLE", "the relay did not answer the call"))
    })
    socket.onopen = () => {
      this.#cancelTimer?.()
      this.#cancelTimer = undefined
      this.#open = true
      this.#beat()
      for (const [workspace, channel] of [...this.#channels]) this.#join(workspace, channel)
    }
    socket.onmessage = (frame) => this.#hear(frame)
    socket.onclose = (code, reason) => {
      const why = this.#farewell ?? closeCodes[code] ?? "RELAY_UNREACHABLE"
      this.#failed(new HeadwaterError(why, `the connection ended (${code}${reason && ` ${reason}`})`))
    }
  }

  #hear(frame: Uint8Array): void {
    this.#heard = true
    let message: RelayMessage | null
    try {
      message = decodeRelay(frame)
    } catch (error) {
      return this.#failed(error as HeadwaterError)
    }
    this.#farewell = message?.t === "notice" && message.w === undefined ? message.code : undefined
    if (message === null || message.t === "pong") return
    if ("w" in message && message.w !== undefined) this.#channels.get(message.w)?.received(message, frame.length)
    else for (const channel of [...this.#channels.values()]) channel.received(message, frame.length)
  }

  /** The connection is over; the next dial waits between nothing and twice as long as the last one. */
  #failed(error: HeadwaterError): void {
    const env = this.#env as Env
    this.#letGo(1000)
    if (this.#channels.size === 0) return
    const most = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** this.#attempts++)
    const wait = Math.ceil(randomUnit(env) * most)
    const retryAt = env.now() + wait
    this.#wait(wait, () => this.#dial())
    for (const channel of [...this.#channels.values()]) channel.closed(error, retryAt)
  }

  #link(workspace: string): Link {
    const socket = this.#socket
    const live = () => this.#socket === socket && this.#channels.has(workspace)
    return {
      send: (message) => live() && socket?.send(encode(message)),
      proven: () => {
        if (live()) this.#attempts = 0
      },
      abandon: (error) => live() && this.#failed(error),
    }
  }

  #beat(): void {
    this.#cancelBeat = (this.#env as Env).after(BEAT_MS, () => this.#beatNow())
  }

  /** Asks whether anybody is still there, unless that is asked already: who asks again and again must not wait for ever. */
  #beatNow(): void {
    if (this.#pinged) return
    this.#cancelBeat?.()
    this.#socket?.send(encode({ t: "ping" }))
    this.#pinged = true
    this.#heard = false
    this.#awaitAnswer(this.#patience)
  }

  /** However long it is waited for, an answer is seen soon, and the next ping goes out: a line that is idle may be cut. */
  #awaitAnswer(patience: number): void {
    this.#cancelBeat = (this.#env as Env).after(PATIENCE_MS, () => {
      if (!this.#heard && patience > PATIENCE_MS) return this.#awaitAnswer(patience - PATIENCE_MS)
      this.#pinged = false
      if (this.#heard) {
        if (++this.#answers === ANSWERS) this.#patience = PATIENCE_MS
        return this.#beat()
      }
      this.#answers = 0
      this.#patience = Math.min(LONGEST_PATIENCE_MS, 2 * this.#patience)
      this.#failed(new HeadwaterError("RELAY_UNREACHABLE", "the relay has stopped answering"))
    })
  }
}

/** One connection for several workspaces: pass it as `relay` to each `openWorkspace`. */
export function relayConnection(options: RelayOptions): Relay {
  return new Connection(options)
}

function base64url(token: string): string {
  const bytes = new TextEncoder().encode(token)
  let binary = ""
  for (const byte of bytes) binary += String.fromCharCode(byte)
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")
}
