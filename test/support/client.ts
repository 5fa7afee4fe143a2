/** A client that only encodes, decodes and keeps the protocol's messages. Subclasses send and receive its frames. */
import {
  type ClientMessage,
  type Cursor,
  decodeRelay,
  type Entry,
  encode,
  limits,
  type RelayMessage,
} from "../../src/wire/protocol.ts"

type Of<T extends RelayMessage["t"]> = Extract<RelayMessage, { t: T }>

export abstract class Client {
  /** The messages that have arrived and were not taken yet. */
  readonly received: RelayMessage[] = []
  /** Bytes of all frames that have arrived. */
  bytes = 0
  closed: { readonly code: number; readonly reason: string } | undefined
  #waiting: (() => void)[] = []
  #nextPush = 1

  protected abstract sendFrame(frame: Uint8Array): void

  /** Call it when a frame has arrived. */
  protected arrived(frame: Uint8Array): void {
    this.bytes += frame.length
    const message = decodeRelay(frame)
    if (message) this.received.push(message)
    this.#wake()
  }

  protected hasClosed(code: number, reason: string): void {
    this.closed = { code, reason }
    this.#wake()
  }

  send(message: ClientMessage): void {
    this.sendFrame(encode(message))
  }

  pull(w = "w", cursor: Cursor | null = null, options: { reach?: Cursor | null; credit?: number } = {}): void {
    const { reach = null, credit = limits.credit } = options
    this.send({ t: "pull", w, cursor, reach, credit })
  }

  /** Sends a push and returns the push's id. */
  push(entries: readonly Entry[], options: { w?: string; adopt?: true } = {}): string {
    const { w = "w", adopt } = options
    const id = String(this.#nextPush++)
    this.send({ t: "push", w, id, entries, ...(adopt && { adopt }) })
    return id
  }

  /**
   * Takes the first message of this type that is `wanted` out of `received`, and waits for it if necessary. Rejects
   * when the connection closes first.
   */
  async take<T extends RelayMessage["t"]>(t: T, wanted: (message: Of<T>) => boolean = () => true): Promise<Of<T>> {
    const fits = (message: RelayMessage): message is Of<T> => message.t === t && wanted(message as Of<T>)
    for (;;) {
      const found = this.received.find(fits)
      if (found) {
        this.received.splice(this.received.indexOf(found), 1)
        return found
      }
      if (this.closed) throw new Error(`closed with ${this.closed.code} ${this.closed.reason} while waiting for ${t}`)
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  ack(id: string): Promise<Of<"ack">> {
    return this.take("ack", (ack) => ack.id === id)
  }

  /** Takes `entries` messages up to the first one with `level`. */
  async level(w = "w"): Promise<Of<"entries">[]> {
    const frames: Of<"entries">[] = []
    do frames.push(await this.take("entries", (entries) => entries.w === w))
    while (!frames.at(-1)?.level)
    return frames
  }

  /**
   * Resolves when the relay has read everything that was sent before. The relay answers a ping at once, so it may still
   * have to answer earlier messages.
   */
  async ping(): Promise<void> {
    this.send({ t: "ping" })
    await this.take("pong")
  }

  /**
   * Resolves when the relay has had time for everything that it does without its disk. A single ping would not be
   * enough, because the relay may answer a ping before it answers earlier messages.
   */
  async quiet(): Promise<void> {
    for (let i = 0; i < 3; i++) await this.ping()
  }

  async ended(): Promise<{ readonly code: number; readonly reason: string }> {
    while (!this.closed) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    return this.closed
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}
