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
  /** Of each live entry, oldest first, the run that it is the first of by then. Of a cleared one: a run of none. */
  #order = new Deque<Deque<Live>>()
  #cleared = 0

  constructor(budget: number) {
    this.#budget = budget
  }

  /** To the end of `run`, whose first ones may leave for it. */
  add(run: Deque<Live>, live: Live): void {
    run.push(live)
    this.#order.push(run)
    this.#bytes += live.bytes.length
    while (this.#bytes > this.#budget) {
      const oldest = this.#order.shift()
      if (!oldest) return
      const gone = oldest.shift()
      if (gone) this.#bytes -= gone.bytes.length
      else this.#cleared--
    }
  }

  /** All of `run`, to which nothing is added any more. */
  clear(run: Deque<Live>): void {
    this.#cleared += run.length
    for (let live = run.shift(); live; live = run.shift()) this.#bytes -= live.bytes.length
    // Most workspaces come and go without a ring that is full: what is left of them must not pile up.
    if (this.#cleared < 1024 + this.#order.length / 2) return
    const order = new Deque<Deque<Live>>()
    for (let kept = this.#order.shift(); kept; kept = this.#order.shift()) if (kept.length > 0) order.push(kept)
    this.#order = order
    this.#cleared = 0
  }
}

/** The live entries of one workspace: a run of places up to the last appended one. */
export class Window {
  readonly #ring: Ring
  #items = new Deque<Live>()
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
    this.#ring.add(this.#items, live)
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
    this.#ring.clear(this.#items)
    this.#items = new Deque()
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
