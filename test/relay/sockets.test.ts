/** The frames that the relay writes without the WebSocket library, on sockets that the test makes itself. */
import { EventEmitter } from "node:events"
import { PassThrough } from "node:stream"
import { expect, it } from "vitest"
import type { WebSocket } from "ws"
import { nodeClock } from "../../relay/machine/clock.node.ts"
import { Framing } from "../../relay/serve/sockets/framing.ts"
import { Sockets } from "../../relay/serve/sockets/sockets.ts"
import { encode } from "../../src/wire/protocol.ts"
import { Served } from "../support/served.ts"

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3]

/** The part of the library's WebSocket that the relay uses. */
class Peer extends EventEmitter {
  readonly OPEN = OPEN
  readyState = OPEN
  readonly bufferedAmount = 0
  pause(): void {}
  resume(): void {}
  close(): void {}
  terminate(): void {}
}

it.each([
  ["writes a small frame to a socket that is open", OPEN, 1],
  ["writes nothing after a close frame", CLOSING, 0],
  ["writes nothing to a socket that has closed", CLOSED, 0],
  ["writes nothing to a socket that is not open yet", CONNECTING, 0],
])("the relay %s", async (_, readyState, frames) => {
  const served = await Served.open()
  const { workspaces } = served
  const sockets = new Sockets({ workspaces, clock: nodeClock, report() {} })
  const peer = new Peer()
  const wire = new PassThrough()
  sockets.add(peer as unknown as WebSocket, wire)
  peer.readyState = readyState
  peer.emit("message", Buffer.from(encode({ t: "ping" })), true)
  await new Promise((resolve) => setImmediate(resolve))
  const pong = new Framing().of(encode({ t: "pong" }))
  expect(wire.read()).toEqual(frames === 1 ? pong : null)
  peer.emit("close")
})
