/** The shown rows of one collection, and the live ones among them ordered by id. */
import { isLive, type PlainRow } from "./shown-row.ts"

/** Changed rows up to which the sorted array is patched; beyond, it is made anew. */
const PATCHED = 64

export class SortedRows {
  readonly #byId = new Map<string, PlainRow>()
  #sorted: readonly PlainRow[] = Object.freeze([])
  /** Ids whose live row is not in the sorted array as it is; undefined: the array must be made anew. */
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

  /** Live rows by id; the same array until one of them changes. */
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

/** Pages come nearly in order where ids grow with time, so the sort is often left out. */
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

/** The first place whose id is not smaller. */
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
