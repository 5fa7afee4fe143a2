/**
 * The difference of two texts. Assigning a collaborative text writes only the difference, so that concurrent edits
 * elsewhere in it stay. The algorithm: Myers, "An O(ND) Difference Algorithm and Its Variations" (Algorithmica 1,
 * 1986). Long texts are compared by words, then the stretches that differ by characters. Texts that have little in
 * common are replaced whole, because the exact answer would cost seconds.
 */

/** Replaces `remove` UTF-16 units at `at` of the old text by `insert`. */
export interface Hunk {
  readonly at: number
  readonly remove: number
  readonly insert: string
}

/** UTF-16 units up to which texts are compared by characters; longer ones by words. */
const FINE = 2048
/** Tokens (words or characters) that may differ before a text is replaced whole. */
const EDITS = 1000

/** The hunks that make `after` of `before`: in ascending order, never overlapping, never splitting a surrogate pair. */
export function difference(before: string, after: string): Hunk[] {
  const hunks: Hunk[] = []
  compare(before, after, 0, false, hunks)
  return hunks
}

/**
 * `offset`: where `before` stands in the whole text. `refining`: words were compared already, so long texts are
 * replaced.
 */
function compare(before: string, after: string, offset: number, refining: boolean, hunks: Hunk[]): void {
  const start = commonStart(before, after)
  const end = commonEnd(before, after, start)
  const old = before.slice(start, before.length - end)
  const fresh = after.slice(start, after.length - end)
  if (old === "" && fresh === "") return
  const at = offset + start
  const fine = Math.max(old.length, fresh.length) <= FINE
  const worthwhile = old !== "" && fresh !== "" && (fine || !refining)
  const script = worthwhile ? align(tokens(old, fine), tokens(fresh, fine)) : undefined
  if (script === undefined) {
    hunks.push({ at, remove: old.length, insert: fresh })
    return
  }
  let from = at
  for (const { removed, inserted, kept } of script) {
    if (fine) hunks.push({ at: from, remove: removed.length, insert: inserted })
    else compare(removed, inserted, from, true, hunks)
    from += removed.length + kept
  }
}

const isHigh = (unit: number) => unit >= 0xd800 && unit <= 0xdbff
const isLow = (unit: number) => unit >= 0xdc00 && unit <= 0xdfff

function commonStart(a: string, b: string): number {
  const most = Math.min(a.length, b.length)
  let n = 0
  while (n < most && a.charCodeAt(n) === b.charCodeAt(n)) n++
  return n > 0 && isHigh(a.charCodeAt(n - 1)) ? n - 1 : n
}

function commonEnd(a: string, b: string, start: number): number {
  const most = Math.min(a.length, b.length) - start
  let n = 0
  while (n < most && a.charCodeAt(a.length - 1 - n) === b.charCodeAt(b.length - 1 - n)) n++
  return n > 0 && isLow(a.charCodeAt(a.length - n)) ? n - 1 : n
}

const tokens = (text: string, fine: boolean): string[] => (fine ? [...text] : (text.match(/\s+|[^\s]+/g) ?? []))

/** Tokens that differ, as text, and how many UTF-16 units after them are the same. */
interface Stretch {
  readonly removed: string
  readonly inserted: string
  readonly kept: number
}

/** The shortest edit script from a to b, or undefined when more than `EDITS` tokens differ. */
function align(a: readonly string[], b: readonly string[]): Stretch[] | undefined {
  const most = Math.min(EDITS, a.length + b.length)
  const mid = most + 1
  /** By diagonal (k = x - y, shifted by `mid`): the largest x that `d` edits reach. */
  const reach = new Int32Array(2 * most + 3)
  /** `reach` as it was before each round, diagonals -d - 1 to d + 1. */
  const rounds: Int32Array[] = []
  for (let d = 0; d <= most; d++) {
    rounds.push(reach.slice(mid - d - 1, mid + d + 2))
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && reach[mid + k - 1]! < reach[mid + k + 1]!)
      let x = down ? reach[mid + k + 1]! : reach[mid + k - 1]! + 1
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++
      reach[mid + k] = x
      if (x >= a.length && x - k >= b.length) return stretches(a, b, rounds)
    }
  }
  return undefined
}

/** Walks the rounds back to find the tokens that were removed and inserted, then forth to join them to stretches. */
function stretches(a: readonly string[], b: readonly string[], rounds: readonly Int32Array[]): Stretch[] {
  const removed = new Set<number>()
  const inserted = new Set<number>()
  let x = a.length
  let y = b.length
  for (let d = rounds.length - 1; d > 0; d--) {
    const reach = rounds[d]!
    const k = x - y
    const at = k + d + 1
    const down = k === -d || (k !== d && reach[at - 1]! < reach[at + 1]!)
    x = down ? reach[at + 1]! : reach[at - 1]!
    y = x - (down ? k + 1 : k - 1)
    if (down) inserted.add(y)
    else removed.add(x)
  }
  const result: Stretch[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    const stretch = { removed: "", inserted: "", kept: 0 }
    while (removed.has(i)) stretch.removed += a[i++]
    while (inserted.has(j)) stretch.inserted += b[j++]
    for (; i < a.length && !removed.has(i) && !inserted.has(j); i++, j++) stretch.kept += a[i]!.length
    result.push(stretch)
  }
  return result
}
