import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { bindText } from "headwater/textarea"

// A page with one textarea, bound to the note that textarea.test.ts names. Each page is a device of its own.
const notes = collection("notes", shape<{ body?: string }>(), { fields: { body: text() } })
const relay = { url: new URLSearchParams(location.search).get("relay") ?? "" }
const ws = await openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), relay })
const element = document.createElement("textarea")
Object.assign(element.style, { width: "500px", height: "200px" })
document.body.append(element)
let stop = () => {}

Object.assign(window, {
  ws,
  async bind(id: string): Promise<void> {
    stop()
    await ws.whenSynced()
    const body = (await ws.notes.open(id)).text("body")
    stop = bindText(element, body)
    Object.assign(window, { body })
    element.focus()
  },
})
