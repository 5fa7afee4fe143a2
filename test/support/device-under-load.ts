/**
 * A device in a process of its own, started as `device-under-load <folder> [name [relay url]]`. With a name it writes
 * until it is killed, and prints each write when it is saved. Without one it only opens its workspace, and prints so.
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
