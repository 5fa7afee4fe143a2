/**
 * `bare-server <folder> <flush ms>` starts a server that consists only of ws, to compare the relay with. It appends
 * each frame to a file. After an fdatasync it acknowledges the frame, and sends it to all sockets that asked for the
 * path `/follow`. `flush ms`: how much longer each fdatasync takes, as on a slow disk.
 *
 * With a third argument, `decode`, the server also does what every relay of this protocol must do: it decodes each
 * frame, which makes its changes and hashes them, and appends each entry with its principal and with a hash of its
 * bytes. It refuses no change, has no index, and never reads what it has appended.
 */
import { hash } from "node:crypto"
import { open } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { type WebSocket, WebSocketServer } from "ws"
import { decodeClient, encodeEntry } from "../src/wire/protocol.ts"

const [folder = ".", flushMs = "0", decode] = process.argv.slice(2)
/** About as many bytes as an ack of the relay has. */
const ACK = Buffer.alloc(48)

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false })
server.on("listening", () => {
  const { port } = server.address() as AddressInfo
  console.log(JSON.stringify({ url: `ws://127.0.0.1:${port}`, port }))
})

const followers = new Set<WebSocket>()
const file = await open(path.join(folder, "bare.log"), "a")
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
    await file.write(Buffer.concat(group.flatMap(([, bytes]) => (decode ? recordsOf(bytes) : bytes))))
    await file.datasync()
    if (flushMs !== "0") await sleep(Number(flushMs))
    for (const [writer, bytes] of group) {
      writer.send(ACK)
      for (const follower of followers) follower.send(bytes)
    }
  }
  flushing = false
}

/** Returns the bytes to append for a push: for each entry a hash, and then the entry. */
function recordsOf(frame: Buffer): Uint8Array[] {
  const push = decodeClient(frame)
  if (push?.t !== "push") return []
  return push.entries.flatMap((entry) => {
    const bytes = encodeEntry({ ...entry, by: "local" })
    return [hash("sha256", bytes, "buffer"), bytes]
  })
}

server.on("connection", (socket, { url }) => {
  if (url === "/follow") followers.add(socket)
  socket.on("close", () => followers.delete(socket))
  socket.on("message", (frame: Buffer) => void append(socket, frame))
})
