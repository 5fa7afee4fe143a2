/** An app under StrictMode with one note in a controlled textarea. `?relay=` is the URL of its relay. */
import { collection, shape, text } from "headwater"
import { indexedDBStore } from "headwater/indexeddb"
import { useEntity, useHandle, useRows, useStatus, useText, useWorkspace } from "headwater/react"
import { createElement as h, StrictMode, useState } from "react"
import { createRoot } from "react-dom/client"

const notes = collection("notes", shape<{ title?: string; body?: string }>(), { fields: { body: text() } })
const relay = { url: new URLSearchParams(location.search).get("relay") as string }
const options = { id: "w", collections: { notes }, store: indexedDBStore("w"), relay }
type Notes = NonNullable<ReturnType<typeof useWorkspace<{ notes: typeof notes }>>>

function App() {
  const ws = useWorkspace(options)
  return ws && h(List, { ws })
}

function List({ ws }: { ws: Notes }) {
  const { phase, pending } = useStatus(ws)
  const rows = useRows(ws.notes)
  const [isOpen, setOpen] = useState(true)
  return [
    h("button", {
      key: 1,
      type: "button",
      id: "new",
      onClick: () => void ws.notes.create({ body: "one two\n\nthree four" }, { id: "a" }),
    }),
    h("button", { key: 2, type: "button", id: "toggle", onClick: () => setOpen(!isOpen) }),
    h("p", { key: 3, id: "status" }, `${phase} ${pending}`),
    isOpen && rows.map(({ id }) => h(Note, { key: id, ws, id })),
  ]
}

function Note({ ws, id }: { ws: Notes; id: string }) {
  const handle = useHandle(ws.notes, id)
  const { ref, ...props } = useText(handle?.text("body"))
  return [
    handle && h("textarea", { key: 1, ref, ...props }),
    h("pre", { key: 2, id: "value" }, props.value),
    h("pre", { key: 3, id: "row" }, useEntity(ws.notes, id)?.body),
  ]
}

createRoot(document.getElementById("root") as HTMLElement).render(h(StrictMode, null, h(App)))
