import { child, element } from "./dom.ts"

/** Says something that has to be read: a heading, and a line for each thing that it is about. */
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
