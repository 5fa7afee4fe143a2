/**
 * One attempt to keep a workspace level with the relay over a live connection. The attempt pulls the entries behind the
 * cursor, pushes the outbox, and commits each of the relay's messages in a step of the replica. The steps are in the
 * order in which the messages came, but entries may be committed a little later (`entry-batches.ts`). When a step
 * fails, the attempt is over. The next attempt uses nothing of its state.
 */

import { HeadwaterError } from "../base/errors.ts"
import { ConnectionSteps } from "../replica/exchange/connection-steps.ts"
import { markHeal, receiveWant, type Wanted } from "../replica/exchange/have-and-want.ts"
import { placeOf } from "../replica/exchange/log-places.ts"
import { receiveAck, receiveActorBound, receiveRefusal } from "../replica/exchange/receive-answers.ts"
import { type Received, receiveEntries } from "../replica/exchange/receive-entries.ts"
import type { Replica } from "../replica/replica.ts"
import {
  type Ack,
  type Entries,
  type Notice,
  type Pull,
  position,
  type Reject,
  type RelayMessage,
  type Want,
} from "../wire/protocol.ts"
import type { AttemptOptions } from "./attempt-options.ts"
import { CatchUp } from "./catch-up.ts"
import type { Link } from "./connection/relay-connection.ts"
import { Credit } from "./credit.ts"
import { type Acked, type Batch, EntryBatches } from "./entry-batches.ts"
import { FallbackExchange } from "./fallback-exchange.ts"
import type { Unfinished } from "./progress.ts"
import { PushWindow } from "./push-window.ts"
import { isForNow, RETRY_MS, retryWait } from "./refusal-wait.ts"
import type { Refusals } from "./refused-entities.ts"
import { Trouble } from "./workspace-trouble.ts"

/**
 * The most heals that one attempt begins. A second heal helps if the log was damaged during the first one. But without
 * a bound, an attempt would heal for ever with a relay that never knows our cursor.
 */
const HEALS_AT_MOST = 3

export class Attempt {
  readonly #replica: Replica
  readonly #steps: ConnectionSteps
  readonly #link: Link
  readonly #o: AttemptOptions
  readonly #batches: EntryBatches
  readonly #catchUp = new CatchUp()
  readonly #exchange: FallbackExchange
  readonly #window: PushWindow
  /** Shared by all attempts of the workspace, because a refusal does not end with this attempt. */
  readonly #refusals: Refusals
  readonly #trouble: Trouble
  /** Whether the device's clock was set, and no pull has asked for the relay's time since then. */
  #mustAskTime = false
  /** `served`: the first entries that name the principal are committed, so changes may be pushed. */
  #state: "beginning" | "served" | "ended" = "beginning"
  /** The measured difference to the relay's clock whose commit has not begun yet; undefined when there is none. */
  #clock: Received["clock"]
  /** How often the relay has sent `CURSOR_UNKNOWN` in this attempt. */
  #heals = 0
  /** Whether the cursor that ends a heal has come, and is being committed. */
  #endingHeal = false
  readonly #credit: Credit
  /**
   * The event before which this attempt accepts no entries. `request`: the attempt must send its pull or `have`.
   * `principal`: entries that name the principal must come. `want`: the `want` that answers its `have` must come.
   * Entries that arrive earlier are meant for an earlier attempt. To accept them would lose changes, because their
   * cursor may lie behind entries that the earlier attempt has dropped.
   */
  #awaits: "request" | "principal" | "want" | "nothing"
  /** How many `have` messages of earlier attempts the relay has not answered completely. */
  #staleWants: number
  /** Whether this side has dropped entries that it received on this connection. Then it drops all later ones, too. */
  #dropped: boolean

