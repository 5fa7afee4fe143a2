/** `y-websocket.mjs <folder>` starts the unchanged server of @y/websocket-server, with its LevelDB persistence. */
import { once } from "node:events"
import { createServer } from "node:http"

const probe = createServer().listen(0, "127.0.0.1")
await once(probe, "listening")
const { port } = probe.address()
probe.close()
await once(probe, "close")
Object.assign(process.env, { HOST: "127.0.0.1", PORT: String(port), YPERSISTENCE: process.argv[2] })
/** Resolves when the server prints its first line, which is not JSON. */
const ready = new Promise((resolve) => {
  console.info = () => {}
  const { log } = console
  console.log = (...line) => {
    console.log = log
    resolve(line)
  }
})
process.on("SIGTERM", () => process.exit(0))
// The package does not export its server, because the server is meant to be started from node_modules/.bin.
await import("../node_modules/@y/websocket-server/src/server.js")
await ready
console.log(JSON.stringify({ url: `ws://127.0.0.1:${port}`, port }))
