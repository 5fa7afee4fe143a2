/** Lets an app stop waiting for an opening that hangs, for example because the disk does not answer. */

/**
 * Resolves or rejects as `opening` does. If the signal is aborted first, rejects at once with the signal's reason. The
 * opening itself cannot be stopped. If it succeeds after that, `undo` is called with its result, and must close it: no
 * other code has the result.
 */
export function unlessAborted<T>(
  opening: Promise<T>,
  signal: AbortSignal | undefined,
  undo: (result: T) => void,
): Promise<T> {
  if (signal === undefined) return opening
  return new Promise((resolve, reject) => {
    let aborted = false
    const abort = () => {
      aborted = true
      reject(signal.reason)
    }
    signal.addEventListener("abort", abort)
    const over = () => signal.removeEventListener("abort", abort)
    opening.then(
      (result) => {
        over()
        if (aborted) undo(result)
        else resolve(result)
      },
      (error) => {
        over()
        reject(error)
      },
    )
  })
}
