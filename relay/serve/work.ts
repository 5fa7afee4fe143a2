/**
 * Work that waits only where it must. Nearly every look-up is answered from memory. An async function would suspend
 * itself at each look-up all the same, which took a twentieth of the time of a push.
 */
import type { Awaitable } from "../log/contract.ts"

/** Work yields each promise for which it must wait, and goes on with the promise's value. */
export type Work<T> = Generator<Promise<unknown>, T, unknown>

/** Runs work to its end. Returns its result if the work never waits, else a promise of its result. */
export function run<T>(work: Work<T>): Awaitable<T> {
  const step = work.next()
  return step.done ? step.value : goOn(work, step.value)
}

async function goOn<T>(work: Work<T>, first: Promise<unknown>): Promise<T> {
  let waitsFor = first
  for (;;) {
    const settled = await waitsFor.then(
      (value) => () => work.next(value),
      (error) => () => work.throw(error),
    )
    const step = settled()
    if (step.done) return step.value
    waitsFor = step.value
  }
}

/** Returns a value inside work, and waits if it is a promise: `const found = yield* ready(lookUp())`. */
export function* ready<T>(value: Awaitable<T>): Work<T> {
  return value instanceof Promise ? ((yield value) as T) : value
}
