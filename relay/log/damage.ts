/** A file of the log does not hold what was written there. Whoever meets it has the log mended (`mending.ts`). */
export class Damage extends Error {
  readonly segment: number

  constructor(segment: number, what: string) {
    super(`segment ${segment}: ${what}`)
    this.segment = segment
  }
}
