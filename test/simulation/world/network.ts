/**
 * Connections between replicas and the relay. Frames arrive in order, at any later time, until the connection is cut. A
 * cut loses the frames on their way. A zombie is a connection whose client is gone while the relay still receives what
 * the client had sent.
 */
import type { Socket } from "../../../src/base/env.ts"
import { draw, type Lane, type Latency, type Process, type Scheduler } from "./clock.ts"
import { hashBytes, type Random } from "./random.ts"

/** The relay's end of a connection. */
export interface Line {
  readonly id: number
  /** Name of the replica that dialled. */
  readonly owner: string
  send(frame: Uint8Array): void
  close(code?: number, reason?: string): void
  /** Bytes that the relay has sent and that are still on their way. */
  buffered(): number
  pauseReading(paused: boolean): void
}

export interface Listener {
  receive(frame: Uint8Array): void
  closed(): void
  /** Called when frames that the relay had sent have arrived. */
  drained(): void
}

export interface Host {
  /** The relay's listener for a new connection. Undefined: no relay is running. */
  accept(url: string, line: Line): Listener | undefined
}

/** Sees, and may change, each frame on its way. */
export interface Tap {
  up(connection: Connection, frame: Uint8Array): void
  /** Called when a frame of a replica arrives at the relay. */
  arrived(connection: Connection, frame: Uint8Array): void
  down(connection: Connection, frame: Uint8Array): void
  /** Called when a frame of the relay arrives at a replica. */
  reached(connection: Connection, frame: Uint8Array): void
  /** Returns what arrives at the replica in place of this frame. */
  changed(connection: Connection, frame: Uint8Array): Uint8Array
  /** Whether a frame carries changes to the relay. */
  isPush(frame: Uint8Array): boolean
  /** Whether a frame brings a replica changes or an ack. */
  isNews(frame: Uint8Array): boolean
}

export class Network {
  readonly connections: Connection[] = []
  host: Host | undefined
  /** How often each thing has happened. */
  readonly seen = {
    cuts: 0,
    zombies: 0,
    silences: 0,
    lost: { up: 0, down: 0 },
    duplicates: { up: 0, down: 0 },
    /** Pushes that arrived after a frame of a later connection of the same device. */
    overtaken: 0,
    /** Frames that took longer than a second on a slow line. */
    slow: 0,
    /** How often the relay stopped reading a connection for a while. */
    paused: 0,
  }
  /** Chance that a push, or news from the relay, is delivered twice. */
  duplicates = 0
  /** Bytes that a connection carries in 1 ms. */
  bytesPerMs = Infinity
  /** Whether each frame of a new connection waits until it is released. */
  held = false
  readonly scheduler: Scheduler
  readonly latency: Latency
  readonly tap: Tap
  readonly random: Random
  /** For each device: the newest connection of which a frame has arrived at the relay. */
  readonly latest = new Map<string, number>()
  #next = 1

  constructor(scheduler: Scheduler, latency: Latency, tap: Tap) {
    this.scheduler = scheduler
    this.latency = latency
    this.tap = tap
    this.random = scheduler.random("network")
  }

  dial(owner: string, process: Process, url: string): Socket {
    const connection = new Connection(this, this.#next++, owner, process, url)
    this.connections.push(connection)
    return connection.socket
  }

  of(owner: string): Connection[] {
    return this.connections.filter((c) => c.owner === owner && !c.ended)
  }

  /** The relay's machine is gone. Clients for which `told` is true notice a cut, the others hear nothing more. */
  hostDied(told: (connection: Connection) => boolean): void {
    for (const connection of [...this.connections]) {
      if (connection.ended) continue
      connection.relayDied()
      if (told(connection)) connection.cut()
      else this.seen.silences++
    }
  }

  end(connection: Connection): void {
    const i = this.connections.indexOf(connection)
    if (i >= 0) this.connections.splice(i, 1)
  }
}

export class Connection {
  readonly id: number
  readonly owner: string
  readonly socket: Socket
  readonly up: Lane
  readonly down: Lane
  /** Directions in which frames are lost and neither end notices. */
  readonly silent = { up: false, down: false }
  readonly #network: Network
  readonly #process: Process
  readonly #url: string
  #listener: Listener | undefined
  /** The connection's state as the client sees it, and as the relay sees it. */
  #client: "opening" | "open" | "closed" = "opening"
  #relay: "none" | "open" | "closed" = "none"
  #buffered = { up: 0, down: 0 }
  #onTheWay = { up: 0, down: 0 }

