/**
 * Does one cold start: `open-once ours <folder>` or `open-once json <file>`. Prints the ms until it has a list of
 * titles, and the number of titles.
 */
import { readFileSync } from "node:fs"
import { nodeStore } from "headwater/node"
import { openNotes } from "./notes.ts"

const [what, where = ""] = process.argv.slice(2)
const begun = performance.now()
const titles =
  what === "ours" ? await ours() : (JSON.parse(readFileSync(where, "utf8")) as { title: string }[]).map(title)
console.log(JSON.stringify({ ms: performance.now() - begun, titles: titles.length }))
process.exit(0)

async function ours(): Promise<string[]> {
  const ws = await openNotes(nodeStore(where))
  return ws.notes.all().map(title)
}

function title(row: { readonly title: string }): string {
  return row.title
}
