import { HeadwaterError } from "../base/errors.ts"

/** What differs from store to store in being opened and closed. */
export interface Disk {
  open(): Promise<void>
  /** Called when nothing runs on it any more. */
  close(): Promise<void>
  /** Keeps others off this workspace, where opening does not already keep them off the whole store. */
  lock?(workspace: string): Promise<() => Promise<void>>
}

/** The life of a store: who has claimed it, what runs on it, and what its failures are called. */
export interface Opening {
  claim(workspace: string): Promise<() => Promise<void>>
  /** Runs one operation, begun before this returns. The last release waits for it; whatever it throws is `STORE_FAILED`. */
  run<T>(what: string, operation: () => Promise<T>): Promise<T>
}

export function opening(disk: Disk): Opening {
  const unlocks = new Map<string, () => Promise<void>>()
  const inTurn = queue()
  let open = false
  let running = 0
  let drained = (): void => {}

  async function take(workspace: string): Promise<void> {
    if (unlocks.has(workspace)) throw inUse(`workspace ${workspace} is already open here`)
    const unlock = (await disk.lock?.(workspace)) ?? (async () => {})
    try {
      if (!open) await disk.open()
    } catch (error) {
      await unlock()
      throw error
    }
    open = true
    unlocks.set(workspace, unlock)
  }

  async function letGo(workspace: string): Promise<void> {
    const unlock = unlocks.get(workspace)
    unlocks.delete(workspace)
    try {
      if (unlocks.size > 0) return
      open = false
      if (running > 0) await new Promise<void>((resolve) => (drained = resolve))
      await disk.close()
    } finally {
      await unlock?.()
    }
  }

  return {
    async claim(workspace) {
      await named("open", () => inTurn(() => take(workspace)))
      let released: Promise<void> | undefined
      return () => (released ??= named("close", () => inTurn(() => letGo(workspace))))
    },
    async run(what, operation) {
      if (!open) throw new HeadwaterError("CLOSED", `${what} on a store that nothing has claimed`)
      running++
      try {
        return await named(what, operation)
      } finally {
        if (--running === 0) drained()
      }
    },
  }
}

/** Lets asynchronous steps begin one after the other, in the order in which they were handed in, whatever becomes of them. */
export function queue(): <T>(step: () => Promise<T>) => Promise<T> {
  let tail: Promise<unknown> = Promise.resolve()
  return (step) => {
    const mine = tail.then(step)
    tail = mine.catch(() => {})
    return mine
  }
}

export const inUse = (message: string, cause?: unknown) => new HeadwaterError("STORE_IN_USE", message, { cause })

async function named<T>(what: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation()
  } catch (cause) {
    if (cause instanceof HeadwaterError) throw cause
    const reason = cause instanceof Error ? `: ${cause.message}` : ""
    throw new HeadwaterError("STORE_FAILED", `the store could not ${what}${reason}`, { cause })
  }
}
