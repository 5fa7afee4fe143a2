/** The `Env` of a real machine: its clock, its network, and its events when the network or the page is back. */
import { causeOf, WebSocket } from "#websocket"
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
    stopListening()
    socket.onclose?.(code, reason)
  }
  // If the page's policy forbids a dial, a browser reports that at once. It ends the dial itself much later or never.
  const stopListening = onForbidden(url, () => {
    close(1006, "the page's Content-Security-Policy forbids it (connect-src)")
  })
  try {
    const ws = new WebSocket(url, [...protocols])
    ws.binaryType = "arraybuffer"
    ws.onopen = () => {
      stopListening()
      socket.onopen?.()
    }
    ws.onmessage = ({ data }) => {
      if (typeof data !== "string") return socket.onmessage?.(new Uint8Array(data as ArrayBuffer))
      ws.close(1000)
      close(1003, "it sends text, which no Headwater relay does")
    }
    let cause = ""
    ws.onerror = (event) => {
      cause = causeOf(event) // the close event follows, and reports the cause
    }
    ws.onclose = ({ code, reason }) => close(code, reason || cause)
    socket.send = (frame) => {
      if (ws.readyState === WebSocket.OPEN) ws.send(frame as Uint8Array<ArrayBuffer>)
    }
    socket.close = (code, reason) => {
      stopListening()
      ws.close(code, reason)
    }
    Object.defineProperty(socket, "bufferedAmount", { get: () => ws.bufferedAmount })
  } catch (error) {
    queueMicrotask(() => close(1006, String(error))) // a URL that cannot be dialled
  }
  return socket
}

/** Calls `f` when the page's policy forbids a connection to this URL. Returns the function that ends the listening. */
function onForbidden(url: string, f: () => void): () => void {
  const hear = (event: Event) => {
    const { effectiveDirective, blockedURI, disposition } = event as SecurityPolicyViolationEvent
    if (disposition === "report") return // this policy only reports, and the browser dials all the same
    // For a URL with another scheme than HTTP's, such as ws:, some browsers name only the scheme.
    if (effectiveDirective === "connect-src" && new URL(url).href.startsWith(blockedURI)) f()
  }
  globalThis.addEventListener?.("securitypolicyviolation", hear)
  return () => globalThis.removeEventListener?.("securitypolicyviolation", hear)
}
