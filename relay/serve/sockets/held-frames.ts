/**
 * Counts the frames that sockets hold because the network has not taken them yet. One frame may go to thousands of
 * sockets but is in memory only once, so its bytes are counted once. Each socket that holds the frame is charged with
 * an equal share of them.
 */

/**
 * The fewest bytes of a large frame. Smaller frames are not tracked one by one: their bytes are counted once for each
 * socket that holds them.
 */
export const LARGE = 4096

/** The large frames of all sockets. */
export class HeldFrames {
  readonly #holders = new Map<Uint8Array, number>()
  #bytes = 0

  /** Bytes of all large frames that sockets hold, each frame counted once. */
  get bytes(): number {
    return this.#bytes
  }

  /** Returns the bytes of a frame divided by the number of sockets that hold the frame. */
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

/** The frames that one socket holds. */
export class Outgoing {
  readonly #held: HeldFrames
  /** Bytes that were given to the socket and that the network has not taken yet. */
  readonly #buffered: () => number
  /** Bytes given to the socket since it was opened. */
  #given = 0
  /**
   * The large frames that the socket holds, oldest first. `end`: the value of `#given` right after the frame was given.
   */
  #large: { readonly frame: Uint8Array; readonly end: number }[] = []

  constructor(held: HeldFrames, buffered: () => number) {
    this.#held = held
    this.#buffered = buffered
  }

  /** Counts the frame as held by the socket. Call it before the frame is passed to the socket. */
  give(frame: Uint8Array): void {
    const { length } = frame
    this.#given += length + (length < 126 ? 2 : length < 2 ** 16 ? 4 : 10)
    if (length < LARGE) return
    this.#held.hold(frame)
    this.#large.push({ frame, end: this.#given })
  }

  /** Returns the bytes that the socket holds, without the large frames. */
  own(): number {
    const buffered = this.#buffered()
    // Pongs are in `buffered` but not in `#given`, so `taken` is too small by their bytes until the socket is empty.
    const taken = buffered === 0 ? this.#given : this.#given - buffered
    while (this.#large.length > 0 && this.#large[0]!.end <= taken) this.#held.release(this.#large.shift()!.frame)
    let large = 0
    for (const { frame } of this.#large) large += frame.length
    return Math.max(0, buffered - large)
  }

  /** Returns the bytes that the socket is charged with: its own, and its shares of the large frames. */
  share(): number {
    let bytes = this.own()
    for (const { frame } of this.#large) bytes += this.#held.share(frame)
    return bytes
  }

  /** Releases the frames of a socket that has closed. */
  end(): void {
    for (const { frame } of this.#large.splice(0)) this.#held.release(frame)
  }
}
