/** Waits in tests until something is true, however long that takes on a loaded machine. */
import { vi } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"

/** Longest wait, ms: less than a test's time limit, so that the failure names the condition that did not come true. */
const BOUND_MS = 50_000
/** How often a condition is checked when no event tells that it may have changed. */
const LOOK_EVERY_MS = 5

interface Watched {
  onStatus(listener: () => void): () => void
}

/**
 * Resolves once `holds` returns true. With workspaces it is called now, and after each of their commits and changes of
 * status. Without workspaces it is called every few milliseconds.
 */
export async function until(holds: () => boolean, ...workspaces: readonly Watched[]): Promise<void> {
  const ends: (() => void)[] = []
  try {
    await new Promise<void>((resolve, reject) => {
      const look = () => {
        try {
          if (holds()) resolve()
        } catch (error) {
          reject(error as Error)
        }
      }
      const late = setTimeout(() => reject(new Error(`not true after ${BOUND_MS / 1000} s: ${holds}`)), BOUND_MS)
      ends.push(() => clearTimeout(late))
      for (const ws of workspaces) ends.push(ws.onStatus(look), replicaOf(ws).onCommit(look))
      if (workspaces.length === 0) {
        const looks = setInterval(look, LOOK_EVERY_MS)
        ends.push(() => clearInterval(looks))
      }
      look()
    })
  } finally {
    for (const end of ends) end()
  }
}

/** Resolves once `assertion` does not throw. Rejects with its last error when that takes too long. */
export async function untilPasses(assertion: () => unknown): Promise<void> {
  await vi.waitFor(assertion, { timeout: BOUND_MS, interval: LOOK_EVERY_MS })
}
