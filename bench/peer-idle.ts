/**
 * Measures the idle reconnect of another library, to compare with ours: automerge-repo with its own WebSocket adapters
 * and 1,000 unchanged documents.
 */
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { type PeerId, Repo, type StorageAdapterInterface, type StorageKey } from "@automerge/automerge-repo"
import { WebSocketClientAdapter, WebSocketServerAdapter } from "@automerge/automerge-repo-network-websocket"
import { WebSocketServer } from "ws"
import { figure } from "./figures.ts"
import { countingProxy } from "./proxy.ts"

const ROUNDS = 3
const DOCUMENTS = 1_000

/** Makes a storage in a map. It outlasts the repository like a disk, and reading it costs nothing. */
function storageIn(map: Map<string, Uint8Array>): StorageAdapterInterface {
  const name = (key: StorageKey) => key.join(" ")
  const under = (prefix: StorageKey) => [...map.keys()].filter((key) => `${key} `.startsWith(`${name(prefix)} `))
  return {
    load: async (key) => map.get(name(key)),
    save: async (key, data) => void map.set(name(key), data),
    remove: async (key) => void map.delete(name(key)),
    loadRange: async (prefix) => under(prefix).map((key) => ({ key: key.split(" "), data: map.get(key)! })),
    removeRange: async (prefix) => {
      for (const key of under(prefix)) map.delete(key)
    },
  }
}

const sockets = new WebSocketServer({ port: 0, host: "127.0.0.1" })
await once(sockets, "listening")
// The adapter needs a WebSocketServer, but its type names the module ws instead.
type Sockets = ConstructorParameters<typeof WebSocketServerAdapter>[0]
const server = new Repo({
  network: [new WebSocketServerAdapter(sockets as unknown as Sockets)],
  storage: storageIn(new Map()),
  peerId: "server" as PeerId,
  sharePolicy: async () => false,
})
const proxy = await countingProxy((sockets.address() as AddressInfo).port)
const disk = new Map<string, Uint8Array>()
const client = () => new Repo({ network: [new WebSocketClientAdapter(proxy.url)], storage: storageIn(disk) })
/** Resolves when nothing has been sent for a second. */
async function silence(): Promise<void> {
  for (let before = -1; before !== proxy.up.bytes + proxy.down.bytes; ) {
    before = proxy.up.bytes + proxy.down.bytes
    await sleep(1000)
  }
}

const first = client()
const handles = Array.from({ length: DOCUMENTS }, (_, i) =>
  first.create({ title: `note ${i}`, body: "x".repeat(1000) }),
)
const urls = handles.map((handle) => handle.url)
await silence()
await first.flush()
await first.shutdown()

const messages: number[] = []
const bytes: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  proxy.reset()
  const repo = client()
  await Promise.all(urls.map((url) => repo.find(url)))
  await silence()
  messages.push(proxy.up.messages + proxy.down.messages)
  bytes.push(proxy.up.bytes + proxy.down.bytes)
  await repo.shutdown()
}
await server.shutdown()
sockets.close()
proxy.close()
figure(`automerge-repo, ${DOCUMENTS} documents: messages both ways`, messages, "")
figure(`automerge-repo, ${DOCUMENTS} documents: bytes of their frames`, bytes, " B")
console.log("  ours, at as many notes: see idle-reconnect")
process.exit(0)
