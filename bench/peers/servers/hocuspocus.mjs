/** `hocuspocus.mjs <folder>` starts Hocuspocus with its SQLite extension. On SIGTERM it stores what it has. */
import path from "node:path"
import { SQLite } from "@hocuspocus/extension-sqlite"
import { Server } from "@hocuspocus/server"

const server = new Server({
  port: 0,
  address: "127.0.0.1",
  quiet: true,
  extensions: [new SQLite({ database: path.join(process.argv[2], "db.sqlite") })],
})
await server.listen()
console.log(JSON.stringify({ url: server.webSocketURL, port: server.address.port }))
