/** y-websocket with all notes in one Y.Doc. */
import { setTimeout as sleep } from "node:timers/promises"
import WebSocket from "ws"
import { WebsocketProvider } from "y-websocket"
import { openYjs } from "./yjs.mjs"

export const open = (options) => openYjs(options, connect)

function connect(doc, url) {
  const provider = new WebsocketProvider(url, "notes", doc, {
    WebSocketPolyfill: WebSocket,
    // Otherwise providers in one process exchange updates without the server, which devices cannot do.
    disableBc: true,
  })
  return {
    synced: () => (provider.synced ? undefined : new Promise((resolve) => provider.once("sync", resolve))),
    /** The protocol has no acknowledgement: a client can only know that its socket has taken the bytes. */
    async sent() {
      while (!provider.wsconnected || provider.ws.bufferedAmount > 0) await sleep(5)
    },
    close: () => provider.destroy(),
  }
}
