/**
 * The messages of a connection that the relay has not answered, and the bytes of memory that are charged for them. Each
 * message waits for its turn in its workspace. When a connection ends, the work that has begun on its messages is
 * finished. Its waiting messages are dropped, because the client sends them again.
 */

/**
 * Bytes of memory charged for a message besides its frame. They are charged for a dropped message, too, because it
 * still has a place in the workspace's queue.
 */
export const MESSAGE_COST = 1024

/** A message that is not answered yet. */
export interface InHand<M> {
  /** Undefined: the connection ended before the work on the message began. */
  message: M | undefined
  /** Bytes of memory charged for the message. */
  cost: number
}

export class Unanswered {
  #bytes = 0
  /** Messages on which the work has not begun. Nothing of them is acknowledged. */
  readonly #waiting = new Set<InHand<unknown>>()
  #droppable = 0
  /** Functions that each resolve a promise of `answered()`. They are called once all messages are answered. */
  #awaiting: (() => void)[] = []

  /** Bytes of memory charged for messages that are not answered yet. */
  get bytes(): number {
    return this.#bytes
  }

  /** The part of `bytes` that `drop` frees. */
  get droppable(): number {
    return this.#droppable
  }

  /** Resolves once no message is unanswered. */
  answered(): Promise<void> {
    if (this.#bytes === 0) return Promise.resolve()
    return new Promise((resolve) => this.#awaiting.push(resolve))
  }

  add<M>(message: M, cost: number): InHand<M> {
    const inHand: InHand<M> = { message, cost }
    this.#bytes += cost
    this.#waiting.add(inHand)
    this.#droppable += cost - MESSAGE_COST
    return inHand
  }

  /**
   * Call when the message has its turn. Returns undefined when the connection has ended, because then nobody waits for
   * the answer.
   */
  begin<M>(inHand: InHand<M>): M | undefined {
    if (this.#waiting.delete(inHand)) this.#droppable -= inHand.cost - MESSAGE_COST
    return inHand.message
  }

  /** Call when the message is answered, or when no answer can be given. */
  end(inHand: InHand<unknown>): void {
    this.begin(inHand)
    this.#bytes -= inHand.cost
    if (this.#bytes === 0) for (const resolve of this.#awaiting.splice(0)) resolve()
  }

  /** Drops the messages on which the work has not begun. Their memory is free at once. */
  drop(): void {
    this.#bytes -= this.#droppable
    this.#droppable = 0
    for (const inHand of this.#waiting) {
      inHand.message = undefined
      inHand.cost = MESSAGE_COST
    }
    this.#waiting.clear()
  }
}
