/**
 * The credit of each connection. A pull with a cursor sets the credit, and a pull without a cursor adds to the credit
 * that is left. The relay must not send an item to a client that has no credit left.
 */
import { type ClientMessage, type Entries, encodeItem } from "../../../src/wire/protocol.ts"

interface Account {
  /** Bytes of items that the relay may still send. It is below 0 when the last item was larger than what was left. */
  left: number
  /** The credit of each pull with a cursor that has arrived and that the relay has not begun to answer. */
  readonly begun: number[]
}

export class Credit {
  /** How often a client had no credit left while the relay had more to send. */
  usedUp = 0
  readonly #accounts = new Map<number, Account>()
  readonly #fail: (kind: string, message: string) => void

  constructor(fail: (kind: string, message: string) => void) {
    this.#fail = fail
  }

  /** Call it when the relay receives a message. */
  received(connection: number, message: ClientMessage | null): void {
    if (message?.t !== "pull") return
    const account = this.#of(connection)
    const { begun } = account
    if (message.cursor !== undefined) begun.push(message.credit)
    else {
      account.left += message.credit
      // If the socket was full when the pull with a cursor came, the relay may answer both pulls at once, so the
      // credits of the two are added.
      if (begun.length > 0) begun.push(begun.pop()! + message.credit)
    }
  }

  /**
   * Call it when the relay says that its log has failed. The relay then waits for new credit, and does not subtract
   * from it what it had sent beyond the old credit.
   */
  failed(connection: number): void {
    this.#of(connection).left = 0
  }

  /** Call it when the relay sends entries. Entries that answer a pull have a `principal`. */
  sent(connection: number, { items, principal, level }: Entries): void {
    const account = this.#of(connection)
    // The relay answers no pull while its socket is full. If several pulls wait, it is not known which of them this
    // frame answers, so the largest of their credits counts.
    if (principal !== undefined && account.begun.length > 0) {
      account.left = Math.max(...account.begun)
      account.begun.shift()
    }
    if (items.length === 0) return
    if (account.left <= 0)
      this.#fail("sent without credit", `${items.length} items on connection ${connection} with ${account.left} left`)
    for (const item of items) account.left -= encodeItem(item).length
    if (account.left <= 0 && !level) this.usedUp++
  }

  #of(connection: number): Account {
    let account = this.#accounts.get(connection)
    if (!account) this.#accounts.set(connection, (account = { left: 0, begun: [] }))
    return account
  }
}
