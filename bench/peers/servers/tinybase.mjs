/** `tinybase.mjs <folder>` starts TinyBase's WebSocket server, with a file persister for each path. */
import { once } from "node:events"
import path from "node:path"
import { createMergeableStore } from "tinybase"
import { createFilePersister } from "tinybase/persisters/persister-file"
import { createWsServer } from "tinybase/synchronizers/synchronizer-ws-server"
import { WebSocketServer } from "ws"

const sockets = new WebSocketServer({ port: 0, host: "127.0.0.1" })
await once(sockets, "listening")
createWsServer(sockets, (name) =>
  createFilePersister(createMergeableStore(), path.join(process.argv[2], `${name}.json`)),
)
process.on("SIGTERM", () => process.exit(0))
const { port } = sockets.address()
console.log(JSON.stringify({ url: `ws://127.0.0.1:${port}`, port }))
