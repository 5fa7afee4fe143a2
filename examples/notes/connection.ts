import type { Status } from "headwater"
import { element } from "./dom.ts"

/** The part of the workspace that this module uses. */
interface Connected {
  readonly status: Status
  onStatus(f: (status: Status) => void): () => void
  connect(): void
  disconnect(): void
}

export interface Connection {
  toggle(): void
  /** Shows a message in place of the status; undefined shows the status again. */
  busy(message: string | undefined): void
  /** Call it when the number of unsent notes has changed: it shows the status again. */
  refresh(): void
  /** Call it with true while something typed is not on the disk yet. */
  unsaved(is: boolean): void
}

/**
 * Shows the button that switches between online and offline and tells how far the notes are synced. `unsent` takes the
 * number of unsent changes and returns the number of notes that they belong to.
 */
export function showConnection(workspace: Connected, unsent: (changes: number) => number | undefined): Connection {
  const button = element("connection", HTMLButtonElement)
  const text = element("status", HTMLElement)
  const announced = element("announced", HTMLElement)
  let message: string | undefined
  let isUnsaved = false
  let said: string | undefined
  let isWanted = true

  function show(): void {
    const { status } = workspace
    button.dataset["phase"] = status.phase
    text.textContent = message ?? describe(status, isUnsaved, unsent(status.pending))
    // a screen reader announces the words, and not each new percentage or count
    const news = message === undefined ? phrase(status) : message.replace(/ \d.*/, "")
    if (news !== said) announced.textContent = said = news
  }

  workspace.onStatus(show)
  show()
  function toggle(): void {
    isWanted = !isWanted
    button.setAttribute("aria-pressed", String(isWanted))
    if (isWanted) workspace.connect()
    else workspace.disconnect()
  }
  button.addEventListener("click", toggle)
  return {
    toggle,
    refresh: show,
    busy(next) {
      message = next
      show()
    },
    unsaved(is) {
      isUnsaved = is
      show()
    },
  }
}

/**
 * Puts the status into words. `unsent`: the number of notes with changes that the relay does not have, undefined when
 * it is not known. The status is "all stored" only once everything that the relay has is also shown here.
 */
export function describe(status: Status, isUnsaved: boolean, unsent: number | undefined): string {
  const { phase, pending, progress } = status
  if (isUnsaved) return `${phrase(status)} · not saved yet`
  if (pending === 0 && phase === "live" && progress === null) return "Online · all stored"
  const parts = [phrase(status)]
  if (phase === "syncing" && progress !== null && progress.done < progress.total) parts[0] += percent(progress)
  else if (progress !== null && progress.toShow > 0) parts.push(`${counted(progress.toShow)} to show`)
  if (pending > 0) parts.push(`${unsent === undefined ? "changes" : counted(unsent)} to send`)
  return parts.join(" · ")
}

const counted = (notes: number) => `${notes} note${notes === 1 ? "" : "s"}`

function phrase({ phase, error, progress }: Status): string {
  if (phase === "live") return progress === null ? "Online" : "Syncing"
  if (phase === "syncing") return "Syncing"
  if (phase === "connecting") return "Connecting…"
  if (phase === "error") return error?.message ?? "Error"
  return "Offline"
}

const percent = ({ done, total }: { done: number; total: number }) => ` ${Math.floor((100 * done) / total)} %`
