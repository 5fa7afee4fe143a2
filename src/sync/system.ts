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
    ws.onmessage = ({ data }) => typeof data !== "string" && socket.onmessage?.(new Uint8Array(data as ArrayBuffer))
    ws.onerror = () => {} // a close follows, and tells as much
    ws.onclose = ({ code, reason }) => close(code, reason)
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
