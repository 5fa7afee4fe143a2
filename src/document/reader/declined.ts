/**
 * The reader leaves an entity to Automerge by throwing this. The reason is for statistics: it names what the reader
 * does not know, and says nothing against the change.
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
