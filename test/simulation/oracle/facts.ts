/** Types and errors that the parts of the oracle share. */
import type { Change } from "../../../src/wire/chunk.ts"
import type { Entry, Hash } from "../../../src/wire/protocol.ts"

export class Violation extends Error {
  readonly kind: string
  constructor(kind: string, message: string) {
    super(`${kind}: ${message}`)
    this.kind = kind
  }
}

export interface Minted extends Change {
  readonly entity: string
  readonly derived: boolean
}

/** An entry of the relay's log. */
export interface Logged {
  readonly position: number
  readonly entry: Entry
}

export const short = (hash: Hash): string => hash.slice(0, 8)
