/** A client on a WebSocket, for tests of the relay and for benches. */
import { WebSocket } from "ws"
import { SUBPROTOCOL } from "../../src/wire/protocol.ts"
import { Client } from "./client.ts"

export class Wire extends Client {
  readonly socket: WebSocket

  private constructor(socket: WebSocket) {
    super()
    this.socket = socket
    socket.on("message", (frame: Buffer) => this.arrived(frame))
    socket.on("close", (code, reason) => this.hasClosed(code, reason.toString()))
    socket.on("error", () => {})
  }

  /** Connects. Rejects when the relay refuses the upgrade. */
  static async dial(url: string, options: { protocols?: string[]; origin?: string } = {}): Promise<Wire> {
    const { protocols = [SUBPROTOCOL], origin } = options
    const socket = new WebSocket(url, protocols, { perMessageDeflate: false, ...(origin !== undefined && { origin }) })
    const wire = new Wire(socket)
    await new Promise<void>((resolve, reject) => {
      socket.once("open", resolve)
      socket.once("error", reject)
    })
    return wire
  }

  close(): void {
    this.socket.terminate()
  }

  protected sendFrame(frame: Uint8Array): void {
    this.socket.send(frame)
  }
}
