/**
 * The frames that sockets hold because the network has not taken them yet. One frame may go to thousands of followers
 * and is in memory once, so it is counted once. Each of its holders is responsible for a share of it.
 */

/** Smaller frames are counted for each socket: there is no need to know which they are. */
const LARGE = 4096

/** The large frames of all sockets. */
export class HeldFrames {
  readonly #holders = new Map<Uint8Array, number>()
  #bytes = 0

  /** Bytes of all frames, each counted once. */
  get bytes(): number {
    return this.#bytes
  }

  /** Bytes of a frame for which one of its holders is responsible. */
  share(frame: Uint8Array): number {
    return frame.length / this.#holders.get(frame)!
  }

  hold(frame: Uint8Array): void {
    const holders = this.#holders.get(frame) ?? 0
    if (holders === 0) this.#bytes += frame.length
    this.#holders.set(frame, holders + 1)
  }

  release(frame: Uint8Array): void {
    const holders = this.#holders.get(frame)!
    if (holders > 1) return void this.#holders.set(frame, holders - 1)
    this.#holders.delete(frame)
    this.#bytes -= frame.length
  }
}

/** What one socket holds. */
export class Outgoing {
  readonly #held: HeldFrames
  /** Bytes that were given to the socket and that the network has not taken yet. */
  readonly #buffered: () => number
  /** Bytes that were given to the socket from the beginning. */
  #given = 0
  /** The large ones of the frames that it holds, in their order, each with `#given` as it was behind the frame. */
  #large: { readonly frame: Uint8Array; readonly end: number }[] = []

  constructor(held: HeldFrames, buffered: () => number) {
    this.#held = held
    this.#buffered = buffered
  }

  /** Call it before the socket is given the frame. */
  give(frame: Uint8Array): void {
    const { length } = frame
    this.#given += length + (length < 126 ? 2 : length < 2 ** 16 ? 4 : 10)
    if (length < LARGE) return
    this.#held.hold(frame)
    this.#large.push({ frame, end: this.#given })
  }

  /** Bytes that it holds by itself, without the large frames. */
  own(): number {
    const buffered = this.#buffered()
    // Pongs count in `buffered` only, so this is too little by their bytes until the socket is empty.
    const taken = buffered === 0 ? this.#given : this.#given - buffered
    while (this.#large.length > 0 && this.#large[0]!.end <= taken) this.#held.release(this.#large.shift()!.frame)
    let large = 0
    for (const { frame } of this.#large) large += frame.length
    return Math.max(0, buffered - large)
  }

  /** Bytes for which it is responsible. */
  share(): number {
    let bytes = this.own()
    for (const { frame } of this.#large) bytes += this.#held.share(frame)
    return bytes
  }

  /** The socket is gone. */
  end(): void {
    for (const { frame } of this.#large.splice(0)) this.#held.release(frame)
  }
}
