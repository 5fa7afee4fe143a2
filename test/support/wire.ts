/** A client that speaks the wire and knows nothing else: for tests of the relay and for benches. */
import { WebSocket } from "ws"
import {
  type ClientMessage,
  type Cursor,
  decodeRelay,
  type Entry,
  encode,
  limits,
  type RelayMessage,
  SUBPROTOCOL,
} from "../../src/wire/protocol.ts"

type Of<T extends RelayMessage["t"]> = Extract<RelayMessage, { t: T }>

export class Wire {
  readonly socket: WebSocket
  /** Everything that has come and was not taken. */
  readonly received: RelayMessage[] = []
  /** Bytes of frames that have come. */
  bytes = 0
  closed: { readonly code: number; readonly reason: string } | undefined
  #waiting: (() => void)[] = []
  #nextPush = 1

  private constructor(socket: WebSocket) {
    this.socket = socket
    socket.on("message", (frame: Buffer) => {
      this.bytes += frame.length
      const message = decodeRelay(frame)
      if (message) this.received.push(message)
      this.#wake()
    })
    socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() }
      this.#wake()
    })
    socket.on("error", () => {})
  }

  /** Rejects when the relay does not take the upgrade. */
  static async dial(url: string, options: { protocols?: string[]; origin?: string } = {}): Promise<Wire> {
    const { protocols = [SUBPROTOCOL], origin } = options
    const socket = new WebSocket(url, protocols, { perMessageDeflate: false, ...(origin !== undefined && { origin }) })
    const wire = new Wire(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve)
      socket.once("error", reject)
    })
    return wire
  }

  send(message: ClientMessage): void {
    this.socket.send(encode(message))
  }

  pull(w = "w", cursor: Cursor | null = null, options: { reach?: Cursor | null; credit?: number } = {}): void {
    const { reach = null, credit = limits.credit } = options
    this.send({ t: "pull", w, cursor, reach, credit })
  }

  /** Returns the push's id. */
  push(entries: readonly Entry[], options: { w?: string; adopt?: true } = {}): string {
    const { w = "w", adopt } = options
    const id = String(this.#nextPush++)
    this.send({ t: "push", w, id, entries, ...(adopt && { adopt }) })
    return id
  }

  /** The first message of this type that was not taken yet, as soon as it is there. */
  async take<T extends RelayMessage["t"]>(t: T, wanted: (message: Of<T>) => boolean = () => true): Promise<Of<T>> {
    const fits = (message: RelayMessage): message is Of<T> => message.t === t && wanted(message as Of<T>)
    for (;;) {
      const found = this.received.find(fits)
      if (found) {
        this.received.splice(this.received.indexOf(found), 1)
        return found
      }
      await this.#more(`waiting for ${t}`)
    }
  }

  ack(id: string): Promise<Of<"ack">> {
    return this.take("ack", (ack) => ack.id === id)
  }

  /** Takes entries up to the first that say level. */
  async level(w = "w"): Promise<Of<"entries">[]> {
    const frames: Of<"entries">[] = []
    do frames.push(await this.take("entries", (entries) => entries.w === w))
    while (!frames.at(-1)?.level)
    return frames
  }

  /** Resolves when the relay has answered all that came before: a ping is answered at once, so messages need not be. */
  async ping(): Promise<void> {
    this.send({ t: "ping" })
    await this.take("pong")
  }

  async ended(): Promise<{ readonly code: number; readonly reason: string }> {
    while (!this.closed) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    return this.closed
  }

  close(): void {
    this.socket.terminate()
  }

  #more(what: string): Promise<void> {
    if (this.closed) throw new Error(`closed with ${this.closed.code} ${this.closed.reason} while ${what}`)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
