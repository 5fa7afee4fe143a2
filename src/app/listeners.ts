/** A listener that throws must not keep the next one from hearing, nor fail a commit that has happened. */
export function callSafely(f: () => void): void {
  try {
    f()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
