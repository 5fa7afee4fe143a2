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
  if (!dialog.open) dialog.showModal()
}
