/**
 * `automerge-repo.mjs <folder>` starts a server with the settings of automerge-repo-sync-server. The published version
 * of that server still uses automerge-repo 1.
 */
import { once } from "node:events"
import { Repo } from "@automerge/automerge-repo"
import { WebSocketServerAdapter } from "@automerge/automerge-repo-network-websocket"
import { NodeFSStorageAdapter } from "@automerge/automerge-repo-storage-nodefs"
import { WebSocketServer } from "ws"

const sockets = new WebSocketServer({ port: 0, host: "127.0.0.1" })
await once(sockets, "listening")
const repo = new Repo({
  network: [new WebSocketServerAdapter(sockets)],
  storage: new NodeFSStorageAdapter(process.argv[2]),
  peerId: "storage-server-bench",
  sharePolicy: async () => false,
})
process.on("SIGTERM", () => void repo.flush().finally(() => process.exit(0)))
const { port } = sockets.address()
console.log(JSON.stringify({ url: `ws://127.0.0.1:${port}`, port }))
