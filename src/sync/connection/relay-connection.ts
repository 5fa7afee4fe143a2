/**
 * One WebSocket to a relay, shared by several workspaces. The relay is dialled while there is at least one workspace.
 * When the connection breaks, the relay is dialled again after a random wait (`redial-wait.ts`).
 */
import type { Env, Socket } from "../../base/env.ts"
import { type Code, HeadwaterError } from "../../base/errors.ts"
import { Listeners } from "../../base/listeners.ts"
import { type ClientMessage, decodeRelay, encode, limits, type RelayMessage } from "../../wire/protocol.ts"
import { closeCodes, foreignCloseCodes } from "./close-codes.ts"
import { Heartbeat } from "./heartbeat.ts"
import { RedialWait } from "./redial-wait.ts"
import { checkUrl } from "./relay-url.ts"
import { askForToken, subprotocols, type Token } from "./token.ts"
import { TokenRenewal } from "./token-renewal.ts"

/** The address of a relay, and the token for it. */
export interface RelayOptions {
  /** `ws://` or `wss://` */
  readonly url: string
  readonly token?: Token | undefined
}

/** A connection to a relay that several workspaces can share. The relay is dialled when the first of them is opened. */
export interface Relay {
  readonly url: string
  /** Ends the connection for good, for every workspace on it. Calls that wait for the relay reject with `CLOSED`. */
  close(): Promise<void>
}

/** The calls that a connection makes to one workspace on it. */
export interface Channel {
  opened(link: Link): void
  /** `bytes`: size of the message's frame. */
  received(message: RelayMessage, bytes: number): void
  /**
   * `error`: why the connection ended. `retryAt`: when the relay is dialled again, ms since 1970; null when the
   * connection is closed for good.
   */
  closed(error: HeadwaterError | null, retryAt: number | null): void
  dialling(): void
  /**
   * Whether the relay has not answered this workspace completely. If the connection breaks then, this workspace may be
   * the cause, and the wait stays long until it has made progress (`redial-wait.ts`).
   */
  readonly isUnfinished: boolean
}

/** The calls that one workspace makes to a live connection. Once that connection has ended, they have no effect. */
export interface Link {
  send(message: ClientMessage): void
  /**
   * Call when this workspace has made progress over this connection. Once all workspaces that were unfinished at the
   * last break have made progress, the wait after the next break is short again.
   */
  proven(): void
}

/** After a connection was open for this time, ms, the next wait is short again, even if there was nothing to sync. */
const STABLE_MS = 60_000
/** If a dial is not answered within this time, ms, it has failed. */
const OPEN_MS = 15_000
/**
 * If nothing arrives on a new connection within this time, ms, the other side is assumed to be no relay. This applies
 * only until a relay has once sent something to this `Connection`. The time doubles at each such failure, because the
 * other side may be a relay on a slow line.
 */
const FIRST_WORD_MS = 5_000
/** The longest time to which `FIRST_WORD_MS` doubles, ms. */
const LONGEST_FIRST_WORD_MS = 80_000

