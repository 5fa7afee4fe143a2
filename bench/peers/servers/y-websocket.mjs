/** `y-websocket.mjs <folder>` starts the server of @y/websocket-server as it is, with its LevelDB persistence. */
import { once } from "node:events"
import { createServer } from "node:http"

const probe = createServer().listen(0, "127.0.0.1")
await once(probe, "listening")
const { port } = probe.address()
probe.close()
await once(probe, "close")
Object.assign(process.env, { HOST: "127.0.0.1", PORT: String(port), YPERSISTENCE: process.argv[2] })
/** The server prints a sentence where the others print JSON. */
const ready = new Promise((resolve) => {
  console.info = () => {}
  const { log } = console
  console.log = (...line) => {
    console.log = log
    resolve(line)
  }
})
process.on("SIGTERM", () => process.exit(0))
// The package exports no path for its server, which is meant to be run by its name in node_modules/.bin.
await import("../node_modules/@y/websocket-server/src/server.js")
await ready
console.log(JSON.stringify({ url: `ws://127.0.0.1:${port}`, port }))
