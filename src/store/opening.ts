import { HeadwaterError } from "../base/errors.ts"

/** How one kind of store is opened and closed. */
export interface Disk {
  open(): Promise<void>
  /** Called when no operation runs any more. */
  close(): Promise<void>
  /**
   * Locks one workspace against other processes or tabs. Absent when `open` locks all workspaces of the store at once.
   * Resolves with the function that unlocks the workspace.
   */
  lock?(workspace: string): Promise<() => Promise<void>>
}

/** The part that all kinds of stores share: the claims, the count of running operations, and the codes of failures. */
export interface Opening {
  claim(workspace: string): Promise<() => Promise<void>>
  /**
   * Calls `operation` at once. The last release, which closes the store, waits until the operation has ended. An error
   * of the operation that is no `HeadwaterError` becomes `STORE_FAILED`; its message says that the store could not
   * `what`.
   */
  run<T>(what: string, operation: () => Promise<T>): Promise<T>
}

export function opening(disk: Disk): Opening {
  const unlocks = new Map<string, () => Promise<void>>()
  const inTurn = queue()
  let open = false
  /** The number of operations that have begun and not ended. */
  let running = 0
  /** Called when no operation is running any more. */
  let drained = (): void => {}

  async function claimNow(workspace: string): Promise<void> {
    if (unlocks.has(workspace))
      throw inUse(`workspace ${workspace} is open on this store already: close it there first`)
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

  async function releaseNow(workspace: string): Promise<void> {
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
      await named("open", () => inTurn(() => claimNow(workspace)))
      let released: Promise<void> | undefined
      return () => (released ??= named("close", () => inTurn(() => releaseNow(workspace))))
    },
    async run(what, operation) {
      if (!open)
        throw new HeadwaterError("CLOSED", `the store cannot ${what} while no workspace is claimed: call claim first`)
      running++
      try {
        return await named(what, operation)
      } finally {
        if (--running === 0) drained()
      }
    },
  }
}

/**
 * Returns a function that runs asynchronous steps one after the other, in the order of its calls. A step that fails
 * does not stop the others.
 */
export function queue(): <T>(step: () => Promise<T>) => Promise<T> {
  let tail: Promise<unknown> = Promise.resolve()
  return (step) => {
    const mine = tail.then(step)
    tail = mine.catch(() => {})
    return mine
  }
}

export const inUse = (message: string, cause?: unknown) => new HeadwaterError("STORE_IN_USE", message, { cause })

/**
 * Finds the disk's own error message. A database wraps the disk's error in an error that says only that the database
 * failed. `thrown` may be an error of another realm, or no error at all.
 */
function reasonOf(thrown: unknown): string {
  if (typeof thrown !== "object" || thrown === null) return String(thrown ?? "")
  const { cause, message, name } = thrown as Partial<Error>
  const words = cause ? reasonOf(cause) : ""
  return words || String(message || name || "")
}

async function named<T>(what: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation()
  } catch (cause) {
    if (cause instanceof HeadwaterError) throw cause
    const reason = reasonOf(cause)
    throw new HeadwaterError("STORE_FAILED", `the store could not ${what}${reason && `: ${reason}`}`, { cause })
  }
}