export class Connection implements Relay {
  readonly url: string
  closed = false
  readonly #token: Token | undefined
  /** The workspaces that are on this connection. */
  readonly #channels = new Map<string, Channel>()
  /** Workspaces that have used the present socket, including those that have left it. */
  readonly #usedSocket = new Set<string>()
  readonly #closeListeners = new Listeners<[]>()
  /** The `Env` that the first workspace has passed to `attach`. */
  #env: Env | undefined
  /**
   * `asking`: the app is asked for a token, and the dial follows. `waiting`: the time of the next dial has not come.
   */
  #state: "idle" | "asking" | "dialling" | "open" | "waiting" = "idle"
  /** Aborts the call of the app's token function that is not answered yet. */
  #tokenCall: AbortController | undefined
  readonly #renewal = new TokenRenewal(
    (got, failed) => this.#ask("expiring", got, failed),
    (token) => this.#redialWith(token),
  )
  #socket: Socket | undefined
  /** The `reason` with which the app's token function is called before the next dial. */
  #tokenReason: "open" | "refused" = "open"
  /** How long a new connection may be silent, ms; undefined once a relay has sent something. */
  #firstWordMs: number | undefined = FIRST_WORD_MS
  readonly #redialWait = new RedialWait()
  /**
   * The code of the relay's latest message if that message was a notice about the connection. The relay closes the
   * connection after such a notice, and the code says why.
   */
  #farewell: Code | undefined
  /** Cancels the only timer, which `#waitFor` has set. */
  #cancelTimer: (() => void) | undefined
  #stopListeningForWake: (() => void) | undefined
  readonly #heartbeat = new Heartbeat(
    (ms, f) => this.#machine.after(ms, f),
    () => this.#socket?.send(encode({ t: "ping" })),
    () => this.#failed(new HeadwaterError("RELAY_UNREACHABLE", "the relay has stopped answering")),
  )

  /** Throws `URL_INVALID`. */
  constructor({ url, token }: RelayOptions) {
    checkUrl(url)
    this.url = url
    this.#token = token
  }

  // ── the workspaces on this connection ─────────────────────────────────────────────────────────────────────────────

  /** Throws when a workspace with this id cannot be attached to this connection. */
  throwUnlessFree(workspace: string): void {
    if (this.closed) {
      throw new HeadwaterError("CLOSED", "this relay connection was closed: connect with a new one")
    }
    if (this.#channels.has(workspace)) {
      const taken = `workspace ${workspace} is open on this relay connection already, from another store`
      throw new HeadwaterError("STORE_IN_USE", `${taken}: close it there, or give this one a connection of its own`)
    }
  }

  /** Attaches a workspace. Returns the function that detaches it. */
  attach(workspace: string, channel: Channel, env: Env): () => void {
    this.throwUnlessFree(workspace)
    this.#env ??= env
    this.#channels.set(workspace, channel)
    if (this.#state === "open" && this.#mayUseSocket(workspace)) this.#giveLink(workspace, channel)
    else if (this.#state === "asking" || this.#state === "dialling") channel.dialling()
    else this.#dial()
    this.#stopListeningForWake ??= this.#env.onWake(() => this.wake())
    return () => {
      if (this.#channels.get(workspace) !== channel) return
      this.#channels.delete(workspace)
      this.#redialWait.left(workspace)
      if (this.#channels.size === 0) this.#hangUp()
    }
  }

  /**
   * Whether a workspace may use the present socket. A workspace may use a socket only once. After it has left the
   * socket, the relay may still send acks and entries for its old session, and a new session would take them for
   * answers to its own messages. A relay also limits how many workspaces use one socket (`limits.workspaces`).
   */
  #mayUseSocket(workspace: string): boolean {
    return !this.#usedSocket.has(workspace) && this.#usedSocket.size < Math.max(limits.workspaces, this.#channels.size)
  }

  #giveLink(workspace: string, channel: Channel): void {
    this.#usedSocket.add(workspace)
    channel.opened(this.#link(workspace))
  }

  #link(workspace: string): Link {
    const socket = this.#socket
    const live = () => this.#socket === socket && this.#channels.has(workspace)
    return {
      send: (message) => live() && socket?.send(encode(message)),
      proven: () => {
        if (live()) this.#redialWait.proven(workspace)
      },
    }
  }

  /** Call when the network or the page is back. Pings the relay if the connection is open; otherwise dials at once. */
  wake(): void {
    if (this.#channels.size === 0) return
    if (this.#state === "open") this.#heartbeat.beatNow()
    else if (this.#state === "idle" || this.#state === "waiting") {
      this.#redialWait.reset()
      this.#dial()
    }
  }

  async close(): Promise<void> {
    this.closed = true
    const channels = [...this.#channels.values()]
    this.#channels.clear()
    this.#hangUp()
    for (const channel of channels) channel.closed(null, null)
    this.#closeListeners.tellNow()
  }

  /**
   * Calls `listener` when this connection is closed for good, even if the listener's workspace has left it. (The
   * connection calls `Channel.closed` only for workspaces that are attached at that moment.) Returns the function that
   * removes the listener.
   */
  onClose(listener: () => void): () => void {
    return this.#closeListeners.add(listener)
  }

  // ── dialling ──────────────────────────────────────────────────────────────────────────────────────────────────────

  get #machine(): Env {
    return this.#env as Env // defined, because nothing is dialled before a workspace is attached
  }

  #dial(): void {
    this.#dropSocket()
    this.#cancelTimer?.()
    for (const channel of this.#channels.values()) channel.dialling()
    this.#state = "asking"
    this.#ask(
      this.#tokenReason,
      (token) => this.#connect(token),
      (error) => this.#redial(error), // not `#failed`, which would take the error's code for a refusal by the relay
    )
  }

  /** Asks the app for a token. If the call is aborted before the answer, neither `got` nor `failed` is called. */
  #ask(
    reason: "open" | "expiring" | "refused",
    got: (token: string | undefined) => void,
    failed: (error: HeadwaterError) => void,
  ): void {
    const call = new AbortController()
    this.#tokenCall = call
    const answered = <T>(go: (answer: T) => void) => {
      return (answer: T) => {
        if (this.#tokenCall !== call) return
        this.#tokenCall = undefined
        go(answer)
      }
    }
    const workspaces = [...this.#channels.keys()]
    askForToken(this.#token, reason, workspaces, call, this.#machine).then(answered(got), answered(failed))
  }

  /**
   * Dials again at once with a new token. Calls `dialling` and not `closed`, because the old connection had no failure.
   */
  #redialWith(token: string): void {
    this.#dropSocket()
    for (const channel of [...this.#channels.values()]) channel.dialling()
    this.#connect(token)
  }

  #connect(token: string | undefined): void {
    this.#state = "dialling"
    const socket = this.#machine.dial(this.url, subprotocols(token))
    this.#socket = socket
    this.#waitFor(OPEN_MS, () => {
      this.#failed(new HeadwaterError("RELAY_UNREACHABLE", "the relay has not answered the dial in 15 s"))
    })
    socket.onopen = () => {
      this.#cancelTimer?.()
      this.#state = "open"
      this.#heartbeat.start()
      if (typeof this.#token === "function") this.#renewal.watch(token, this.#machine)
      if (this.#firstWordMs === undefined) this.#waitUntilStable()
      else this.#awaitFirstWord(this.#firstWordMs)
      for (const [workspace, channel] of [...this.#channels]) this.#giveLink(workspace, channel)
    }
    socket.onmessage = (frame) => this.#receive(frame)
    socket.onclose = (code, reason) => {
      const opened = this.#state === "open"
      if (opened && this.#firstWordMs !== undefined && this.#farewell === undefined && foreignCloseCodes.has(code)) {
        return this.#failed(this.#noRelay(reason || `it closes the connection (${code})`, undefined, closeCodes[code]))
      }
      const why = this.#farewell ?? closeCodes[code] ?? "RELAY_UNREACHABLE"
      const said = reason && ` ${reason}`
      const what =
        opened || reason === "" ? `the connection ended (${code}${said})` : `${this.url} cannot be reached:${said}`
      // Only on Node, `reason` has the HTTP status with which a server has refused the dial (`causeOf`).
      const isRefused = !opened && /HTTP 40[13]\b/.test(reason)
      this.#failed(new HeadwaterError(why, what), isRefused || undefined)
    }
  }

  /**
   * Waits `ms` for the relay's first message. Sends a ping after half of the time, because a relay answers a ping at
   * once, whatever else it is doing.
   */
  #awaitFirstWord(ms: number): void {
    this.#waitFor(ms / 2, () => {
      this.#socket?.send(encode({ t: "ping" }))
      this.#waitFor(ms / 2, () => this.#failed(this.#noRelay("it accepts the connection and does not answer")))
    })
  }

  #waitUntilStable(): void {
    this.#waitFor(STABLE_MS, () => this.#redialWait.reset())
  }

  /** Makes the error for a server that is no relay. Doubles the time in which the first message must come. */
  #noRelay(why: string, cause?: unknown, code: Code = "RELAY_UNREACHABLE"): HeadwaterError {
    if (this.#firstWordMs !== undefined) this.#firstWordMs = Math.min(LONGEST_FIRST_WORD_MS, 2 * this.#firstWordMs)
    const message = `the server at ${this.url} seems to be no Headwater relay: ${why}; check the URL`
    return new HeadwaterError(cause instanceof HeadwaterError ? cause.code : code, message, { cause })
  }

  #receive(frame: Uint8Array): void {
    this.#heartbeat.heard()
    let message: RelayMessage | null
    try {
      message = decodeRelay(frame)
    } catch (error) {
      const unheard = this.#firstWordMs !== undefined
      return this.#failed(unheard ? this.#noRelay("it speaks another protocol", error) : (error as HeadwaterError))
    }
    if (this.#firstWordMs !== undefined && message !== null) {
      this.#firstWordMs = undefined
      this.#waitUntilStable()
    }
    this.#farewell = message?.t === "notice" && message.w === undefined ? message.code : undefined
    if (message === null || message.t === "pong") return
    if ("w" in message && message.w !== undefined) this.#channels.get(message.w)?.received(message, frame.length)
    else for (const channel of [...this.#channels.values()]) channel.received(message, frame.length)
  }

  /** Call when the connection or the dial has failed. `isRefused`: whether the relay has refused the token. */
  #failed(error: HeadwaterError, isRefused = error.code === "FORBIDDEN" || error.code === "TOKEN_EXPIRED"): void {
    this.#tokenReason = isRefused ? "refused" : "open"
    if (this.#state === "open") {
      const unfinished = [...this.#channels].filter(([, { isUnfinished }]) => isUnfinished)
      this.#redialWait.broke(unfinished.map(([workspace]) => workspace))
    }
    this.#redial(error)
  }

  /** Dials again after a wait. */
  #redial(error: HeadwaterError): void {
    this.#dropSocket()
    if (this.#channels.size === 0) return
    const wait = this.#redialWait.next(this.#machine)
    const retryAt = this.#machine.now() + wait
    this.#state = "waiting"
    this.#waitFor(wait, () => this.#dial())
    for (const channel of [...this.#channels.values()]) channel.closed(error, retryAt)
  }

  /** Call when no workspace is on this connection any more. */
  #hangUp(): void {
    this.#cancelTimer?.()
    this.#stopListeningForWake?.()
    this.#stopListeningForWake = undefined
    this.#redialWait.reset()
    this.#dropSocket()
  }

  /** Closes the socket, and aborts the call of the app's token function. Later events of both are ignored. */
  #dropSocket(): void {
    const [socket, call] = [this.#socket, this.#tokenCall]
    this.#state = "idle"
    this.#socket = undefined
    this.#tokenCall = undefined
    this.#usedSocket.clear()
    this.#farewell = undefined
    this.#heartbeat.stop()
    this.#renewal.stop()
    call?.abort()
    if (socket === undefined) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(1000)
  }

  #waitFor(ms: number, f: () => void): void {
    this.#cancelTimer?.()
    this.#cancelTimer = this.#machine.after(ms, f)
  }
}

/**
 * One connection for several workspaces: pass it as `relay` to each `openWorkspace`. The relay is dialled when the
 * first of these workspaces is opened. Two workspaces with the same id cannot be on one connection at the same time.
 */
export function relayConnection(options: RelayOptions): Relay {
  return new Connection(options)
}
