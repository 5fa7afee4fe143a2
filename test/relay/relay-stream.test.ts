import { describe, expect, it } from "vitest"
import {
  type Cursor,
  type Entries,
  type Entry,
  encodeItem,
  type Item,
  position,
  type RelayMessage,
} from "../../src/wire/protocol.ts"
import { actorOf, genesis, noise } from "../support/changes.ts"
import { dice } from "../support/dice.ts"
import { note } from "../support/relay.ts"
import { type Replica, Served } from "../support/served.ts"

/** A pull with a cursor (or from the beginning), and what the relay has sent in answer to it. */
interface Asked {
  /** The position of the pull's cursor. */
  readonly from: number
  /** Bytes of credit that the pull and later grants have given. */
  granted: number
  /** Bytes of the items that the relay has sent. */
  sent: number
  /** The position up to which the relay has sent entries. */
  at: number
  /** Whether the relay has named the principal. */
  introduced: boolean
  /** Whether the last frame said that nothing more follows. */
  level: boolean
}

/** A connection that pushes and pulls, and checks each frame at the moment it is sent. */
class Checked {
  readonly replica: Replica
  readonly pushes = new Map<string, readonly Entry[]>()
  /** The first failed expectation. `checkQuiet` throws it: the connection swallows errors thrown while it sends. */
  #wrong: unknown
  /** The cursors that the relay sent to it. */
  readonly cursors: Cursor[] = []
  /** The pulls that were sent, oldest first. The first `#current + 1` of them were answered. */
  readonly #asked: Asked[] = []
  #current = -1
  readonly #log: () => { readonly entities: readonly string[]; readonly end: number }

  constructor(served: Served, log: () => { readonly entities: readonly string[]; readonly end: number }) {
    this.#log = log
    this.replica = served.connect({ hears: (message) => this.#check(() => this.#hear(message)) })
  }

  push(entries: readonly Entry[], w = "w"): void {
    const id = this.replica.push(entries, { w })
    if (w === "w") this.pushes.set(id, entries)
  }

  pull(cursor: Cursor | null, credit: number): void {
    const from = cursor ? position(cursor) : 0
    this.#asked.push({ from, granted: credit, sent: 0, at: from, introduced: false, level: false })
    this.replica.pull("w", cursor, { credit })
  }

  grant(credit: number): void {
    const asked = this.#asked.at(-1)
    if (!asked) return
    asked.granted += credit
    this.replica.send({ t: "pull", w: "w", credit })
  }

  /**
   * Call this when the relay has nothing more to do and the socket has room. Checks that everything was sent, or that
   * the credit is used up.
   */
  checkQuiet(): void {
    if (this.#wrong) throw this.#wrong
    const asked = this.#asked.at(-1)
    if (!asked) return
    expect(asked.introduced).toBe(true)
    const { end } = this.#log()
    if (asked.at === end) expect(asked.level, "level is said at the end").toBe(true)
    else expect(asked.granted - asked.sent, "credit is left and nothing comes").toBeLessThanOrEqual(0)
  }

  #check(expectations: () => void): void {
    try {
      expectations()
    } catch (error) {
      this.#wrong ??= error
    }
  }

  #hear(message: RelayMessage): void {
    if (message.t === "ack" && message.at && message.w === "w") this.cursors.push(message.at)
    if (message.t === "notice") expect(message).toBe("no notice")
    if (message.t === "entries" && message.w === "w") this.#take(message)
  }

  #take({ items, cursor, level, principal }: Entries): void {
    if (principal !== undefined) this.#current++
    const asked = this.#asked[this.#current]!
    expect(asked, "nothing comes that was not asked for").toBeDefined()
    expect(asked.introduced, "one introduction for each pull").toBe(principal === undefined)
    asked.introduced = true
    const { entities, end } = this.#log()
    for (const item of items) {
      expect(asked.sent, "an item needs credit").toBeLessThan(Math.max(asked.granted, 1))
      asked.sent += encodeItem(item).length
      for (const entity of this.#named(item)) expect(entity).toBe(entities[asked.at++])
    }
    if (items.length > 0) expect(asked.granted).toBeGreaterThan(0)
    if (cursor) {
      expect(position(cursor), "the cursor is the place behind the items").toBe(asked.at)
      this.cursors.push(cursor)
    } else expect(items).toEqual([])
    expect(asked.at, "nothing comes before its flush").toBeLessThanOrEqual(end)
    if (level) expect(asked.at, "level is said at the end only").toBe(end)
    asked.level = level === true
  }

  /** The entities of the entries that an item brings. */
  #named(item: Item): string[] {
    if ("entry" in item) return [item.entry.entity]
    const push = this.pushes.get(item.own)
    expect(push, "a run is of an own push").toBeDefined()
    return push!.slice(item.from, item.to).map(({ entity }) => entity)
  }
}

