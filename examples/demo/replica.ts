import { readdir, readFile } from "node:fs/promises"
import path from "node:path"
import { openWorkspace } from "headwater"
import { nodeStore } from "headwater/node"
import { headsOf } from "headwater/testing"
import { importNotes } from "../notes/import.ts"
import { notes as definition } from "../notes/notes.ts"
import type { Answer, Calls, Question } from "./calls.ts"

// One device: a process with its own store. It learns of the other device through the relay only.
const [, , folder = "", url = ""] = process.argv
const workspace = await openWorkspace({
  id: "demo",
  collections: { notes: definition },
  store: nodeStore(folder),
  relay: { url },
})
const { notes } = workspace

const calls: Calls = {
  async importFolder(from) {
    const names = await readdir(from, { recursive: true })
    const files = names
      .filter((name) => /\.(md|markdown)$/i.test(name))
      .map((name) => ({ path: name.split(path.sep).join("/"), bytes: () => readFile(path.join(from, name)) }))
    const { created, updated, problems } = await importNotes(notes, files)
    return { created: created + updated, problems: problems.map(({ path, why }) => `${path}: ${why}`) }
  },
  pick() {
    const withParagraph = notes.all().find(({ body }) => body !== undefined && paragraphOf(body) !== undefined)
    return (withParagraph ?? notes.all()[0])?.id
  },
  async edit(id, title, insert, where) {
    await notes.update(id, (draft, edit) => {
      const { from, to } = paragraphOf(draft.body) ?? { from: 0, to: draft.body.length }
      edit.splice("body", where === "start" ? from : to, 0, insert)
      draft.title = title
    })
  },
  async settled() {
    await workspace.whenStored()
    await workspace.whenSynced()
  },
  pending: () => workspace.status.pending,
  connected: () => workspace.status.connected,
  async paragraph(id) {
    const { title = "", body = "" } = (await notes.read(id)) ?? {}
    const { from, to } = paragraphOf(body) ?? { from: 0, to: body.length }
    return { title, paragraph: body.slice(from, to) }
  },
  heads: () => headsOf(workspace),
  async state() {
    const rows = await Promise.all(notes.all().map((row) => notes.read(row.id)))
    return {
      rows: rows.map(({ $sync, $pending, $dirtyFields, ...row }: any) => row),
      heads: await headsOf(workspace),
      pending: workspace.status.pending,
    }
  },
  async close() {
    await workspace.close()
    process.disconnect()
  },
}

/** Finds the first paragraph that begins with a letter and whose first line has more than 60 characters. */
function paragraphOf(body: string): { from: number; to: number } | undefined {
  const found = /^[A-Za-z][^\n]{60,}(?:\n[^\n]+)*$/m.exec(body)
  return found === null ? undefined : { from: found.index, to: found.index + found[0].length }
}

process.on("message", async ({ call, args }: Question) => {
  const answer = await Promise.resolve()
    .then(() => (calls[call] as (...args: readonly unknown[]) => unknown)(...args))
    .then((result): Answer => ({ result }))
    .catch((error: Error): Answer => ({ failed: error.stack ?? error.message }))
  if (process.connected) process.send?.(answer)
})
process.on("disconnect", () => process.exit(0))
// Tells the demo when a note was saved, stored or received. These are the moments at which a row changes; a failed
// reconnect changes no row.
notes.subscribe(() => process.connected && process.send?.("moved"))
const open: Answer = { result: undefined }
process.send?.(open)
