/** `bare-server <mode> <folder>` starts a server that consists only of ws, to compare the relay with. */
import { open } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import path from "node:path"
import { type WebSocket, WebSocketServer } from "ws"

const [mode, folder] = process.argv.slice(2)
const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false })
server.on("listening", () => {
  const { port } = server.address() as AddressInfo
  console.log(JSON.stringify({ url: `ws://127.0.0.1:${port}`, port }))
})

const broadcast = (from: WebSocket, frame: Buffer) => {
  for (const client of server.clients) if (client !== from) client.send(frame)
}
const file = mode === "durable" ? await open(path.join(folder ?? ".", "bare.log"), "a") : undefined
let waiting: (readonly [WebSocket, Buffer])[] = []
let flushing = false

/** Frames that arrive during one fdatasync share the next fdatasync. */
async function append(from: WebSocket, frame: Buffer): Promise<void> {
  waiting.push([from, frame])
  if (flushing) return
  flushing = true
  while (waiting.length > 0) {
    const group = waiting
    waiting = []
    await file?.write(Buffer.concat(group.map(([, bytes]) => bytes)))
    await file?.datasync()
    for (const one of group) broadcast(...one)
  }
  flushing = false
}

server.on("connection", (socket) => {
  socket.on("message", (frame: Buffer) => {
    if (mode === "echo") socket.send(frame)
    else if (mode === "broadcast") broadcast(socket, frame)
    else void append(socket, frame)
  })
})
