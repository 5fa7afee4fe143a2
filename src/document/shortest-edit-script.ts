/**
 * Finds the shortest edit script between two sequences. The algorithm is that of Myers, "An O(ND) Difference Algorithm
 * and Its Variations" (Algorithmica 1, 1986).
 */

/** The most items that may differ. The exact result for texts that have little in common would cost seconds. */
const EDITS = 1000

/**
 * Finds the common items of a and b: pairs of indexes, ascending. Returns undefined when more than `EDITS` items
 * differ. Always pairs equal items at the end of both, although another script of the same length might not.
 */
export function align(a: readonly string[], b: readonly string[]): [number, number][] | undefined {
  const most = Math.min(a.length, b.length)
  let start = 0
  while (start < most && a[start] === b[start]) start++
  let end = 0
  while (end < most - start && a.at(-1 - end) === b.at(-1 - end)) end++
  const pairs = shortest(a.slice(0, a.length - end), b.slice(0, b.length - end))
  for (; pairs !== undefined && end > 0; end--) pairs.push([a.length - end, b.length - end])
  return pairs
}

function shortest(a: readonly string[], b: readonly string[]): [number, number][] | undefined {
  const most = Math.min(EDITS, a.length + b.length)
  const mid = most + 1
  /** By diagonal (k = x - y, shifted by `mid`): the largest x that `d` edits reach. */
  const furthest = new Int32Array(2 * most + 3)
  /**
   * Entry `d` is a copy of `furthest` from before round `d`. It has only the diagonals from -d - 1 to d + 1, because
   * round `d` reads no others.
   */
  const rounds: Int32Array[] = []
  for (let d = 0; d <= most; d++) {
    rounds.push(furthest.slice(mid - d - 1, mid + d + 2))
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && furthest[mid + k - 1]! < furthest[mid + k + 1]!)
      let x = down ? furthest[mid + k + 1]! : furthest[mid + k - 1]! + 1
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x++
      furthest[mid + k] = x
      if (x >= a.length && x - k >= b.length) return pairs(a.length, b.length, rounds)
    }
  }
  return undefined
}

/** Finds the common items by walking back through the rounds: between two edits both sequences have the same items. */
function pairs(x: number, y: number, rounds: readonly Int32Array[]): [number, number][] {
  const common: [number, number][] = []
  for (let d = rounds.length - 1; d >= 0; d--) {
    const furthest = rounds[d]!
    const k = x - y
    const at = k + d + 1
    const down = k === -d || (k !== d && furthest[at - 1]! < furthest[at + 1]!)
    const fromX = d === 0 ? 0 : down ? furthest[at + 1]! : furthest[at - 1]!
    const fromY = d === 0 ? 0 : fromX - (down ? k + 1 : k - 1)
    const [afterX, afterY] = d === 0 ? [0, 0] : down ? [fromX, fromY + 1] : [fromX + 1, fromY]
    while (x > afterX && y > afterY) common.push([--x, --y])
    ;[x, y] = [fromX, fromY]
  }
  return common.reverse()
}
