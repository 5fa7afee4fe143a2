/** The functions that open-in-browser.ts calls in the page. */
import { indexedDBStore } from "headwater/indexeddb"
import { fill, openNotes } from "./notes.ts"

const open = () => openNotes(indexedDBStore("bench"))

Object.assign(globalThis, {
  /** Creates `count` notes. Returns their rows as JSON, for the file that `json` reads. */
  async seed(count: number) {
    const ws = await open()
    await fill(ws, count)
    const rows = JSON.stringify(ws.notes.all())
    await ws.close()
    return rows
  },
  async ours() {
    const begun = performance.now()
    const ws = await open()
    const titles = ws.notes.all().map((note) => note.title)
    return { ms: performance.now() - begun, titles: titles.length }
  },
  async json() {
    const begun = performance.now()
    const rows = JSON.parse(await (await fetch("/rows.json")).text()) as { title: string }[]
    const titles = rows.map((row) => row.title)
    return { ms: performance.now() - begun, titles: titles.length }
  },
})
