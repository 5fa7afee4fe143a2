/** The shown rows of one collection, and a sorted array of the rows whose entity is not deleted. */
import { isLive, type PlainRow } from "./shown-row.ts"

/** When more rows than this have changed, the sorted array is made again instead of patched. */
const PATCHED = 64

export class SortedRows {
  readonly #byId = new Map<string, PlainRow>()
  #sorted: readonly PlainRow[] = Object.freeze([])
  /** Ids whose row has changed since the sorted array was made. Undefined: too many to patch the array. */
  #changed: Set<string> | undefined = new Set()

  get size(): number {
    return this.#byId.size
  }

  has(id: string): boolean {
    return this.#byId.has(id)
  }

  get(id: string): PlainRow | undefined {
    return this.#byId.get(id)
  }

  ids(): Iterable<string> {
    return this.#byId.keys()
  }

  set(id: string, row: PlainRow): void {
    const before = this.#byId.get(id)
    this.#byId.set(id, row)
    if (isLive(row) || (before !== undefined && isLive(before))) this.#note(id)
  }

  delete(id: string): void {
    const before = this.#byId.get(id)
    this.#byId.delete(id)
    if (before !== undefined && isLive(before)) this.#note(id)
  }

  #note(id: string): void {
    this.#changed?.add(id)
    if (this.#changed !== undefined && this.#changed.size > PATCHED) this.#changed = undefined
  }

  /** The rows of entities that are not deleted, sorted by id. Returns the same array until one of them changes. */
  all(): readonly PlainRow[] {
    if (this.#changed === undefined) this.#sorted = Object.freeze(sortedById(this.#byId))
    else if (this.#changed.size > 0) this.#sorted = Object.freeze(this.#patched(this.#changed))
    this.#changed = new Set()
    return this.#sorted
  }

  #patched(changed: ReadonlySet<string>): PlainRow[] {
    const next = [...this.#sorted]
    for (const id of changed) {
      const at = lowerBound(next, id)
      const row = this.#byId.get(id)
      const here = next[at]?.id === id ? 1 : 0
      if (row !== undefined && isLive(row)) next.splice(at, here, row)
      else next.splice(at, here)
    }
    return next
  }
}

/**
 * Sorts the rows of entities that are not deleted. Skips the sort if the rows are in order already. Often they are,
 * because pages are read in order and ids grow with time.
 */
function sortedById(rows: ReadonlyMap<string, PlainRow>): PlainRow[] {
  const live: PlainRow[] = []
  let last = ""
  let inOrder = true
  for (const [id, row] of rows) {
    if (!isLive(row)) continue
    if (id < last) inOrder = false
    last = id
    live.push(row)
  }
  return inOrder ? live : live.sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** Finds the index of the first row whose id is not smaller than `id`. */
function lowerBound(rows: readonly PlainRow[], id: string): number {
  let low = 0
  let high = rows.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((rows[middle] as PlainRow).id < id) low = middle + 1
    else high = middle
  }
  return low
}
