/**
 * The error that the reader throws when Automerge must read the entity instead. `reason` names the part of the format
 * that the reader does not know. It does not mean that the change is bad, and serves only for statistics.
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
