import type { HeadwaterError, Status } from "headwater"
import type { Editor } from "./editor.ts"
import { report } from "./report.ts"

/** ms between two checks of the disk while something is not saved. */
const RETRY_MS = 5_000

interface Watched {
  readonly status: Status
  onStatus(f: (status: Status) => void): () => void
}

/**
 * Retries failed saves when the disk works again, without a click. If the browser has deleted the database `name`,
 * saving never works again on this page: then the page asks the person to reload it.
 */
export function watchDisk(workspace: Watched, editor: Editor, name: string): void {
  let failing: HeadwaterError | null = null
  let isOver = false
  /** Whether the browser has ever listed the database. */
  let wasListed = false

  async function look(): Promise<void> {
    if (isOver) return
    const isThere = await isListed(name)
    wasListed ||= isThere === true
    const isDeleted = saysDeleted(failing) || (wasListed && isThere === false)
    if (!isDeleted) return editor.retry()
    if (!isOver) report(DELETED, WHAT_TO_DO)
    isOver = true
  }

  workspace.onStatus(({ error }) => {
    const now = error?.code.startsWith("STORE_") ? error : null
    if (now === failing) return
    failing = now
    void look()
  })
  setInterval(look, RETRY_MS)
  void look()
}

const DELETED = "The browser has deleted the notes on this device"
const WHAT_TO_DO = [
  "Reload this page: it then works again, and fetches every note that is stored at the relay.",
  "Text that was not saved is still in the editor. Copy it before you reload.",
]

function saysDeleted(error: HeadwaterError | null): boolean {
  return error?.cause instanceof Error && error.cause.message.includes("has deleted the database")
}

/**
 * Whether the browser lists a database of this name. Undefined when it does not say, because a failing disk makes the
 * call fail, or because the browser has no such list.
 */
async function isListed(name: string): Promise<boolean | undefined> {
  try {
    return (await indexedDB.databases?.())?.some((database) => database.name === name)
  } catch {
    return undefined
  }
}
