/**
 * `bare-server <folder> <flush ms>` starts a server that consists only of ws, to compare the relay with. It appends
 * each frame to a file, and after an fdatasync acknowledges the frame and sends it to the sockets that follow (those
 * that asked for the path `/follow`). `flush ms`: how much longer each fdatasync takes, as on a slow disk.
 *
 * With a third argument, `decode`, the server also does what no relay of this protocol can leave out: it decodes each
 * frame, which makes its changes and hashes them, and appends each entry with its principal and with a hash of its
 * bytes. It admits everything, indexes nothing and serves nothing that it has appended.
 */
import { hash } from "node:crypto"
import { open } from "node:fs/promises"
import type { AddressInfo } from "node:net"
import path from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { type WebSocket, WebSocketServer } from "ws"
import { decodeClient, encodeEntry } from "../src/wire/protocol.ts"

const [folder = ".", flushMs = "0", decode] = process.argv.slice(2)
/** An ack of the relay has about as many bytes. */
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

/** Returns the entries of a push as they are appended, each with a hash before it. */
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
