/** Hocuspocus with all notes in one Y.Doc. */
import { HocuspocusProvider, HocuspocusProviderWebsocket } from "@hocuspocus/provider"
import WebSocket from "ws"
import { openYjs } from "./yjs.mjs"

export const open = (options) => openYjs(options, connect)

function connect(document, url) {
  const websocketProvider = new HocuspocusProviderWebsocket({ url, WebSocketPolyfill: WebSocket })
  const provider = new HocuspocusProvider({ websocketProvider, name: "notes", document })
  provider.attach()
  const when = (event, is) => (is() ? undefined : new Promise((resolve) => provider.on(event, () => is() && resolve())))
  return {
    synced: () => when("synced", () => provider.isSynced),
    sent: () => when("unsyncedChanges", () => provider.isSynced && !provider.hasUnsyncedChanges),
    close() {
      provider.destroy()
      websocketProvider.destroy()
    },
  }
}
