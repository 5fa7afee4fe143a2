/**
 * One workspace on one live connection. It pulls what follows the cursor and pushes the outbox. Each message of the
 * relay becomes a step of the replica, in the order in which they came. Nothing that it learns outlives the connection.
 */

import type { Env } from "../base/env.ts"
import { HeadwaterError } from "../base/errors.ts"
import { receiveAck, receiveActorBound, receiveRefusal } from "../replica/answers.ts"
import { ConnectionSteps } from "../replica/connection-steps.ts"
import { markHeal, receiveWant, type Wanted } from "../replica/heal.ts"
import { placeOf } from "../replica/places.ts"
import { receiveEntries } from "../replica/receive.ts"
import type { Replica } from "../replica/replica.ts"
import type { Ack, Entries, Notice, Pull, Reject, RelayMessage, Want } from "../wire/protocol.ts"
import { CatchUp, type CatchUpStatus } from "./catch-up.ts"
import { FallbackExchange } from "./fallback-exchange.ts"
import { type Batch, Incoming } from "./incoming.ts"
import { PushWindow } from "./push-window.ts"
import { Refusals } from "./refusals.ts"
import { isForNow } from "./retry.ts"
import type { Link } from "./socket.ts"
import { Trouble } from "./trouble.ts"

/** What a session says of itself. */
export interface SessionStatus extends CatchUpStatus {
  /** Why nothing comes for this workspace although it is connected. */
  readonly trouble: HeadwaterError | null
  /** What the relay refuses for now. */
  readonly refusal: HeadwaterError | null
}

export class Session {
  readonly #replica: Replica
  readonly #steps: ConnectionSteps
  readonly #env: Env
  readonly #link: Link
  /** The number of the latest check (`Sync.check`). */
  readonly #latestCheck: () => number
  readonly #update: (patch: Partial<SessionStatus>) => void
  readonly #incoming: Incoming
  readonly #catchUp = new CatchUp()
  readonly #exchange: FallbackExchange
  readonly #window: PushWindow
  readonly #refusals: Refusals
  readonly #trouble: Trouble
  /** `served`: the relay's first entries of this connection are committed; they name the principal. */
  #state: "beginning" | "served" | "ended" = "beginning"
  /** ms by which the relay's clock is ahead of ours, once it has told its time. */
  #clockAheadMs: number | undefined
  /** Bytes of items that are committed and not granted again. */
  #creditDue = 0

