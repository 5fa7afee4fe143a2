/**
 * One workspace on one live connection: pulls by cursor and reach, pushes the outbox, takes acks and refusals, heals by have
 * and want. Messages become steps of the replica in the order in which they came; nothing learned here outlives it.
 */

import type { Env } from "../base/env.ts"
import { type Code, HeadwaterError } from "../base/errors.ts"
import { type EntityHash, takeAck, takeActorBound, takeRefusal } from "../replica/answers.ts"
import { Feed } from "../replica/connection-steps.ts"
import { haveOf, markHeal, park, takeWant } from "../replica/heal.ts"
import { further, placeOf } from "../replica/places.ts"
import { takeEntries } from "../replica/receive.ts"
import type { Replica } from "../replica/replica.ts"
import {
  type Cursor,
  type EntityHeads,
  type Entries,
  encode,
  type Hash,
  limits,
  type Notice,
  type Reject,
  type RelayMessage,
  type Want,
} from "../wire/protocol.ts"
import { nextPush } from "./next-push.ts"
import type { Link } from "./socket.ts"

/** Remote changes are applied once in this time, ms: applying costs by the length of a text, not by the number of changes. */
const APPLY_EVERY_MS = 50
/** How often the relay is told what there is of one entity on one connection, before that has to wait for the next. */
const HAVES_AT_MOST = 5
/** After a refusal for now that does not say how long: at first, and at most. However it says: not sooner than this. */
const RETRY_MS = 30_000
const LAST_RETRY_MS = 5 * 60_000
const SOONEST_RETRY_MS = 1000
const laterCodes: ReadonlySet<Code> = new Set<Code>(["QUOTA", "RATE", "TOKEN_EXPIRED", "FORBIDDEN", "LOG_FAILED"])

interface InFlight {
  /** What the ack will stand for: all of the push but what was rejected. */
  readonly changes: Map<Hash, string>
  readonly bytes: number
}

/** What a session says of itself. */
export interface SessionStatus {
  /** The cursor stood at the end of the relay's log at least once on this connection. */
  readonly level: boolean
  /** The last check of `Sync` that this is true of. */
  readonly asOf: number
  /** Why there is no connection, or nothing comes over it. */
  readonly error: HeadwaterError | null
  /** What the relay refuses for now, while something is pending. */
  readonly refusal: HeadwaterError | null
  readonly progress: { readonly done: number; readonly total: number } | null
}

export class Session {
  readonly #replica: Replica
  readonly #feed: Feed
  readonly #env: Env
  readonly #link: Link
  readonly #checks: () => number
  readonly #update: (patch: Partial<SessionStatus>) => void
  #ended = false
  // pushing
  readonly #pushes = new Map<string, InFlight>()
  readonly #inFlight = new Set<Hash>()
  /** Entities of which the relay was told what there is; nothing of them is pushed before its `want`. */
  readonly #awaitingWant = new Set<string>()
  readonly #haves = new Map<string, number>()
  /** Told whom this connection belongs to: what others have left in the outbox must not go out under their name. */
  #introduced = false
  #pushing = false
  #pushAgain = false
  #nextId = 1
  #windowBytes = 0
  // receiving
  #waiting: Entries[] = []
  #waitingBytes = 0
  #taking = false
  /** Entries were taken a moment ago: those that have come since wait until this has passed. */
  #cancelRest: (() => void) | undefined
  /** What the relay's clock is ahead of ours, once it has said. */
  #ahead: number | undefined
  #granted = 0
  #done = 0
  #total = 0
  /** The last check before the last pull or have; then: that was answered; then: and all that it spoke of is here. */
  #asOf = 0
  #answered = false
  #level = false
  /** While a heal goes on: the furthest place learned of in the relay's present log. */
  #healing: { reach: Cursor | null } | undefined
  /** Entities of which something is refused for the time being: what was written on top of it waits with it. */
  readonly #later = new Set<string>()
  #cancelRetry: (() => void) | undefined
  /** How often the relay has refused to serve this workspace for now. */
  #turnedAway = 0
  #cancelBegin: (() => void) | undefined

