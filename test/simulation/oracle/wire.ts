/** What travels between the devices and the relay. */
import { decodeClient, decodeRelay, type Hash, type Item } from "../../../src/wire/protocol.ts"
import type { Connection } from "../world/network.ts"
import { type Device, WORKSPACE } from "../world/store.ts"
import { Credit } from "./credit.ts"
import { short } from "./facts.ts"
import type { Oracle } from "./oracle.ts"

export class Wire {
  /** Counts of what came by. */
  readonly seen = { heals: 0, adopted: 0, rejected: 0, again: 0 }
  readonly credit: Credit
  readonly #oracle: Oracle
  /** The connection that has last carried a change to the relay. */
  readonly #pushed = new Map<Hash, number>()
  /** By connection and push: what it carries and the relay has not refused. */
  readonly #pushes = new Map<string, Set<Hash>>()

  constructor(oracle: Oracle) {
    this.#oracle = oracle
    this.credit = new Credit((kind, message) => oracle.fail(kind, message))
  }

  /** A replica sends: only what is saved. */
  up(device: Device, connection: Connection, frame: Uint8Array): void {
    const message = this.#oracle.read("bytes that are no message", device.name, () => decodeClient(frame))
    if (!isOurs(message)) return
    if (message?.t === "have" && !message.single && !message.more) this.seen.heals++
    if (message?.t !== "push") return
    const hashes = new Set<Hash>()
    for (const { entity, chunks } of message.entries) {
      for (const chunk of chunks) {
        const { hash } = this.#oracle.learn(entity, chunk)
        hashes.add(hash)
        if (message.adopt) this.seen.adopted++
        if ((this.#pushed.get(hash) ?? connection.id) !== connection.id) this.seen.again++
        this.#pushed.set(hash, connection.id)
        if (!this.#oracle.held(device.name).has(hash))
          this.#oracle.fail("sent before saved", `${device.name} ${entity} ${short(hash)}`)
      }
    }
    this.#pushes.set(`${connection.id} ${message.id}`, hashes)
  }

  /** The relay receives what a replica has sent. */
  arrived(connection: Connection, frame: Uint8Array): void {
    const message = decodeClient(frame)
    if (isOurs(message)) this.credit.received(connection.id, message)
  }

  isPush(frame: Uint8Array): boolean {
    const message = decodeClient(frame)
    return message?.t === "push" && isOurs(message)
  }

  /** The answer to a pull is none: twice, it would be taken for the answer to the next pull as well (seed 2077338423). */
  isNews(frame: Uint8Array): boolean {
    const message = decodeRelay(frame)
    const isAnswer = message?.t === "entries" && message.principal !== undefined
    return (message?.t === "entries" || message?.t === "ack") && !isAnswer && isOurs(message)
  }

  /** The relay sends: only what is on its disk, acks and cursors included. Nobody hears what is sent to no device. */
  down(device: Device | undefined, connection: Connection, frame: Uint8Array): void {
    const message = this.#oracle.read("bytes that are no message", "the relay", () => decodeRelay(frame))
    if (!isOurs(message)) return
    if (message?.t === "entries") {
      this.credit.sent(connection.id, message)
      for (const item of message.items) this.#checkServed(device, connection, item)
      if (message.cursor) this.#oracle.log.gaveOut(message.cursor)
    } else if (message?.t === "notice" && message.code === "LOG_FAILED") {
      this.credit.failed(connection.id)
    } else if (message?.t === "reject") {
      this.seen.rejected++
      this.#pushes.get(`${connection.id} ${message.id}`)?.delete(message.hash)
    } else if (message?.t === "ack") {
      for (const hash of this.#pushes.get(`${connection.id} ${message.id}`) ?? []) this.#checkAcknowledged(hash)
    }
  }

  /** Of what it does not know to be damaged the relay says that it has it; it cannot be held to that. */
  #checkAcknowledged(hash: Hash): void {
    const unread = this.#oracle.causes.isUnread(hash)
    if (!this.#oracle.onDiskNow(hash) && !unread) this.#oracle.fail("acknowledged before stored", short(hash))
    this.#oracle.stored.add(hash)
    if (!unread) this.#oracle.log.acknowledged(hash)
  }

  #checkServed(device: Device | undefined, connection: Connection, item: Item): void {
    if (!("entry" in item)) return
    for (const chunk of item.entry.chunks) {
      const { hash, entity } = this.#oracle.learn(item.entry.entity, chunk)
      if (!this.#oracle.onDiskNow(hash)) this.#oracle.fail("served before stored", `${entity} ${short(hash)}`)
      if (device) this.#oracle.causes.served(connection.id, device, hash)
    }
  }
}

/** Whatever is said of another workspace on the same socket is none of our business. */
const isOurs = (message: object | null): boolean => !message || !("w" in message) || message.w === WORKSPACE
