/** The edits of one person, to be undone and done again while other people edit the same text. */
import type { TextSplice } from "../schema/types.ts"
import { cross, type Splices } from "./splices.ts"

/** A pause of this length ends a run of typing, ms. */
const PAUSE_MS = 1000
/** How many steps are kept. */
const STEPS = 200

/**
 * A stack of steps. The last one is made for the present text, each other one for the text that the step behind it
 * makes.
 */
export class Steps {
  #steps: Splices[] = []
  /** When the last run of typing was continued, ms. */
  #typedAt = Number.NEGATIVE_INFINITY

  /** Adds a step of one splice. */
  push(...step: TextSplice[]): void {
    this.#steps.push(step)
    if (this.#steps.length > STEPS) this.#steps.shift()
    this.#typedAt = Number.NEGATIVE_INFINITY
  }

  /** Adds a splice to the last step. It is undone before the others. */
  add(splice: TextSplice): void {
    this.push(splice, ...(this.#steps.pop() ?? []))
  }

  /** Adds the splice that undoes what was typed at `time`. `text`: the text with what was typed. */
  addTyped(splice: TextSplice, time: number, text: string): void {
    const [last, ...others] = this.#steps.at(-1) ?? []
    const isPause = time - this.#typedAt >= PAUSE_MS
    const isNextWord = splice.remove > 0 && /\s\S/.test(text.slice(splice.at - 1, splice.at + 1))
    const run = last === undefined || isPause || isNextWord ? undefined : joined(splice, last)
    if (run === undefined) this.push(splice)
    else this.#steps[this.#steps.length - 1] = [run, ...others]
    this.#typedAt = time
  }

  /** Removes the last step that still changes something, and returns its splices. */
  pop(): Splices {
    this.#typedAt = Number.NEGATIVE_INFINITY
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      const left = step.filter(({ remove, insert }) => remove > 0 || insert !== "")
      if (left.length > 0) return left
    }
    return []
  }

  clear(): void {
    this.#steps = []
  }

  /** Moves all steps over what others have made of the text. */
  moveOver(theirs: Splices): void {
    let moved = theirs
    for (let i = this.#steps.length - 1; i >= 0; i--) {
      const [step, after] = cross(this.#steps[i] as Splices, moved, false)
      this.#steps[i] = step
      moved = after
    }
  }
}

/** Makes one splice of two that undo keys typed side by side, of which `last` was the first; undefined if it cannot. */
function joined(splice: TextSplice, last: TextSplice): TextSplice | undefined {
  if (splice.insert === "" && last.remove > 0) {
    return splice.at === last.at + last.remove ? { ...last, remove: last.remove + splice.remove } : undefined
  }
  if (splice.remove > 0 || last.remove > 0) return undefined
  if (splice.at + splice.insert.length === last.at) return { ...splice, insert: splice.insert + last.insert }
  return splice.at === last.at ? { ...splice, insert: last.insert + splice.insert } : undefined
}