  constructor(network: Network, id: number, owner: string, process: Process, url: string) {
    this.#network = network
    this.id = id
    this.owner = owner
    this.#process = process
    this.#url = url
    this.up = network.scheduler.lane(`#${id} up`, network.latency)
    this.down = network.scheduler.lane(`#${id} down`, network.latency)
    this.socket = this.#makeSocket()
    this.#later("dial", () => this.#arrive())
  }

  get ended(): boolean {
    return this.#client === "closed" && this.#relay !== "open"
  }

  get open(): boolean {
    return this.#client === "open" && this.#relay === "open"
  }

  /** Cuts the connection. Frames on their way are lost, and each end notices after a while. */
  cut(): void {
    if (this.ended) return
    this.#network.seen.cuts++
    this.silent.up = true
    this.silent.down = true
    this.#lose("up")
    this.#lose("down")
    this.#later("cut for the relay", () => this.#relayEnds())
    this.#later("cut for the client", () => this.#clientEnds(1006, ""))
  }

  /**
   * Cuts off the client. The relay still receives what the client had sent, `ms` later than usual, and only then
   * notices the end.
   */
  zombie(ms = 0): void {
    if (this.#client === "closed") return
    this.up.delay(ms)
    this.#network.seen.zombies++
    this.#lose("down")
    this.silent.down = true
    this.#clientEnds(1006, "")
    this.up.push("end", () => this.#relayEnds())
  }

  /** Makes the connection half-open: from now on frames in this direction are lost, and neither end notices. */
  silence(direction: "up" | "down"): void {
    if (this.ended || this.silent[direction]) return
    this.#network.seen.silences++
    this.silent[direction] = true
    this.#lose(direction)
  }

  /**
   * The client's program is gone. Then the relay notices the end. `delivered`: before that, it receives the frames on
   * their way.
   */
  clientDied(delivered: boolean): void {
    this.#client = "closed"
    this.#lose("down")
    this.silent.down = true
    if (delivered) this.up.push("end", () => this.#relayEnds())
    else {
      this.#lose("up")
      this.#later("cut for the relay", () => this.#relayEnds())
    }
  }

  relayDied(): void {
    this.#relay = "closed"
    this.#listener = undefined
    this.#lose("up")
    this.#lose("down")
    this.silent.up = true
    this.#endIfOver()
  }

  #makeSocket(): Socket {
    const connection = this
    const socket: Socket = {
      onopen: null,
      onmessage: null,
      onclose: null,
      get bufferedAmount() {
        return connection.#buffered.up
      },
      send(frame) {
        connection.#sendUp(frame)
      },
      close(code = 1000) {
        connection.#clientCloses(code)
      },
    }
    return socket
  }

  #arrive(): void {
    if (this.#client !== "opening") return
    const line: Line = {
      id: this.id,
      owner: this.owner,
      send: (frame) => this.#sendDown(frame),
      close: (code = 1000, reason = "") => this.#relayCloses(code, reason),
      buffered: () => this.#buffered.down,
      pauseReading: (paused) => {
        if (paused) this.#network.seen.paused++
        this.up.paused = paused
      },
    }
    this.#listener = this.#network.host?.accept(this.#url, line)
    if (!this.#listener) {
      this.#later("refused", () => this.#clientEnds(1006, ""))
      return
    }
    this.#relay = "open"
    this.down.push(
      "open",
      () => {
        if (this.#client !== "opening") return
        this.#client = "open"
        this.up.held = this.down.held = this.#network.held
        this.socket.onopen?.()
      },
      this.#process,
    )
  }

  #sendUp(given: Uint8Array): void {
    if (this.#client !== "open") return
    const frame = given.slice()
    this.#network.tap.up(this, frame)
    const { random, tap, seen } = this.#network
    if (this.silent.up) {
      seen.lost.up++
      this.#buffered.up += frame.length
      return
    }
    this.#queueUp(frame)
    if (random.chance(this.#network.duplicates) && tap.isPush(frame)) {
      seen.duplicates.up++
      this.#queueUp(frame)
    }
  }

  #queueUp(frame: Uint8Array): void {
    this.#buffered.up += frame.length
    this.#onTheWay.up++
    const arrive = () => {
      this.#buffered.up -= frame.length
      this.#onTheWay.up--
      this.#noteOrder(frame)
      if (!this.#listener) return
      this.#network.tap.arrived(this, frame)
      this.#listener.receive(frame.slice())
    }
    this.up.push(name(frame), arrive, undefined, this.#takes(frame))
  }

  /** How long the connection takes to carry a frame, ms. */
  #takes({ length }: Uint8Array): number {
    const ms = length / this.#network.bytesPerMs
    if (ms > 1000) this.#network.seen.slow++
    return ms
  }

  #noteOrder(frame: Uint8Array): void {
    const { latest, seen, tap } = this.#network
    const other = latest.get(this.owner) ?? 0
    if (this.id < other && tap.isPush(frame)) seen.overtaken++
    latest.set(this.owner, Math.max(this.id, other))
  }

  #sendDown(given: Uint8Array): void {
    if (this.#relay !== "open") return
    const frame = given.slice()
    this.#network.tap.down(this, frame)
    const { random, duplicates, tap, seen } = this.#network
    if (this.silent.down) {
      seen.lost.down++
      this.#buffered.down += frame.length
      return
    }
    this.#queueDown(tap.changed(this, frame))
    if (random.chance(duplicates) && tap.isNews(frame)) {
      seen.duplicates.down++
      this.#queueDown(frame)
    }
  }

  #queueDown(frame: Uint8Array): void {
    this.#buffered.down += frame.length
    this.#onTheWay.down++
    this.down.push(
      name(frame),
      () => {
        this.#buffered.down -= frame.length
        this.#onTheWay.down--
        this.#listener?.drained()
        if (this.#client !== "open") return
        this.#network.tap.reached(this, frame)
        this.socket.onmessage?.(frame.slice())
      },
      this.#process,
      this.#takes(frame),
    )
  }

  #lose(direction: "up" | "down"): void {
    this.#network.seen.lost[direction] += this.#onTheWay[direction]
    this.#onTheWay[direction] = 0
    this[direction].clear()
  }

  #clientCloses(code: number): void {
    if (this.#client === "closed") return
    this.#later("closed here", () => this.#tell(code, ""))
    this.#client = "closed"
    this.#lose("down")
    this.silent.down = true
    if (!this.silent.up) this.up.push("end", () => this.#relayEnds())
    this.#endIfOver()
  }

  #relayCloses(code: number, reason: string): void {
    if (this.#relay !== "open") return
    this.#relay = "closed"
    this.#lose("up")
    this.#later("closed there", () => this.#listener?.closed())
    if (!this.silent.down) this.down.push(`end ${code}`, () => this.#clientEnds(code, reason))
    this.#endIfOver()
  }

  #clientEnds(code: number, reason: string): void {
    if (this.#client === "closed") return
    this.#client = "closed"
    this.#tell(code, reason)
    this.#endIfOver()
  }

  #tell(code: number, reason: string): void {
    if (this.#process.alive) this.socket.onclose?.(code, reason)
  }

  #relayEnds(): void {
    if (this.#relay !== "open") return
    this.#relay = "closed"
    this.#listener?.closed()
    this.#endIfOver()
  }

  #endIfOver(): void {
    if (!this.ended) return
    this.up.close()
    this.down.close()
    this.#network.end(this)
  }

  #later(label: string, run: () => void): void {
    const { scheduler, random, latency } = this.#network
    scheduler.after(draw(random, latency), `#${this.id} ${label}`, run)
  }
}

const name = (frame: Uint8Array): string => `${frame.length} bytes ${hashBytes(frame).toString(16)}`
