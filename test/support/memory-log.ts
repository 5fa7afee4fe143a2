/** A log in memory whose disk is slow on request: for tests that must see a relay between an append and its flush. */
import type { AppendedChange, EntityState, Known, Log, Logs, Page, Tail } from "../../relay/log.ts"
import { type Cursor, cursorOf, type Entry, encodeEntry, position } from "../../src/protocol.ts"

export class MemoryLog implements Log {
  /** While true, nothing becomes durable. */
  held = false
  #entries: { entry: Entry; bytes: Uint8Array }[] = []
  #end = 0
  #entities = new Map<string, EntityState>()
  #known = new Map<string, Known>()
  #tails = new Map<string, Tail>()
  #bindings = new Map<string, string>()
  #waiting: { place: number; resolve: (cursor: Cursor) => void }[] = []
  #listeners = new Set<() => void>()
  #breaks = new Set<() => void>()
  #era = 7
  #flushing = false

  get end(): Cursor {
    return this.#at(this.#end)
  }
  get appended(): number {
    return this.#entries.length
  }
  bytesAfter(place: number): number {
    return this.#entries.slice(place, this.#end).reduce((sum, { bytes }) => sum + bytes.length, 0)
  }
  entity = (entity: string) => this.#entities.get(entity)
  known = (entity: string, hash: string) => this.#known.get(`${entity}/${hash}`)
  tail = (entity: string, actor: string) => this.#tails.get(`${entity}/${actor}`)
  binding = (actor: string) => this.#bindings.get(actor)

  append(entry: Entry, changes: readonly AppendedChange[], bytes = encodeEntry(entry)): number {
    this.#entries.push({ entry, bytes })
    const place = this.#entries.length
    for (const change of changes) {
      const heads = (this.#entities.get(entry.entity)?.heads ?? []).filter((head) => !change.deps.includes(head))
      this.#entities.set(entry.entity, { collection: entry.collection, heads: [...heads, change.hash] })
      this.#known.set(`${entry.entity}/${change.hash}`, { ...change, position: place })
      this.#tails.set(`${entry.entity}/${change.actor}`, change)
      if (change.binds) this.#bindings.set(change.actor, entry.by!)
    }
    this.#flushSoon()
    return place
  }

  flushed(place: number): Promise<Cursor> {
    if (place <= this.#end) return Promise.resolve(this.#at(place))
    return new Promise((resolve) => this.#waiting.push({ place, resolve }))
  }

  holds(cursor: Cursor): boolean {
    return position(cursor) <= this.#end && Buffer.from(cursor).equals(this.#at(position(cursor)))
  }

  async since(place: number, bytes: number): Promise<Page> {
    const entries: Page["entries"][number][] = []
    let size = 0
    for (let at = place; at < this.#end; at++) {
      const { entry, bytes: encoded } = this.#entries[at]!
      size += encoded.length
      if (entries.length > 0 && size > bytes) break
      entries.push({ entry, bytes: encoded, position: at + 1 })
    }
    return { entries, cursor: this.#at(place + entries.length) }
  }

  onFlush(f: () => void): () => void {
    this.#listeners.add(f)
    return () => this.#listeners.delete(f)
  }

  onBreak(f: () => void): () => void {
    this.#breaks.add(f)
    return () => this.#breaks.delete(f)
  }

  async close(): Promise<void> {}

  /** Another history from here on, as after damage. */
  break(): void {
    this.#era++
    for (const f of this.#breaks) f()
  }
  hold(): void {
    this.held = true
  }
  release(): void {
    this.held = false
    this.#flushSoon()
  }

  #at(place: number): Cursor {
    return cursorOf(place, new Uint8Array(8).fill(place ? this.#era : 0))
  }

  #flushSoon(): void {
    if (this.#flushing || this.held) return
    this.#flushing = true
    setImmediate(() => {
      this.#flushing = false
      if (this.held || this.#end === this.#entries.length) return
      this.#end = this.#entries.length
      for (const f of this.#listeners) f()
      const done = this.#waiting.filter(({ place }) => place <= this.#end)
      this.#waiting = this.#waiting.filter(({ place }) => place > this.#end)
      for (const { place, resolve } of done) resolve(this.#at(place))
    })
  }
}

export class MemoryLogs implements Logs {
  readonly logs = new Map<string, MemoryLog>()

  of(workspace: string): MemoryLog {
    let log = this.logs.get(workspace)
    if (!log) this.logs.set(workspace, (log = new MemoryLog()))
    return log
  }
  open = async (workspace: string) => this.of(workspace)
  async close(): Promise<void> {}
}
