/**
 * What turns one text into another: assigning a collaborative text writes this, so that concurrent edits elsewhere in it
 * stay. Myers, "An O(ND) difference algorithm" (Algorithmica 1, 1986), by words where the texts are long and then by
 * characters, with a bound: texts that have little in common are replaced, because the exact answer costs seconds.
 */

/** Replaces `remove` UTF-16 units at `at` of the old text. */
export interface Hunk {
  readonly at: number
  readonly remove: number
  readonly insert: string
}

/** UTF-16 units up to which a stretch is compared character by character. */
const FINE = 2048
/** Tokens that may differ before a stretch counts as rewritten. */
const EDITS = 1000

/** In ascending order, never overlapping, never splitting a surrogate pair. */
export function difference(before: string, after: string): Hunk[] {
  const hunks: Hunk[] = []
  compare(before, after, 0, false, hunks)
  return hunks
}

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

/** A stretch of tokens that differ, and how many UTF-16 units after it are the same. */
interface Step {
  readonly removed: string
  readonly inserted: string
  readonly kept: number
}

/** The shortest edit script, or undefined when it takes more than `EDITS` tokens. */
function align(a: readonly string[], b: readonly string[]): Step[] | undefined {
  const most = Math.min(EDITS, a.length + b.length)
  const mid = most + 1
  /** How far each diagonal (x - y) has come. */
  const reach = new Int32Array(2 * most + 3)
  const rounds: Int32Array[] = []
  for (let d = 0; d <= most; d++) {
    rounds.push(reach.slice(mid - d - 1, mid + d + 2))
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && reach[mid + k - 1]! < reach[mid + k + 1]!)
      let x = down ? reach[mid + k + 1]! : reach[mid + k - 1]! + 1
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++
      reach[mid + k] = x
      if (x >= a.length && x - k >= b.length) return steps(a, b, rounds)
    }
  }
  return undefined
}

/** Walks the rounds back to see which tokens were edited, then forth to join them. */
function steps(a: readonly string[], b: readonly string[], rounds: readonly Int32Array[]): Step[] {
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
  const result: Step[] = []
  let i = 0
  let j = 0
  while (i < a.length || j < b.length) {
    const step = { removed: "", inserted: "", kept: 0 }
    while (removed.has(i)) step.removed += a[i++]
    while (inserted.has(j)) step.inserted += b[j++]
    for (; i < a.length && !removed.has(i) && !inserted.has(j); i++, j++) step.kept += a[i]!.length
    result.push(step)
  }
  return result
}