  constructor(options: AttemptOptions) {
    const { replica, env, link, update } = options
    this.#o = options
    this.#replica = replica
    this.#steps = new ConnectionSteps(replica)
    this.#link = link
    this.#awaits = options.again ? "request" : "nothing"
    this.#staleWants = options.staleWants
    this.#dropped = options.dropped
    this.#batches = new EntryBatches(env, (batch) => {
      if (batch.acks.length > 0) this.#run(this.#commitAcks(batch.acks))
      if (batch.messages.length > 0) this.#run(this.#commitEntries(batch))
    })
    this.#credit = new Credit(env, replica.sizes)
    this.#exchange = new FallbackExchange(
      this.#steps,
      (have) => link.send(have),
      () => this.push(),
    )
    this.#refusals = options.refusals
    this.#trouble = new Trouble(
      env,
      (trouble) => update({ trouble }),
      () => this.#run(this.#begin()),
    )
    const waits = (entity: string) => this.#exchange.awaitsWant(entity) || this.#refusals.has(entity)
    this.#window = new PushWindow(replica, waits, options.nextPushId, (push) => link.send(push))
    this.#run(this.#begin())
  }

  /**
   * Ends the attempt because another one on the same connection takes its place. Commits the entries that have come,
   * because the new attempt accepts later entries, which may depend on them.
   */
  giveWay(): void {
    this.#batches.handOn()
    this.#steps.giveWay()
    this.#end()
  }

  /** Ends the attempt because it has failed, or its connection has ended. Drops entries whose step has not begun. */
  end(): void {
    this.#steps.end()
    this.#end()
  }

  #end(): void {
    this.#state = "ended"
    this.#batches.end()
    this.#exchange.end()
    this.#window.close()
    this.#trouble.end()
  }

  /**
   * Whether a heal must begin in a new attempt, because this device's disk has damaged a change that the relay may
   * still have.
   */
  get mustHeal(): boolean {
    return this.#state === "served" && this.#replica.state.heal && !this.#exchange.heals && !this.#endingHeal
  }

  /** Whether the relay has not answered a pull or a push completely; undefined when it has answered both. */
  get unfinished(): Unfinished | undefined {
    if (!this.#catchUp.isLevel) return "pull"
    return this.#window.isEmpty ? undefined : "push"
  }

  get #ended(): boolean {
    return this.#state === "ended"
  }

  /** `bytes`: size of the message's frame. */
  receive(message: RelayMessage, bytes: number): void {
    if (this.#ended) return
    if (!this.#answersThis(message)) {
      if (message.t === "entries" && message.time !== undefined) this.#o.clockDifference.passedOver()
      // These entries are meant for an earlier attempt, so their cursor must not be used. But their items are valid,
      // and if this attempt heals, they may replace changes that the disk has damaged. Once some entries were dropped,
      // all later ones are dropped, too, because they may depend on the dropped ones. The relay sends all of them again
      // to this attempt.
      if (message.t !== "entries") return
      if (this.#awaits === "want" && !this.#dropped) this.#batches.addItems(message)
      else this.#dropped = true
      return
    }
    if (message.t === "entries") return this.#queueEntries(message, bytes)
    if (message.t === "ack") return this.#acknowledged(message)
    this.#batches.handOnEarlier() // the acks and the entries that are due get their steps first
    if (message.t === "reject") this.#run(this.#rejected(message))
    else if (message.t === "want") this.#run(this.#wanted(message))
    else if (message.t === "notice") this.#run(this.#noticed(message))
  }

  /**
   * Whether a message is for this attempt. False for entries that are meant for an earlier attempt. Call it once for
   * each message: it also notes that the message has come (`#awaits`, `#staleWants`).
   */
  #answersThis(message: RelayMessage): boolean {
    if (message.t === "want" && this.#staleWants > 0) this.#staleWants -= message.more ? 0 : 1
    else if (message.t === "want" && this.#awaits === "want") this.#awaits = "nothing"
    if (message.t !== "entries") return true
    // While this attempt waits for a want, entries that name a principal do not show that the relay has answered this
    // attempt: the answers to an earlier pull and to an earlier heal name one, too.
    if (this.#awaits === "principal" && message.principal !== undefined) this.#awaits = "nothing"
    return this.#awaits === "nothing"
  }

  /**
   * Reports a step that fails, mostly because the disk does. The session then ends this attempt. The relay sends the
   * entries of the failed step again to the next attempt.
   */
  #run(step: Promise<void>): void {
    step.catch((cause: unknown) => {
      if (this.#ended) return
      const error =
        cause instanceof HeadwaterError
          ? cause
          : new HeadwaterError("MESSAGE_BAD", "a message of the relay could not be handled; it is asked for again", {
              cause,
            })
      if (error.code !== "CLOSED") this.#o.failed(error)
    })
  }

  // ── pulling ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #begin(): Promise<void> {
    // The state is read in a step, because a step runs after all earlier steps, also those of earlier connections.
    const { heal, cursor, reach } = await this.#replica.step([], (tx) => tx.state)
    if (this.#ended) return
    // The disk was damaged after this attempt was served. The heal needs a new attempt: in this one, the cursor of
    // entries that are under way would end the heal before the relay has read the `have`.
    if (heal && this.#state === "served") return this.#o.damaged()
    this.#catchUp.asks(this.#o.latestCheck())
    this.#o.clockDifference.asked(this)
    // The relay answers a `have` with wants and then entries. It answers a pull with entries that name the principal.
    if (this.#awaits === "request") this.#awaits = heal ? "want" : "principal"
    if (heal) {
      // If there was an earlier attempt, pull only after the `have`, which stops the relay's stream for that attempt.
      // Otherwise that stream would use up the credit, and its entries are ignored.
      if (!this.#o.again) this.#pull({})
      await this.#exchange.sayAll()
      // The last entry of the earlier attempt's stream may have brought the credit below zero. This pull only adds to
      // the credit, so it must grant more bytes than any entry has. With credit below zero the relay sends nothing.
      if (this.#o.again && !this.#ended) this.#pull({}, this.#replica.sizes.credit)
    } else {
      const further = reach !== cursor && { reach: placeOf(reach) }
      this.#pull({ cursor: placeOf(cursor), ...further })
    }
  }

  #pull(from: Pick<Pull, "cursor" | "reach">, credit = this.#credit.first()): void {
    this.#link.send({ t: "pull", w: this.#replica.id, ...from, credit })
  }

  /**
   * Call when the device's clock was set. Pulls, because the answer to a pull has the relay's time. While a heal or the
   * answer to another pull is under way, pulls later: once the workspace is level.
   */
  askTime(): void {
    const isFree = this.#state === "served" && !this.#exchange.heals && !this.#replica.state.heal
    this.#mustAskTime = !isFree || !this.#catchUp.mustAsk()
    if (!this.#mustAskTime) this.#run(this.#begin())
  }

  /** Pulls again for the latest check, unless a pull for it was sent already, or another answer is under way. */
  pullAgain(): void {
    if (this.#catchUp.mustAskAgain(this.#o.latestCheck())) this.#run(this.#begin())
  }

  // ── entries ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #queueEntries(message: Entries, bytes: number): void {
    const { clockDifference } = this.#o
    if (message.left !== undefined) this.#catchUp.announced(message.left)
    if (message.time !== undefined) {
      const known = (this.#clock ?? this.#replica.state).clockAheadMs
      this.#clock = {
        clockAheadMs: clockDifference.answered(message.time, known),
        clockMeasuredAt: this.#o.env.now(),
      }
    }
    this.#batches.add(message, bytes)
  }

  async #commitEntries({ messages, bytes }: Batch): Promise<void> {
    const items = messages.flatMap((message) => message.items)
    const cursor = messages.findLast((message) => message.cursor !== undefined)?.cursor
    const first = messages.find((message) => message.principal !== undefined)
    const level = messages.at(-1)?.level === true
    const healed = cursor && this.#exchange.endHeal()
    if (healed !== undefined) this.#endingHeal = true
    const clock = this.#clock
    this.#clock = undefined
    const wanted = await receiveEntries(this.#steps, {
      items,
      cursor,
      healed,
      level,
      principal: first?.principal,
      access: first?.access,
      clock,
    })
    if (this.#ended) return
    if (healed !== undefined) this.#endingHeal = false
    this.#batches.committed(wanted.applyingMs)
    if (wanted.settled.length > 0) this.#settled(wanted)
    this.#o.progress.committed(cursor && position(cursor), level)
    if (first !== undefined && this.#state === "beginning") {
      this.#state = "served"
      this.#window.open()
      this.push()
    }
    // The disk's damage may have been noted while no heal could begin: before the state was `served`, or while the
    // cursor that ends a heal was being committed. The session reads `mustHeal` only after commits, and the next commit
    // may not come for a long time.
    if (this.mustHeal) this.#o.damaged()
    if (this.#ended) return
    const caughtUp = this.#catchUp.committed(bytes, first !== undefined && !this.#exchange.heals, level)
    this.#o.update({ ...caughtUp, ...(level && { trouble: null }) })
    if (level && this.#mustAskTime) this.askTime()
    else if (level) this.pullAgain()
    const arrived = items.flatMap((item) => ("entry" in item ? [item.entry.entity] : []))
    const freed = arrived.filter((entity) => this.#refusals.arrived(entity))
    for (const entity of freed) this.#exchange.askOnceMore(entity)
    if (freed.length > 0) this.push()
    if (items.length > 0) {
      this.#grant(bytes, level)
      if (this.#window.releaseUnread()) this.push()
    }
    this.#batches.handOnWhenDue()
  }

  /** Grants credit for committed bytes only, which bounds the memory for entries that are not committed yet. */
  #grant(bytes: number, level: boolean): void {
    const credit = this.#credit.committed(bytes, level)
    if (credit > 0) this.#pull({}, credit)
  }

  // ── answers to pushes ─────────────────────────────────────────────────────────────────────────────────────────────

  /** Pushes the outbox. */
  push(): void {
    this.#run(this.#window.fill())
  }

  #acknowledged({ id, at }: Ack): void {
    const stored = this.#window.acknowledged(id)
    if (stored === undefined) return
    this.#batches.addAck({ stored: Array.from(stored, ([hash, entity]) => [entity, hash] as const), at })
    this.push() // the window has room as soon as the ack has come, before the ack is committed
  }

  async #commitAcks(acks: readonly Acked[]): Promise<void> {
    await Promise.all(acks.map(({ stored, at }) => receiveAck(this.#steps, stored, this.#exchange.learn(at))))
    if (this.#ended) return
    const stored = acks.flatMap((ack) => ack.stored)
    if (stored.length > 0) this.#o.progress.stored()
    this.#window.release(stored.map(([, hash]) => hash))
    this.push()
  }

  async #rejected({ id, entity, hash, code, retryIn }: Reject): Promise<void> {
    if (!this.#window.refused(id, hash)) return // a push of an earlier attempt
    if (code === "DEPS_UNKNOWN" || code === "SEQ_GAP") {
      this.#window.release([hash])
      // If another change of the entity is refused for now, no `have` is needed: when that refusal ends, this change
      // and its deps are pushed again together.
      if (this.#refusals.has(entity) || (await this.#exchange.sayOf(entity)) || this.#ended) return
      this.#refusals.stuck(entity, code)
    } else if (code === "ACTOR_BOUND") {
      const again = await receiveActorBound(this.#steps, entity, hash)
      if (this.#ended) return
      this.#window.release(again.length > 0 ? again : [hash])
      if (again.length === 0) this.#refusals.add(entity, code, retryIn)
      this.push()
    } else if (isForNow(code)) {
      this.#window.release([hash])
      this.#refusals.add(entity, code, retryIn)
    } else if (await receiveRefusal(this.#steps, entity, hash, code)) this.#window.release([hash])
  }

  // ── notices and wants ─────────────────────────────────────────────────────────────────────────────────────────────

  async #noticed(notice: Notice): Promise<void> {
    const { code, access } = notice
    if (code === "CURSOR_UNKNOWN" && ++this.#heals > HEALS_AT_MOST) {
      const message =
        "the relay does not know this device's cursor, even after several heals; it is asked again at retryAt"
      this.#o.failed(new HeadwaterError(code, message))
    } else if (code === "CURSOR_UNKNOWN") {
      this.#batches.handOn() // otherwise the cursor of entries that came before this notice would end the heal
      this.#exchange.beginHeal()
      this.#o.progress.otherLog()
      this.#catchUp.lost()
      this.#o.update({ level: false })
      await markHeal(this.#steps)
      if (!this.#ended) await this.#exchange.sayAll()
    } else if (code === "LOG_FAILED") {
      // The relay has ended its stream. If this happens during a heal, the relay may have skipped pages of our `have`.
      const message = "the relay cannot read or write its log of this workspace; it is asked again at retryAt"
      this.#o.failed(new HeadwaterError(code, message), retryWait(notice.retryIn, RETRY_MS))
    } else {
      if (access !== undefined) this.#batches.handOn() // entries that came before this notice may name another access
      const mayWrite = access === "write" || access === "admin"
      if (code === "FORBIDDEN" && mayWrite)
        this.#o.update({ trouble: null }) // the notice only says that an earlier FORBIDDEN has ended
      else if (this.#state === "beginning" && isForNow(code)) this.#trouble.turnedAway(notice)
      else this.#trouble.noticed(notice)
      if (access !== undefined) await receiveEntries(this.#steps, { items: [], level: false, access })
    }
  }

  async #wanted({ page }: Want): Promise<void> {
    const wanted = await receiveWant(this.#steps, page)
    if (this.#ended) return
    this.#settled(wanted)
    // A want is open while this replica lacks one of the heads that it names. Such a head may never come. So pull: when
    // the end of the answer (`level`) is committed, the open wants are answered without these heads.
    if (this.#steps.openWants.size > 0 && this.#catchUp.mustAsk()) this.#run(this.#begin())
  }

  /**
   * Call when wants are answered: all changes of the `settled` entities that the relay lacks are in the outbox. Pushes
   * the outbox.
   */
  #settled({ again, settled }: Wanted): void {
    this.#window.release(again.map(([, hash]) => hash))
    this.#exchange.settled(settled)
    for (const entity of new Set(again.map(([of]) => of))) this.#exchange.lacked(entity)
    this.push()
  }
}
