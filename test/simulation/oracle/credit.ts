/**
 * What each connection lets the relay send. A pull that names a cursor begins anew with its credit, one without a cursor
 * adds to what is left, and the relay sends no item to a client that has no credit left.
 */
import { type ClientMessage, type Entries, encodeItem } from "../../../src/wire/protocol.ts"

interface Account {
  /** Bytes of items; below 0 when the last item was larger than what was left. */
  left: number
  /** Of pulls that have arrived and that the relay has not begun to answer. */
  readonly begun: number[]
}

export class Credit {
  /** How often a client had more to come and no credit left for it. */
  usedUp = 0
  readonly #accounts = new Map<number, Account>()
  readonly #fail: (kind: string, message: string) => void

  constructor(fail: (kind: string, message: string) => void) {
    this.#fail = fail
  }

  /** The relay has received a message. */
  received(connection: number, message: ClientMessage | null): void {
    if (message?.t !== "pull") return
    const account = this.#of(connection)
    const { begun } = account
    if (message.cursor !== undefined) begun.push(message.credit)
    else {
      account.left += message.credit
      // A pull that came while the socket was full may never be answered by itself, so what it began counts for both.
      if (begun.length > 0) begun.push(begun.pop()! + message.credit)
    }
  }

  /** The relay says that its log has failed. It waits for new credit, and forgets what it has sent beyond the old one. */
  failed(connection: number): void {
    this.#of(connection).left = 0
  }

  /** The relay sends entries. Those that answer a pull say who is connected. */
  sent(connection: number, { items, principal, level }: Entries): void {
    const account = this.#of(connection)
    // While the socket is full the relay answers none: of several, nobody can say here which one this answers.
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
