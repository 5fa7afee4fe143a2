/**
 * A device in a process of its own, started as `device-under-load <folder> [name [relay url]]`. It prints each write
 * once that is saved.
 */
import { writeSync } from "node:fs"
import { nodeStore } from "headwater/node"
import { openNotes, Writer } from "./load.ts"

const [folder, name, url] = process.argv.slice(2)
if (folder === undefined) throw new Error("device-under-load <folder> [name [relay url]]")
const ws = await openNotes(nodeStore(folder), url)
if (name !== undefined) {
  new Writer(ws, name, (written) => writeSync(1, `${JSON.stringify(written)}\n`), { pause: 0 })
} else {
  console.log("opened")
  process.stdin.resume()
}
