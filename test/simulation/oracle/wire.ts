/** Checks of the messages between devices and relay. */
import { decodeClient, decodeRelay, type Entry, type Hash, type Item } from "../../../src/wire/protocol.ts"
import { ReceivedChunks } from "../../../src/wire/received-chunks.ts"
import type { Connection } from "../world/network.ts"
import { type Device, WORKSPACE } from "../world/store.ts"
import { Credit } from "./credit.ts"
import { short } from "./facts.ts"
import type { Oracle } from "./oracle.ts"

export class Wire {
  /** How often each of these has happened on the wire. */
  readonly seen = {
    heals: 0,
    adopted: 0,
    rejected: 0,
    forbidden: 0,
    again: 0,
    deflated: 0,
    plain: 0,
    asTheyCame: 0,
    encodedAgain: 0,
  }
  readonly credit: Credit
  readonly #oracle: Oracle
  /** The blocks in which chunks came to the relay. */
  readonly #blocks = new Set<string>()
  /** For each change: the last connection that carried it to the relay. */
  readonly #pushed = new Map<Hash, number>()
  /** For each connection and push: the changes of the push that the relay has not refused. */
  readonly #pushes = new Map<string, Set<Hash>>()

  constructor(oracle: Oracle) {
    this.#oracle = oracle
    this.credit = new Credit((kind, message) => oracle.fail(kind, message))
  }

  /** Call it when a replica sends a frame. It may send only changes that it has saved. */
  up(device: Device, connection: Connection, frame: Uint8Array): void {
    const message = this.#oracle.read("bytes that are no message", device.name, () => decodeClient(frame))
    if (!isOurs(message)) return
    if (message?.t === "pull" && message.cursor) this.#oracle.devices.pulls(device, message.cursor)
    if (message?.t === "have" && !message.single && !message.more) this.seen.heals++
    if (message?.t !== "push") return
    const hashes = new Set<Hash>()
    for (const entry of message.entries) {
      const { entity, chunks } = entry
      const block = blockOf(entry)
      this.#blocks.add(block.toString("latin1"))
      this.seen[(block[0] as number) % 2 === 1 ? "deflated" : "plain"]++
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

  /** Call it when a frame of a replica arrives at the relay. */
  arrived(connection: Connection, frame: Uint8Array): void {
    const message = decodeClient(frame)
    if (isOurs(message)) this.credit.received(connection.id, message)
  }

  isPush(frame: Uint8Array): boolean {
    const message = decodeClient(frame)
    return message?.t === "push" && isOurs(message)
  }

  /**
   * Whether the network may double this frame: entries, or an ack. An answer to a pull is not doubled, because a
   * replica would take the second copy for the answer to its next pull (found with seed 2077338423).
   */
  isNews(frame: Uint8Array): boolean {
    const message = decodeRelay(frame)
    const isAnswer = message?.t === "entries" && message.principal !== undefined
    return (message?.t === "entries" || message?.t === "ack") && !isAnswer && isOurs(message)
  }

  /**
   * Call it when the relay sends a frame. It may send acks, cursors and entries only of changes on its disk. `device`
   * is undefined when the frame is lost on its way.
   */
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
      if (message.code === "FORBIDDEN") this.seen.forbidden++
      this.#pushes.get(`${connection.id} ${message.id}`)?.delete(message.hash)
    } else if (message?.t === "ack") {
      for (const hash of this.#pushes.get(`${connection.id} ${message.id}`) ?? []) this.#checkAcknowledged(hash)
    }
  }

  /** Call it when a frame of the relay arrives at a replica. */
  reached(device: Device, frame: Uint8Array): void {
    const message = decodeRelay(frame)
    if (isOurs(message) && message && "access" in message && message.access === "read") {
      this.#oracle.devices.toldReadOnly(device)
    }
  }

  /** Until the relay has read a damaged segment, it may acknowledge changes that the damage has destroyed there. */
  #checkAcknowledged(hash: Hash): void {
    const unread = this.#oracle.causes.isUnread(hash)
    if (!this.#oracle.onDiskNow(hash) && !unread) this.#oracle.fail("acknowledged before stored", short(hash))
    this.#oracle.stored.add(hash)
    if (!unread) this.#oracle.log.acknowledged(hash)
  }

  #checkServed(device: Device | undefined, connection: Connection, item: Item): void {
    if (!("entry" in item)) return
    if (item.entry.chunks.length > 0)
      this.seen[this.#blocks.has(blockOf(item.entry).toString("latin1")) ? "asTheyCame" : "encodedAgain"]++
    for (const chunk of item.entry.chunks) {
      const { hash, entity } = this.#oracle.learn(item.entry.entity, chunk)
      if (!this.#oracle.onDiskNow(hash)) this.#oracle.fail("served before stored", `${entity} ${short(hash)}`)
      if (device) this.#oracle.causes.served(connection.id, device, hash)
    }
  }
}

/** The block from which the chunks of a decoded entry were made. The lowest bit of its first byte says "deflated". */
const blockOf = (entry: Entry): Buffer => Buffer.from(ReceivedChunks.blockOf(entry.chunks, entry) as Uint8Array)

/** Messages of the second workspace on the same socket are not checked. */
const isOurs = (message: object | null): boolean => !message || !("w" in message) || message.w === WORKSPACE
