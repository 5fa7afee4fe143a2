/**
 * Thrown when a file of the log does not hold the bytes that were written to it. `reopen-damaged.ts` then mends the
 * log.
 */
export class Damage extends Error {
  readonly segment: number

  constructor(segment: number, what: string) {
    super(`segment ${segment}: ${what}`)
    this.segment = segment
  }
}