/**
 * Two connections push and pull at random. Each frame is checked when it is sent. Whenever nothing is left
 * to send, a check looks for frames that should have come.
 */
async function play(seed: number, sizes: Record<string, number>): Promise<{ reads: number }> {
  const random = dice(seed)
  const below = (n: number) => Math.floor(random() * n)
  const served = await Served.open({ sizes: { socketBytes: 0, ...sizes } })
  const log = await served.log()
  /** The entity of each entry, in the order of the log. */
  const entities: string[] = []
  const made: Entry[] = []
  /** Mostly a new note. Sometimes one that is known, sometimes one that is refused. */
  const oneNote = (): Entry => {
    if (made.length > 0 && below(5) === 0) return made[below(made.length)]!
    const entry = note(`e${made.length}`, actorOf(made.length + 1), noise(below(99)))
    if (below(9) === 0) return { ...entry, chunks: [new Uint8Array(40)] }
    made.push(entry)
    return entry
  }
  const notes = () => Array.from({ length: 1 + below(3) }, oneNote)
  let reads = 0
  const { append, since } = log
  Object.assign(log, {
    append: (...args: Parameters<typeof append>) => {
      entities.push(args[0].entity)
      return append.apply(log, args)
    },
    since: (...args: Parameters<typeof since>) => {
      reads++
      return since.apply(log, args)
    },
  })
  const state = () => ({ entities, end: position(log.end) })
  const both = [new Checked(served, state), new Checked(served, state)] as const
  const settle = async () => {
    for (const { replica } of both) replica.drain()
    await served.settled()
    for (const one of both) one.checkQuiet()
  }
  for (let step = 0; step < 40; step++) {
    const one = both[below(2)]!
    const what = below(12)
    if (what < 4) one.push(notes())
    else if (what === 4) one.push([note(`v${step}`, actorOf(step))], "v")
    else if (what < 8) {
      // The socket is emptied first: after a pull on a full socket, the test could not tell which pull a frame answers.
      if (one.replica.buffered > 0) one.replica.drain()
      one.pull(one.cursors.length > 0 && below(3) > 0 ? one.cursors[below(one.cursors.length)]! : null, below(4) * 200)
    } else if (what < 9) one.grant(below(600))
    else if (what === 9) {
      await settle()
      one.replica.buffered = 1
    } else if (what === 10) await new Promise((resolve) => setImmediate(resolve))
    else await settle()
  }
  await settle()
  await served.close()
  return { reads }
}

describe("what a connection is sent", () => {
  it.each([
    ["from recent entries alone", {}],
    ["from recent entries and from the log", { recentBytes: 1500, frameBytes: 400 }],
    ["from the log, an entry at a time", { recentBytes: 1, readBytes: 1 }],
    ["in frames of one entry", { frameBytes: 1 }],
  ])("is what follows its pull, in order, once, within its credit: %s", async (_how, sizes) => {
    let reads = 0
    for (let seed = 1; seed <= 20; seed++) {
      await play(seed, sizes).then(
        (played) => (reads += played.reads),
        (error) => {
          throw new Error(`seed ${seed}`, { cause: error })
        },
      )
    }
    // Even when all entries are recent, the log is read for a pull whose credit is smaller than the frame of recent
    // entries.
    expect(reads).toBeGreaterThan(50)
  })
})

describe("a follower that throws", () => {
  it.each(["flushed", "broke"] as const)("at `%s` keeps no other follower from being told", async (what) => {
    const served = await Served.open({ sizes: { recentBytes: 0 } })
    const writer = served.connect()
    const workspace = served.workspaces.enter("w")
    const told: string[] = []
    const follower = (name: string, and = () => {}) => {
      const hear = (of: string) => {
        told.push(`${of} ${name}`)
        if (of === what) and()
      }
      return { flushed: () => hear("flushed"), broke: () => hear("broke") }
    }
    const [added, last] = [follower("added"), follower("last")]
    workspace.followers.add(
      follower("first", () => {
        workspace.followers.add(added)
        workspace.followers.delete(last)
        throw new Error("a defect")
      }),
    )
    workspace.followers.add(follower("second"))
    workspace.followers.add(last)
    await writer.ack(writer.push([note("e", actorOf(1))]))
    if (what === "broke") {
      told.length = 0
      served.damage(genesis("e").chunk)
      served.connect().pull() // the relay finds the damage when it reads the record
      await served.settled()
    }
    expect(told).toEqual([`${what} first`, `${what} second`])
    await served.close()
  })
})
