/**
 * The entries that were appended last, encoded once for all connections of a relay. A connection that falls behind them
 * reads the log, so nothing is ever queued for one.
 */

/** An appended entry as it goes out. */
export interface Live {
  readonly bytes: Uint8Array
  /** The session that pushed it, and which entry of which of its pushes it is. */
  readonly session: number
  readonly push: string
  readonly index: number
}

/** Bounds the live entries of all workspaces together: the oldest go first, whoever they belong to. */
export class Ring {
  readonly #budget: number
  #bytes = 0
  /** The windows of the live entries, oldest entry first. */
  readonly #order = new Deque<Window>()

  constructor(budget: number) {
    this.#budget = budget
  }

  added(window: Window, bytes: number): void {
    this.#order.push(window)
    this.#bytes += bytes
    while (this.#bytes > this.#budget) {
      const oldest = this.#order.shift()
      if (!oldest) return
      this.#bytes -= oldest.dropOldest()
    }
  }

  /** `window` let go of that much by itself. What it still has in the order makes something else leave a little early. */
  released(bytes: number): void {
    this.#bytes -= bytes
  }
}

/** The live entries of one workspace: a run of places up to the last appended one. */
export class Window {
  readonly #ring: Ring
  readonly #items = new Deque<Live>()
  /** The place after the last of them. */
  #end: number

  constructor(ring: Ring, end: number) {
    this.#ring = ring
    this.#end = end
  }

  /** The entry between these two places. When the log was cut back, what was appended before `from` is not what is here. */
  add(from: number, to: number, live: Live): void {
    if (from !== this.#end || to !== from + 1) this.clear()
    this.#end = to
    this.#items.push(live)
    this.#ring.added(this, live.bytes.length)
  }

  /** Whether it has all that follows `place`. */
  covers(place: number): boolean {
    return place >= this.#end - this.#items.length && place <= this.#end
  }

  /** The entry that ends at `place`. */
  at(place: number): Live | undefined {
    return this.#items.at(this.#items.length - 1 - (this.#end - place))
  }

  clear(): void {
    for (let live = this.#items.shift(); live; live = this.#items.shift()) this.#ring.released(live.bytes.length)
  }

  /** How many bytes that frees. */
  dropOldest(): number {
    return this.#items.shift()?.bytes.length ?? 0
  }
}

/** An array that is cheap to shorten at the front. */
class Deque<T> {
  #items: (T | undefined)[] = []
  #from = 0

  get length(): number {
    return this.#items.length - this.#from
  }

  at(i: number): T | undefined {
    return i < 0 ? undefined : this.#items[this.#from + i]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    if (this.#from === this.#items.length) return undefined
    const item = this.#items[this.#from]
    this.#items[this.#from++] = undefined
    if (this.#from === this.#items.length || this.#from > 1024 + this.#items.length / 2) {
      this.#items = this.#items.slice(this.#from)
      this.#from = 0
    }
    return item
  }
}
