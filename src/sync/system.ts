/** The machine that an app runs on: its clock, its network, and the news that the network or the page is back. */
import { WebSocket } from "#websocket"
import { type Env, type Socket, systemClock } from "../base/env.ts"

export const systemEnv: Env = {
  ...systemClock,
  dial,
  onWake(f) {
    const seen = () => globalThis.document.visibilityState === "visible" && f()
    globalThis.window?.addEventListener("online", f)
    globalThis.window?.addEventListener("pageshow", f)
    globalThis.document?.addEventListener("visibilitychange", seen)
    return () => {
      globalThis.window?.removeEventListener("online", f)
      globalThis.window?.removeEventListener("pageshow", f)
      globalThis.document?.removeEventListener("visibilitychange", seen)
    }
  },
}

function dial(url: string, protocols: readonly string[]): Socket {
  const socket: Socket = {
    onopen: null,
    onmessage: null,
    onclose: null,
    bufferedAmount: 0,
    send: () => {},
    close: () => {},
  }
  let closed = false
  const close = (code: number, reason: string) => {
    if (closed) return
    closed = true
    socket.onclose?.(code, reason)
  }
  try {
    const ws = new WebSocket(url, [...protocols])
    ws.binaryType = "arraybuffer"
    ws.onopen = () => socket.onopen?.()
    ws.onmessage = ({ data }) => {
      if (typeof data !== "string") return socket.onmessage?.(new Uint8Array(data as ArrayBuffer))
      ws.close(1000)
      close(1003, "it sends text, which no Headwater relay does")
    }
    let cause = ""
    ws.onerror = (event) => {
      cause = causeOf(event) // a close follows
    }
    ws.onclose = ({ code, reason }) => close(code, reason || cause)
    socket.send = (frame) => {
      if (ws.readyState === WebSocket.OPEN) ws.send(frame as Uint8Array<ArrayBuffer>)
    }
    socket.close = (code, reason) => ws.close(code, reason)
    Object.defineProperty(socket, "bufferedAmount", { get: () => ws.bufferedAmount })
  } catch (error) {
    queueMicrotask(() => close(1006, String(error))) // a URL that cannot be dialled
  }
  return socket
}

/** Why a dial failed, as Node knows it; "" in a browser, which does not tell pages. */
function causeOf(event: object): string {
  const { error } = event as { readonly error?: unknown }
  if (!(error instanceof Error)) return ""
  // Of a name with several addresses: one error for each.
  const errors = "errors" in error ? (error.errors as Error[]) : [error]
  const [, status] = /^Unexpected server response: (\d+)$/.exec(error.message) ?? []
  if (status === undefined && !/subprotocol/.test(error.message)) return errors.map(({ message }) => message).join(", ")
  const answer = status === undefined ? error.message : `it answers the dial with HTTP ${status}`
  return `${answer}: it is no Headwater relay, or something in front of one refuses`
}