  constructor(
    replica: Replica,
    env: Env,
    link: Link,
    checks: () => number,
    update: (patch: Partial<SessionStatus>) => void,
  ) {
    this.#replica = replica
    this.#feed = new Feed(replica)
    this.#env = env
    this.#link = link
    this.#checks = checks
    this.#update = update
    this.#run(this.#begin())
  }

  end(): void {
    this.#ended = true
    this.#cancelRest?.()
    this.#cancelRetry?.()
    this.#cancelBegin?.()
  }

  receive(message: RelayMessage, bytes: number): void {
    if (this.#ended) return
    if (message.t === "entries") this.#queueEntries(message, bytes)
    else if (message.t === "ack") this.#run(this.#takeAck(message.id, message.at))
    else if (message.t === "reject") this.#run(this.#takeReject(message))
    else if (message.t === "want") this.#run(this.#takeWant(message))
    else if (message.t === "notice") this.#run(this.#takeNotice(message))
  }

  /** A step that fails (the disk, most likely) ends the connection: what was not saved will be sent again. */
  #run(step: Promise<void>): void {
    step.catch((cause: unknown) => {
      if (this.#ended) return
      const error =
        cause instanceof HeadwaterError
          ? cause
          : new HeadwaterError("STORE_FAILED", "a message could not be handled", { cause })
      if (error.code !== "CLOSED") this.#link.abandon(error)
    })
  }

  // ── the beginning ─────────────────────────────────────────────────────────────────────────────────────────────────

  async #begin(): Promise<void> {
    // As a step, so that everything that an earlier connection received has been committed.
    const state = await this.#replica.step([], (tx) => tx.state)
    if (this.#ended) return
    this.#asOf = this.#checks()
    if (state.heal) {
      this.#link.send({ t: "pull", w: this.#replica.id, credit: this.#replica.sizes.credit })
      await this.#sayHave()
    } else this.#pull(state.cursor, state.reach)
  }

  /** Entries that come by themselves do not say that there are no others yet; the answer to a pull does. */
  pullAgain(): void {
    if (!this.#level || this.#asOf === this.#checks()) return
    this.#level = false
    this.#answered = false
    this.#run(this.#begin())
  }

  /** The relay has passed over how this session began. Returns when it does so again, in ms. */
  #beginAgain(retryIn: number | undefined): number {
    const wait = Math.max(SOONEST_RETRY_MS, retryIn ?? Math.min(LAST_RETRY_MS, RETRY_MS * 2 ** this.#turnedAway++))
    this.#cancelBegin ??= this.#env.after(wait, () => {
      this.#cancelBegin = undefined
      this.#run(this.#begin())
    })
    return wait
  }

  #pull(cursor: string | null, reach: string | null): void {
    const further = reach !== cursor && { reach: placeOf(reach) }
    this.#link.send({
      t: "pull",
      w: this.#replica.id,
      cursor: placeOf(cursor),
      ...further,
      credit: this.#replica.sizes.credit,
    })
  }

  // ── entries ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #queueEntries(message: Entries, bytes: number): void {
    this.#waiting.push(message)
    this.#waitingBytes += bytes - encode({ ...message, items: [] }).length
    if (message.left !== undefined) this.#total = message.left
    if (message.time !== undefined) this.#ahead = message.time - this.#env.now()
    this.#takeSoon()
  }

  #takeSoon(): void {
    if (this.#taking || this.#ended || this.#waiting.length === 0) return
    const foreign = this.#waiting.some(({ items }) => items.some((item) => "entry" in item))
    if (!foreign || this.#cancelRest === undefined) this.#take()
  }

  /** Everything that has come so far, in one commit. */
  #take(): void {
    if (this.#ended || this.#waiting.length === 0) return
    const messages = this.#waiting
    const bytes = this.#waitingBytes
    this.#waiting = []
    this.#waitingBytes = 0
    this.#taking = true
    this.#cancelRest?.()
    this.#cancelRest = this.#env.after(APPLY_EVERY_MS, () => {
      this.#cancelRest = undefined
      this.#takeSoon()
    })
    this.#run(this.#takeEntries(messages, bytes))
  }

  async #takeEntries(messages: readonly Entries[], bytes: number): Promise<void> {
    const items = messages.flatMap((message) => message.items)
    const last = messages.at(-1) as Entries
    const cursor = messages.findLast((message) => message.cursor !== undefined)?.cursor
    const first = messages.find((message) => message.principal !== undefined)
    const healed = cursor === undefined ? undefined : this.#healing
    if (healed !== undefined) this.#healing = undefined
    const level = last.level === true
    await takeEntries(this.#feed, {
      items,
      cursor,
      healed,
      level,
      principal: first?.principal,
      access: first?.access,
      clockAheadMs: this.#ahead,
    })
    this.#taking = false
    if (this.#ended) return
    // Not before they are saved: what cannot be saved would be fetched again and again. An ack comes behind the first entries.
    this.#link.proven()
    if (first !== undefined && !this.#introduced) {
      this.#introduced = true
      this.push()
    }
    this.#done += bytes
    if (first !== undefined && this.#healing === undefined) this.#answered = true
    if (level) {
      this.#done = 0
      this.#total = 0
      this.#level = this.#answered
      this.#update({ level: true, progress: null, error: null, ...(this.#answered && { asOf: this.#asOf }) })
      this.pullAgain()
    } else this.#update({ level: false, progress: { done: this.#done, total: Math.max(this.#total, this.#done) } })
    if (items.length > 0) this.#grant(bytes)
    this.#takeSoon()
  }

  /**
   * What has been committed may be sent again: the relay never has more under way than we can hold. Counted are the bytes
   * of items, as the relay does; frames weigh a little more, and that must not add up.
   */
  #grant(bytes: number): void {
    this.#granted += bytes
    if (this.#granted < this.#replica.sizes.credit / 4) return
    this.#link.send({ t: "pull", w: this.#replica.id, credit: this.#granted })
    this.#granted = 0
  }

  // ── pushing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends what is owed and not under way, as far as the window allows. */
  push(): void {
    this.#pushAgain = true
    if (this.#pushing || this.#ended || !this.#introduced) return
    this.#pushing = true
    this.#run(this.#pushWhileThereIs())
  }

  async #pushWhileThereIs(): Promise<void> {
    try {
      while (this.#pushAgain && !this.#ended) {
        this.#pushAgain = false
        const { pushes, pushWindow } = this.#replica.sizes
        while (this.#pushes.size < pushes && this.#windowBytes < pushWindow && (await this.#pushOne()));
      }
    } finally {
      this.#pushing = false // in the turn in which the loop ended: a push asked for later must start anew
    }
  }

  async #pushOne(): Promise<boolean> {
    const next = await nextPush(this.#replica, {
      entity: (entity) => this.#awaitingWant.has(entity) || this.#later.has(entity),
      change: (hash) => this.#inFlight.has(hash),
    })
    if (next === undefined || this.#ended) return false
    const id = String(this.#nextId++)
    const { entries, adopt, changes, chosen, bytes } = next
    for (const hash of chosen) this.#inFlight.add(hash)
    if (entries.length === 0) return true
    this.#pushes.set(id, { changes, bytes })
    this.#windowBytes += bytes
    this.#link.send({ t: "push", w: this.#replica.id, id, entries, ...(adopt && { adopt }) })
    return true
  }

  async #takeAck(id: string, at: Cursor | undefined): Promise<void> {
    const push = this.#pushes.get(id)
    if (push === undefined) return
    this.#pushes.delete(id)
    this.#windowBytes -= push.bytes
    // In a heal the old reach stays on the disk until the new cursor is committed: a crash in between must heal again.
    if (at !== undefined && this.#healing !== undefined) this.#healing.reach = further(this.#healing.reach, at)
    const reach = this.#healing === undefined ? at : undefined
    await takeAck(
      this.#feed,
      [...push.changes].map(([hash, entity]) => [entity, hash]),
      reach,
    )
    for (const hash of push.changes.keys()) this.#inFlight.delete(hash)
    this.push()
  }

  async #takeReject({ id, entity, hash, code, retryIn }: Reject): Promise<void> {
    this.#pushes.get(id)?.changes.delete(hash)
    if (code === "DEPS_UNKNOWN" || code === "SEQ_GAP") {
      this.#inFlight.delete(hash)
      // What rests on a change that is refused for now comes again with it.
      if (!this.#later.has(entity)) await this.#sayHaveOf(entity)
    } else if (code === "ACTOR_BOUND") {
      for (const again of await takeActorBound(this.#feed, entity, hash)) this.#inFlight.delete(again)
      this.push()
    } else if (laterCodes.has(code)) {
      this.#inFlight.delete(hash)
      this.#later.add(entity)
      const wait = Math.max(SOONEST_RETRY_MS, retryIn ?? RETRY_MS)
      const retryAt = this.#env.now() + wait
      this.#update({
        refusal: new HeadwaterError(code, "the relay does not take this now; it stays in the outbox", {
          entity,
          retryAt,
        }),
      })
      this.#cancelRetry ??= this.#env.after(wait, () => {
        this.#cancelRetry = undefined
        this.#later.clear()
        this.#update({ refusal: null })
        this.push()
      })
    } else if (await takeRefusal(this.#feed, entity, hash, code)) this.#inFlight.delete(hash)
  }

  // ── heal ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #takeNotice({ code, access, retryIn }: Notice): Promise<void> {
    if (code === "CURSOR_UNKNOWN") {
      this.#take() // what came before it belongs to the log that we knew
      this.#healing = { reach: null }
      this.#level = false
      this.#update({ level: false })
      await markHeal(this.#feed)
      if (!this.#ended) await this.#sayHave()
    } else {
      const wait = this.#introduced || !laterCodes.has(code) ? retryIn : this.#beginAgain(retryIn)
      const retryAt = wait === undefined ? undefined : this.#env.now() + wait
      this.#update({ error: new HeadwaterError(code, "says the relay", { retryAt }) })
      if (access !== undefined) await takeEntries(this.#feed, { items: [], level: false, access })
    }
  }

  async #sayHave(): Promise<void> {
    this.#healing ??= { reach: null }
    let page: EntityHeads[] = []
    let bytes = 0
    const parked = new Set<string>()
    for await (const entity of haveOf(this.#replica, undefined, parked)) {
      if (this.#ended) return
      page.push(entity)
      bytes += 40 + 34 * entity[1].length
      if (page.length < limits.page && bytes < this.#replica.sizes.haveBytes) continue
      this.#link.send({ t: "have", w: this.#replica.id, page, more: true })
      page = []
      bytes = 0
    }
    if (parked.size > 0) await park(this.#feed, parked)
    if (!this.#ended) this.#link.send({ t: "have", w: this.#replica.id, page, more: false })
  }

  /** The relay lacks what a change depends on: what else it lacks of that entity is pushed first. */
  async #sayHaveOf(entity: string): Promise<void> {
    if (this.#awaitingWant.has(entity)) return
    const times = (this.#haves.get(entity) ?? 0) + 1
    this.#haves.set(entity, times)
    this.#awaitingWant.add(entity)
    if (times > HAVES_AT_MOST) return // it waits for the next connection
    for await (const have of haveOf(this.#replica, entity)) {
      if (!this.#ended) this.#link.send({ t: "have", w: this.#replica.id, page: [have], more: false, single: true })
    }
  }

  async #takeWant({ page }: Want): Promise<void> {
    const again: EntityHash[] = await takeWant(this.#feed, page)
    for (const [, hash] of again) this.#inFlight.delete(hash)
    for (const [entity] of page) this.#awaitingWant.delete(entity)
    this.push()
  }
}
