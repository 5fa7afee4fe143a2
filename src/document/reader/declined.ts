/**
 * The error that the reader throws to leave an entity to Automerge. The reason is for statistics. It names what the
 * reader does not know; it does not mean that the change is bad.
 */
export class Declined extends Error {
  readonly reason: string

  constructor(reason: string) {
    super(reason)
    this.reason = reason
  }
}

export function decline(reason: string): never {
  throw new Declined(reason)
}