  constructor(
    replica: Replica,
    env: Env,
    link: Link,
    latestCheck: () => number,
    update: (patch: Partial<SessionStatus>) => void,
  ) {
    this.#replica = replica
    this.#steps = new ConnectionSteps(replica)
    this.#env = env
    this.#link = link
    this.#latestCheck = latestCheck
    this.#update = update
    this.#incoming = new Incoming(env, (batch) => this.#run(this.#commitEntries(batch)))
    this.#exchange = new FallbackExchange(this.#steps, (have) => link.send(have))
    this.#refusals = new Refusals(
      env,
      (refusal) => update({ refusal }),
      () => this.push(),
    )
    this.#trouble = new Trouble(
      env,
      (trouble) => update({ trouble }),
      () => this.#run(this.#begin()),
    )
    const waits = (entity: string) => this.#exchange.awaitsWant(entity) || this.#refusals.has(entity)
    this.#window = new PushWindow(replica, waits, (push) => link.send(push))
    this.#run(this.#begin())
  }

  end(): void {
    this.#state = "ended"
    this.#incoming.end()
    this.#exchange.end()
    this.#window.close()
    this.#refusals.end()
    this.#trouble.end()
  }

  get #ended(): boolean {
    return this.#state === "ended"
  }

  /** `bytes`: of the frame. */
  receive(message: RelayMessage, bytes: number): void {
    if (this.#ended) return
    if (message.t === "entries") this.#queueEntries(message, bytes)
    else if (message.t === "ack") this.#run(this.#acknowledged(message))
    else if (message.t === "reject") this.#run(this.#rejected(message))
    else if (message.t === "want") this.#run(this.#wanted(message))
    else if (message.t === "notice") this.#run(this.#noticed(message))
  }

  /**
   * A step that fails (the disk, most likely) ends the connection: what was not saved is sent again on the next one.
   */
  #run(step: Promise<void>): void {
    step.catch((cause: unknown) => {
      if (this.#ended) return
      const error =
        cause instanceof HeadwaterError
          ? cause
          : new HeadwaterError("STORE_FAILED", "a message from the relay could not be handled; it is asked for again", {
              cause,
            })
      if (error.code !== "CLOSED") this.#link.abandon(error)
    })
  }

  // ── pulling ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #begin(): Promise<void> {
    // As a step, so that everything that an earlier connection received has been committed.
    const { heal, cursor, reach } = await this.#replica.step([], (tx) => tx.state)
    if (this.#ended) return
    this.#catchUp.asks(this.#latestCheck())
    if (heal) {
      this.#pull({})
      await this.#exchange.sayAll()
    } else {
      const further = reach !== cursor && { reach: placeOf(reach) }
      this.#pull({ cursor: placeOf(cursor), ...further })
    }
  }

  #pull(from: Pick<Pull, "cursor" | "reach">, credit = this.#replica.sizes.credit): void {
    this.#link.send({ t: "pull", w: this.#replica.id, ...from, credit })
  }

  /** Asks what the relay has now, unless the pull that is under way will say so. */
  pullAgain(): void {
    if (this.#catchUp.mustAskAgain(this.#latestCheck())) this.#run(this.#begin())
  }

  // ── entries ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #queueEntries(message: Entries, bytes: number): void {
    if (message.left !== undefined) this.#catchUp.announced(message.left)
    if (message.time !== undefined) this.#clockAheadMs = message.time - this.#env.now()
    this.#incoming.add(message, bytes)
  }

  async #commitEntries({ messages, bytes }: Batch): Promise<void> {
    const items = messages.flatMap((message) => message.items)
    const cursor = messages.findLast((message) => message.cursor !== undefined)?.cursor
    const first = messages.find((message) => message.principal !== undefined)
    const level = messages.at(-1)?.level === true
    const wanted = await receiveEntries(this.#steps, {
      items,
      cursor,
      healed: cursor && this.#exchange.endHeal(),
      level,
      principal: first?.principal,
      access: first?.access,
      clockAheadMs: this.#clockAheadMs,
    })
    this.#incoming.committed()
    if (this.#ended) return
    if (wanted.settled.length > 0) this.#settled(wanted)
    // Not before they are saved: what cannot be saved would be fetched again and again. (An ack comes behind these.)
    this.#link.proven()
    if (first !== undefined && this.#state === "beginning") {
      this.#state = "served"
      this.#window.open()
      this.push()
    }
    const caughtUp = this.#catchUp.committed(bytes, first !== undefined && !this.#exchange.heals, level)
    this.#update({ ...caughtUp, ...(level && { trouble: null }) })
    if (level) this.pullAgain()
    if (items.length > 0) this.#grant(bytes)
    this.#incoming.handOnWhenDue()
  }

  /** What has been committed may be sent again: the relay never has more under way than this device can hold. */
  #grant(bytes: number): void {
    this.#creditDue += bytes
    if (this.#creditDue < this.#replica.sizes.credit / 4) return
    this.#pull({}, this.#creditDue)
    this.#creditDue = 0
  }

  // ── answers to pushes ─────────────────────────────────────────────────────────────────────────────────────────────

  /** Sends what is owed. */
  push(): void {
    this.#run(this.#window.fill())
  }

  async #acknowledged({ id, at }: Ack): Promise<void> {
    const stored = this.#window.acknowledged(id)
    if (stored === undefined) return
    const changes = [...stored].map(([hash, entity]) => [entity, hash] as const)
    await receiveAck(this.#steps, changes, this.#exchange.learn(at))
    this.#window.release(stored.keys())
    this.push()
  }

  async #rejected({ id, entity, hash, code, retryIn }: Reject): Promise<void> {
    this.#window.refused(id, hash)
    if (code === "DEPS_UNKNOWN" || code === "SEQ_GAP") {
      this.#window.release([hash])
      // What rests on a change that is refused for now comes again with it.
      if (!this.#refusals.has(entity)) await this.#exchange.sayOf(entity)
    } else if (code === "ACTOR_BOUND") {
      this.#window.release(await receiveActorBound(this.#steps, entity, hash))
      this.push()
    } else if (isForNow(code)) {
      this.#window.release([hash])
      this.#refusals.add(entity, code, retryIn)
    } else if (await receiveRefusal(this.#steps, entity, hash, code)) this.#window.release([hash])
  }

  // ── notices and wants ─────────────────────────────────────────────────────────────────────────────────────────────

  async #noticed(notice: Notice): Promise<void> {
    const { code, access } = notice
    if (code === "CURSOR_UNKNOWN") {
      this.#incoming.handOn() // what came before belongs to the log that this side knew
      this.#exchange.beginHeal()
      this.#catchUp.lost()
      this.#update({ level: false })
      await markHeal(this.#steps)
      if (!this.#ended) await this.#exchange.sayAll()
    } else {
      if (this.#state === "beginning" && isForNow(code)) this.#trouble.turnedAway(notice)
      else this.#trouble.noticed(notice)
      if (access !== undefined) await receiveEntries(this.#steps, { items: [], level: false, access })
    }
  }

  async #wanted({ page }: Want): Promise<void> {
    this.#settled(await receiveWant(this.#steps, page))
  }

  /** What the relay lacks of these entities is owed. */
  #settled({ again, settled }: Wanted): void {
    this.#window.release(again.map(([, hash]) => hash))
    this.#exchange.settled(settled)
    this.push()
  }
}
