/** Lets an app stop waiting for an opening that hangs, for example because the disk does not answer. */

/**
 * Settles as `opening` does. When the signal is aborted before that, rejects with the signal's reason at once, whatever
 * `opening` waits for. `opening` goes on by itself. If it succeeds all the same, `undo` gets its result, because nobody
 * else would close what was opened.
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
