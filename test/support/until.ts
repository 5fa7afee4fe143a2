/** Waiting in tests for something to be true, however long a loaded machine takes. */
import { vi } from "vitest"
import { replicaOf } from "../../src/app/workspace.ts"

/** Below a test's own time limit, so that a failure says what was waited for. */
const BOUND_MS = 50_000
/** How often it is looked at what tells nobody that it has changed. */
const LOOK_EVERY_MS = 5

interface Watched {
  onStatus(listener: () => void): () => void
}

/**
 * Resolves once `holds` is true. With workspaces: it is asked now, and after each of their commits and changes of
 * status. Without: every few milliseconds.
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

/** Resolves once `assertion` does not throw; rejects with what it has thrown last. */
export async function untilPasses(assertion: () => unknown): Promise<void> {
  await vi.waitFor(assertion, { timeout: BOUND_MS, interval: LOOK_EVERY_MS })
}
