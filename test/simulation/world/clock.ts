/**
 * Virtual time. Everything that takes time in the real world (a disk operation, a frame on its way, a timer) is an
 * event here. The scheduler runs one event, waits until the program has done everything that follows from it, and only
 * then takes the next event. The seed decides how long things take and so in which order they happen: the same seed
 * gives the same run.
 */
import type { Clock } from "../../../src/base/env.ts"
import { hash, Random } from "./random.ts"

/** How long things of one kind take: mostly up to `usual` ms, sometimes up to ten times that, rarely up to `worst`. */
export interface Latency {
  readonly usual: number
  readonly worst: number
}

interface Event {
  readonly due: number
  readonly order: number
  readonly label: string
  readonly run: () => void
  readonly process: Process | undefined
}

/** Time at the start of a run, ms since 1970: 2026-01-01, so that times in a failure's report look like times. */
const START = Date.UTC(2026, 0, 1)

export class Scheduler {
  readonly seed: number
  now = START
  /** Number of events that have run. */
  count = 0
  /** The last events, which a failure's report prints. */
  readonly trail: string[] = []
  #trace = 0x811c9dc5
  #order = 0
  #loose: Event[] = []
  readonly #lanes = new Set<Lane>()

  constructor(seed: number) {
    this.seed = seed
  }

  /** A digest of everything that has happened, in order. Two runs with the same digest were the same run. */
  get trace(): string {
    return `${this.count}:${this.#trace.toString(16)}`
  }

  random(stream: string): Random {
    return new Random(`${this.seed}/${stream}`)
  }

  /** Runs `run` after `ms`, independently of all lanes. Returns a function that cancels it. */
  after(ms: number, label: string, run: () => void, process?: Process): () => void {
    const event = { due: this.now + Math.max(0, ms), order: this.#order++, label, run, process }
    this.#loose.push(event)
    return () => {
      const i = this.#loose.indexOf(event)
      if (i >= 0) this.#loose.splice(i, 1)
    }
  }

  lane(name: string, latency: Latency): Lane {
    const lane = new Lane(this, name, latency)
    this.#lanes.add(lane)
    return lane
  }

  forget(lane: Lane): void {
    this.#lanes.delete(lane)
  }

  nextOrder(): number {
    return this.#order++
  }

  /** Runs the next event that is due at or before `until`. False when there is none. */
  async step(until = Infinity): Promise<boolean> {
    await reactions()
    let next: Event | undefined
    let from: Lane | undefined
    for (const event of this.#loose) if (!next || before(event, next)) next = event
    for (const lane of this.#lanes) {
      const event = lane.ready
      if (event && (!next || before(event, next))) {
        next = event
        from = lane
      }
    }
    if (!next || next.due > until) return false
    if (from) from.shift()
    else this.#loose.splice(this.#loose.indexOf(next), 1)
    this.now = Math.max(this.now, next.due)
    if (next.process && !next.process.alive) return true
    await this.happen(next.label, next.run)
    return true
  }

  /** Notes an event, runs it and waits until the program has reacted. */
  async happen(label: string, run: () => void): Promise<void> {
    this.note(label)
    run()
    await reactions()
  }

  note(label: string): void {
    this.count++
    const line = `${this.now - START} ${label}`
    this.#trace = hash(line, this.#trace)
    this.trail.push(line)
    if (this.trail.length > 4000) this.trail.splice(0, 2000)
  }

  /** Runs all events of the next `ms`. */
  async pass(ms: number): Promise<void> {
    const until = this.now + ms
    while (await this.step(until));
    this.now = Math.max(this.now, until)
  }

  /** Runs at most `n` events. */
  async steps(n: number): Promise<void> {
    for (let i = 0; i < n; i++) if (!(await this.step())) return
  }
}

const before = (a: Event, b: Event): boolean => a.due < b.due || (a.due === b.due && a.order < b.order)

/** Resolves when every promise reaction has run: `setImmediate` calls back only after all of them. */
const reactions = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/**
 * Events that keep their order: the frames of one connection in one direction, or the commits of one store. A lane can
 * be held, and its events are then released one by one.
 */
export class Lane {
  readonly name: string
  held = false
  /** Set while the receiver takes no events. */
  paused = false
  readonly #scheduler: Scheduler
  readonly #latency: Latency
  readonly #random: Random
  #events: Event[] = []
  #last = 0
  /** The time from which on no event occupies the lane: all events so far have had their `busy` ms. */
  #free = 0

  constructor(scheduler: Scheduler, name: string, latency: Latency) {
    this.#scheduler = scheduler
    this.name = name
    this.#latency = latency
    this.#random = scheduler.random(`lane ${name}`)
  }

  get length(): number {
    return this.#events.length
  }

  get ready(): Event | undefined {
    return this.held || this.paused ? undefined : this.#events[0]
  }

  /** Adds an event. It occupies the lane for `busy` ms, after all earlier events have occupied it. */
  push(label: string, run: () => void, process?: Process, busy = 0): void {
    this.#free = Math.max(this.#free, this.#scheduler.now) + busy
    const due = Math.max(this.#last, this.#free + draw(this.#random, this.#latency))
    this.#last = due
    this.#events.push({ due, order: this.#scheduler.nextOrder(), label: `${this.name} ${label}`, run, process })
  }

  shift(): void {
    this.#events.shift()
  }

  /** Runs the first event now, whether the lane is held or not. False when there is none. */
  async release(): Promise<boolean> {
    await reactions()
    const event = this.#events.shift()
    if (!event) return false
    if (!event.process || event.process.alive) await this.#scheduler.happen(event.label, event.run)
    return true
  }

  /** Makes all events in the lane arrive this much later. */
  delay(ms: number): void {
    this.#last += ms
    this.#events = this.#events.map((event) => ({ ...event, due: event.due + ms }))
  }

  /** Drops all events in the lane. */
  clear(): void {
    this.#events = []
    this.#free = 0
  }

  close(): void {
    this.clear()
    this.#scheduler.forget(this)
  }
}

export function draw(random: Random, { usual, worst }: Latency): number {
  const kind = random.unit()
  if (kind < 0.75) return Math.floor(random.unit() * usual)
  if (kind < 0.95) return Math.floor(random.unit() * Math.min(usual * 10, worst))
  return Math.floor(random.unit() * worst)
}

/**
 * A program from its start to its end. Its timers and everything that it waits for end with it. A promise on which a
 * dead process waits is never settled, because nothing of the process is left to react.
 */
export class Process implements Clock {
  readonly name: string
  alive = true
  readonly scheduler: Scheduler
  /** By how much its clock is ahead, ms. */
  readonly skew: number
  readonly #random: Random

  constructor(scheduler: Scheduler, name: string, skew = 0) {
    this.scheduler = scheduler
    this.name = name
    this.skew = skew
    this.#random = scheduler.random(`process ${name}`)
  }

  now(): number {
    return this.scheduler.now + this.skew
  }

  after(ms: number, f: () => void): () => void {
    if (!this.alive) return () => {}
    return this.scheduler.after(ms, `${this.name} timer`, f, this)
  }

  random(n: number): Uint8Array {
    return this.#random.bytes(n)
  }

  kill(): void {
    this.alive = false
  }
}
