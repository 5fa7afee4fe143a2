/**
 * Keeps the newest entries in memory, each encoded once for all connections of a relay. A connection that needs older
 * entries reads the log, so nothing is ever queued for a connection.
 */

/** An appended entry, in the form in which it is sent. */
export interface RecentEntry {
  /** The entry's encoding, `encodeEntry(entry)`. */
  readonly bytes: Uint8Array
  /** The id of the connection that pushed the entry. */
  readonly connection: number
  /** The id of the push, and the entry's index in that push. */
  readonly push: string
  readonly index: number
}

/** Bounds the bytes of the recent entries of all workspaces together. The oldest entries are dropped first. */
export class RecentBudget {
  readonly #limit: number
  #bytes = 0
  /**
   * Holds, for each recent entry, oldest first, the queue of its workspace. A queue that turns out to be empty was
   * cleared, and is skipped.
   */
  #order = new Queue<Queue<RecentEntry>>()
  /** Number of elements of `#order` whose entries were cleared. */
  #cleared = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  /**
   * Appends an entry to `queue`. Then drops the oldest entries of all queues until the remaining ones are within the
   * limit.
   */
  add(queue: Queue<RecentEntry>, entry: RecentEntry): void {
    queue.push(entry)
    this.#order.push(queue)
    this.#bytes += entry.bytes.length
    while (this.#bytes > this.#limit) {
      const oldest = this.#order.shift()
      if (!oldest) return
      const gone = oldest.shift()
      if (gone) this.#bytes -= gone.bytes.length
      else this.#cleared--
    }
  }

  /** Empties `queue`. Nothing may be added to it afterwards. */
  clear(queue: Queue<RecentEntry>): void {
    this.#cleared += queue.length
    for (let entry = queue.shift(); entry; entry = queue.shift()) this.#bytes -= entry.bytes.length
    // Remove the elements of cleared queues from `#order` when they are many. They would pile up, because most
    // workspaces are closed before their entries reach the limit.
    if (this.#cleared < 1024 + this.#order.length / 2) return
    const order = new Queue<Queue<RecentEntry>>()
    for (let kept = this.#order.shift(); kept; kept = this.#order.shift()) if (kept.length > 0) order.push(kept)
    this.#order = order
    this.#cleared = 0
  }
}

/**
 * The recent entries of one workspace. Their positions are consecutive, and end with the position of the last appended
 * entry.
 */
export class RecentEntries {
  readonly #budget: RecentBudget
  #queue = new Queue<RecentEntry>()
  /** The position of the last appended entry. */
  #last: number

  constructor(budget: RecentBudget, last: number) {
    this.#budget = budget
    this.#last = last
  }

  /**
   * Adds the entry that was appended at `position`. `previous`: the last appended position before that. If a flush has
   * failed since the last entry was added here, `previous` is not the position of that entry, or `position` is not
   * `previous` + 1. The entries here are then dropped, because some are lost or a gap follows them.
   */
  add(previous: number, position: number, entry: RecentEntry): void {
    if (previous !== this.#last || position !== previous + 1) this.clear()
    this.#last = position
    this.#budget.add(this.#queue, entry)
  }

  /** Whether every entry after `position` is among the recent ones. */
  covers(position: number): boolean {
    return position >= this.#last - this.#queue.length && position <= this.#last
  }

  /** Returns the entry at `position`; undefined when it is not among the recent ones. */
  at(position: number): RecentEntry | undefined {
    return this.#queue.at(this.#queue.length - 1 - (this.#last - position))
  }

  clear(): void {
    this.#budget.clear(this.#queue)
    this.#queue = new Queue()
  }
}

/** An array whose first element can be removed cheaply. */
class Queue<T> {
  #items: (T | undefined)[] = []
  /** Index in `#items` of the first element; the elements before it were removed. */
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
