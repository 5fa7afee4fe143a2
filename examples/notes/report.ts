import { child, element } from "./dom.ts"

/** Opens a dialog that must be closed by hand: a heading, and below it a list of `lines`. */
export function report(heading: string, lines: readonly string[]): void {
  const dialog = element("report", HTMLDialogElement)
  child(dialog, "h2").textContent = heading
  const items = lines.map((line) => {
    const li = document.createElement("li")
    li.textContent = line
    return li
  })
  child(dialog, "ul").replaceChildren(...items)
  dialog.onclose = refocus
  // The close event comes some time after the dialog has closed, and a key pressed in between would be lost.
  child<HTMLButtonElement>(dialog, "button").onclick = (event) => {
    event.preventDefault()
    dialog.onclose = null
    dialog.close()
    refocus()
  }
  if (!dialog.open) dialog.showModal()
}

/**
 * Focuses the focused textarea again. The browser has given the focus back to it, but Chromium types nothing into a
 * textarea whose text changed while the dialog was open.
 */
function refocus(): void {
  const at = document.activeElement
  if (!(at instanceof HTMLTextAreaElement)) return
  at.blur()
  at.focus()
}
