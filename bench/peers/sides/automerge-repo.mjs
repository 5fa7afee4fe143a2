/**
 * automerge-repo: each note is a document. One more document has the list of their URLs, because a repository cannot
 * list its documents. The device keeps the documents in files (NodeFSStorageAdapter).
 */
import { setTimeout as sleep } from "node:timers/promises"
import * as A from "@automerge/automerge"
import { Repo } from "@automerge/automerge-repo"
import { WebSocketClientAdapter } from "@automerge/automerge-repo-network-websocket"
import { NodeFSStorageAdapter } from "@automerge/automerge-repo-storage-nodefs"

/** `root`: the URL of the list. Without it, makes a list. */
export async function open({ folder, url, root }) {
  const repo = new Repo({
    network: url === undefined ? [] : [new WebSocketClientAdapter(url)],
    storage: new NodeFSStorageAdapter(folder),
  })
  /**
   * Finds a document, however long it takes. The repository calls a document unavailable if there is no connection
   * within a second. Such a document becomes ready once the repository is connected.
   */
  const find = async (wanted) => {
    const handle = await repo.find(wanted, { allowableStates: ["ready", "unavailable"] })
    await handle.whenReady()
    return handle
  }
  const index = root ? await find(root) : repo.create({ notes: [] })
  const handles = new Map()
  const load = async () => {
    const missing = index.doc().notes.filter((one) => !handles.has(one))
    for (const handle of await Promise.all(missing.map(find))) handles.set(handle.url, handle)
  }
  // Offline, all notes are loaded at once; online, `shown` loads them as the list arrives.
  if (url === undefined) await load()
  const saved = () => repo.flush()
  return {
    root: index.url,
    ids: () => index.doc().notes.slice(),
    count: () => handles.size,
    list: () => Array.from(handles, ([id, handle]) => ({ id, ...handle.doc() })),
    async create(list) {
      const made = list.map((note) => repo.create(note))
      index.change((doc) => {
        for (const handle of made) doc.notes.push(handle.url)
      })
      for (const handle of made) handles.set(handle.url, handle)
      await saved()
    },
    setTitle(id, title) {
      const handle = handles.get(id)
      handle.change((doc) => {
        doc.title = title
      })
      return repo.flush([handle.documentId])
    },
    insert(id, at, string) {
      handles.get(id).change((doc) => A.splice(doc, ["body"], at(doc.body), 0, string))
    },
    body: (id) => handles.get(id).doc().body,
    watch: (id, f) =>
      handles
        .get(id)
        .on("change", ({ patches }) =>
          f(patches.map(({ action, value }) => (action === "splice" ? value : "")).join("")),
        ),
    shown: load,
    saved,
    /**
     * No acknowledgement says which changes the server has on its disk. The server drops a client that was too busy to
     * answer its ping, so this waits at least until the client is connected again.
     */
    async sent() {
      await saved()
      while (repo.peers.length === 0) await sleep(50)
    },
    connect: (to) => repo.networkSubsystem.addNetworkAdapter(new WebSocketClientAdapter(to)),
    async close() {
      await saved()
      await repo.shutdown()
    },
  }
}
