/**
 * Sends pushes without waiting for the ack of each. A push is under way from when it is sent until its ack comes. The
 * window has room while the pushes under way are fewer than `Sizes.pushes` and have fewer bytes than
 * `Sizes.pushWindow`.
 */

import type { Replica } from "../replica/replica.ts"
import type { Hash, Push } from "../wire/protocol.ts"
import { nextPush } from "./next-push.ts"

interface InFlight {
  /**
   * The changes that the ack will confirm, with the entity of each: all changes of the push except the refused ones.
   */
  readonly changes: Map<Hash, string>
  /** Bytes of the chunks in the push. */
  readonly bytes: number
}

export class PushWindow {
  readonly #replica: Replica
  /** Whether all changes of an entity have to wait. */
  readonly #waits: (entity: string) => boolean
  readonly #send: (push: Push) => void
  /**
   * `closed`: nothing may be sent, because the relay has not named the principal yet or the attempt has ended.
   * `sending`: `fill` is sending pushes. `asked`: `fill` is sending pushes and was called again, because the outbox may
   * have new changes.
   */
  #state: "closed" | "idle" | "sending" | "asked" = "closed"
  /** The pushes that are under way, by id. */
  readonly #pushes = new Map<string, InFlight>()
  /** Changes that were chosen for a push. They are not chosen again before `release`. */
  readonly #inFlight = new Set<Hash>()
  /** Changes in `#inFlight` that could not be read, and so were not sent. */
  readonly #unread = new Set<Hash>()
  /** Bytes of the pushes that are under way. */
  #bytes = 0
  readonly #nextId: () => string

  /** `nextId` gives the id of a push. */
  constructor(replica: Replica, waits: (entity: string) => boolean, nextId: () => string, send: (push: Push) => void) {
    this.#nextId = nextId
    this.#replica = replica
    this.#waits = waits
    this.#send = send
  }

  /**
   * Call when the relay has named the principal of this connection. Before that, changes in the outbox that belong to
   * another principal might be pushed under this one.
   */
  open(): void {
    this.#state = "idle"
  }

  close(): void {
    this.#state = "closed"
  }

  /** Sends changes of the outbox that are not under way, as far as the window has room. */
  async fill(): Promise<void> {
    if (this.#state === "sending") this.#state = "asked"
    if (this.#state !== "idle") return
    try {
      do {
        this.#state = "sending"
        while (this.#hasRoom && (await this.#sendNext()));
      } while (this.#is("asked"))
    } finally {
      // No call of `fill` can come between the end of the loop and this line, so no call is missed.
      if (!this.#is("closed")) this.#state = "idle"
    }
  }

  /** Whether no push is under way. */
  get isEmpty(): boolean {
    return this.#pushes.size === 0
  }

  get #hasRoom(): boolean {
    const { pushes, pushWindow } = this.#replica.sizes
    return this.#pushes.size < pushes && this.#bytes < pushWindow
  }

  /** Sends one push. Returns false when nothing can be sent now. */
  async #sendNext(): Promise<boolean> {
    const next = await nextPush(this.#replica, { entity: this.#waits, change: (hash) => this.#inFlight.has(hash) })
    if (next === undefined || this.#is("closed")) return false
    const { entries, adopt, changes, chosen, bytes } = next
    for (const hash of chosen) {
      this.#inFlight.add(hash)
      if (!changes.has(hash)) this.#unread.add(hash)
    }
    if (entries.length === 0) return true
    const id = this.#nextId()
    this.#pushes.set(id, { changes, bytes })
    this.#bytes += bytes
    this.#send({ t: "push", w: this.#replica.id, id, entries, ...(adopt && { adopt }) })
    return true
  }

  /** Compares the state. After a plain comparison, TypeScript would assume that an await does not change the state. */
  #is(state: "closed" | "idle" | "sending" | "asked"): boolean {
    return this.#state === state
  }

  /**
   * Call for an ack of a push. Returns the changes that the relay has stored; undefined for a push of an earlier
   * attempt.
   */
  acknowledged(id: string): ReadonlyMap<Hash, string> | undefined {
    const push = this.#pushes.get(id)
    if (push === undefined) return undefined
    this.#pushes.delete(id)
    this.#bytes -= push.bytes
    return push.changes
  }

  /**
   * Call when the relay refuses a change, so that the ack of the push does not confirm this change. Returns false for a
   * push of an earlier attempt.
   */
  refused(id: string, hash: Hash): boolean {
    const push = this.#pushes.get(id)
    push?.changes.delete(hash)
    return push !== undefined
  }

  /**
   * Call when entries are committed. They may have replaced the damaged records of changes that could not be read.
   * Returns whether there were such changes.
   */
  releaseUnread(): boolean {
    const some = this.#unread.size > 0
    this.release(this.#unread)
    this.#unread.clear()
    return some
  }

  /** Call when these changes are not under way any more. `fill` sends those again that are still in the outbox. */
  release(hashes: Iterable<Hash>): void {
    for (const hash of hashes) this.#inFlight.delete(hash)
  }
}
