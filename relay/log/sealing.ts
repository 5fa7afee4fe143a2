/** Seals segments: writes the index of a full segment to the disk, so that its index in memory can be dropped. */
import { Damage } from "./damage.ts"
import type { Folder } from "./folder.ts"
import type { SealedSegments } from "./sealed-segments.ts"
import type { OpenIndex } from "./segment/open-index.ts"
import type { OpenSegment } from "./segment/open-segment.ts"
import type { FreshStart } from "./segment/sealed-index-format.ts"
import type { SealedSegment } from "./segment/sealed-segment.ts"
import { writeIndex } from "./segment/write-index.ts"
import type { Segments } from "./segments.ts"
import { breathe, Slice } from "./slices.ts"

/** Seals the closing segment of a log. Meanwhile entries are appended to the next segment. */
export class Sealing {
  readonly #folder: Folder
  readonly #segments: Segments
  readonly #onDamage: (damage: Damage) => void
  #work: Promise<void> | undefined
  /** After a failed seal: the number of entries that the active segment must have before sealing is tried again. */
  #notBefore = 0

  constructor(folder: Folder, segments: Segments, onDamage: (damage: Damage) => void) {
    this.#folder = folder
    this.#segments = segments
    this.#onDamage = onDamage
  }

  /**
   * Call it when all records of the closing segment are on the disk. As long as sealing fails, the segment's index
   * stays in memory and the active segment grows.
   */
  start(closing: OpenSegment): void {
    const segments = this.#segments
    if (this.#work || segments.active.index.count < this.#notBefore) return
    this.#work = sealOnTop(this.#folder, segments.sealed, closing)
      .then(
        (segment) => {
          segments.addSealed(segment)
          this.#notBefore = 0
          return closing.close()
        },
        (error) => {
          this.#notBefore = segments.active.index.count + this.#folder.sizes.sealAgain
          this.#folder.report({ level: "warn", event: "log.unsealed", segment: closing.header.number, error })
          if (error instanceof Damage) this.#onDamage(error)
        },
      )
      .catch(() => {})
      .finally(() => {
        this.#work = undefined
      })
  }

  /** Resolves when nothing is being sealed. */
  async idle(): Promise<void> {
    await this.#work
  }
}

/**
 * Seals `segment` as the next one after the sealed segments. All its records must be on the disk. The caller adds the
 * result to `sealed`. `loss`: if a loss was just found, the segment that begins a fresh running hash because of it.
 * Without `loss`, the new index has the same `freshStart` as the index before it, if that fresh segment comes after
 * `segment`.
 */
export async function sealOnTop(
  folder: Folder,
  sealed: SealedSegments,
  segment: OpenSegment,
  loss?: FreshStart,
): Promise<SealedSegment> {
  await lookUpBefore(folder, segment.index, sealed)
  const previous = sealed.newest
  const inherited = previous?.freshStart
  const freshStart = loss ?? (inherited && inherited.number > segment.header.number ? inherited : undefined)
  const lost = freshStart !== undefined || previous?.lost === true
  return writeIndex(folder, segment, { previous, lost, freshStart })
}

/** Looks up the state of each entity before the segment, unless it is known already. */
async function lookUpBefore({ clock, sizes }: Folder, index: OpenIndex, sealed: SealedSegments): Promise<void> {
  const slice = new Slice(sizes.lookUpSlice)
  for (let e = 0; e < index.entities; e++) {
    if (slice.isFull()) await breathe(clock)
    if (index.before(e) === undefined) index.setBefore(e, (await sealed.state(index.keyOf(e))) ?? null)
  }
}
