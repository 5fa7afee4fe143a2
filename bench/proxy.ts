/**
 * A TCP proxy that counts WebSocket messages and the bytes of their frames (RFC 6455 section 5.2). The bytes of the
 * upgrade do not count.
 */
import { once } from "node:events"
import net from "node:net"

export interface Traffic {
  messages: number
  /** Frame headers included. */
  bytes: number
}

export interface Proxy {
  readonly url: string
  readonly up: Traffic
  readonly down: Traffic
  /** Sets all counts to zero. */
  reset(): void
  close(): void
}

export async function countingProxy(port: number): Promise<Proxy> {
  const up = { messages: 0, bytes: 0 }
  const down = { messages: 0, bytes: 0 }
  const sockets = new Set<net.Socket>()
  const server = net.createServer((client) => {
    const relay = net.connect(port, "127.0.0.1")
    const connect = (from: net.Socket, to: net.Socket, traffic: Traffic) => {
      const count = frameCounter(traffic)
      sockets.add(from)
      from.setNoDelay(true)
      from.on("data", (bytes) => {
        count(bytes)
        to.write(bytes)
      })
      from.on("close", () => {
        sockets.delete(from)
        to.destroy()
      })
      from.on("error", () => {})
    }
    connect(client, relay, up)
    connect(relay, client, down)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    url: `ws://127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    up,
    down,
    reset() {
      for (const traffic of [up, down]) Object.assign(traffic, { messages: 0, bytes: 0 })
    },
    close() {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  }
}

/**
 * Returns a function that takes the bytes of one direction, piece by piece: the HTTP head, and then frames. It does not
 * count control frames (close, ping).
 */
function frameCounter(traffic: Traffic): (bytes: Buffer) => void {
  let rest = Buffer.alloc(0)
  let upgraded = false
  return (bytes) => {
    rest = Buffer.concat([rest, bytes])
    if (!upgraded) {
      const end = rest.indexOf("\r\n\r\n")
      if (end < 0) return
      upgraded = true
      rest = rest.subarray(end + 4)
    }
    for (;;) {
      const size = frameSize(rest)
      if (size === undefined || size > rest.length) return
      const isData = (rest[0]! & 0x08) === 0
      if (isData) {
        traffic.bytes += size
        if (rest[0]! & 0x80) traffic.messages++
      }
      rest = rest.subarray(size)
    }
  }
}

function frameSize(bytes: Buffer): number | undefined {
  if (bytes.length < 2) return undefined
  const mask = bytes[1]! & 0x80 ? 4 : 0
  const short = bytes[1]! & 0x7f
  if (short < 126) return 2 + mask + short
  if (short === 126) return bytes.length < 4 ? undefined : 4 + mask + bytes.readUInt16BE(2)
  return bytes.length < 10 ? undefined : 10 + mask + Number(bytes.readBigUInt64BE(2))
}
