/** One line each, as somebody might write it on a bad day. */
import type { Bug } from "./planted.ts"

export const bugs: readonly Bug[] = [
  {
    name: "ack before fsync",
    edits: [
      {
        file: "relay/session.ts",
        replace: "const at = place > 0 ? await workspace.log.flushed(place) : undefined",
        by: "const at = place > 0 ? workspace.log.end : undefined",
      },
    ],
  },
  {
    name: "fan-out before commit",
    edits: [
      {
        file: "relay/log/file-log.ts",
        replace: "batch.flying = true",
        by: `batch.flying = true
        this.#contents.end = cursorOf(batch.last, segment.appendedRunning)
        this.#tell(this.#flushListeners)`,
      },
    ],
  },
  {
    name: "cursor before entries",
    edits: [
      {
        file: "src/sync.ts",
        replace: "const level = last.level === true",
        by: `const level = last.level === true
    await takeEntries(this.replica, { items: [], cursor, level: false })`,
      },
    ],
  },
  {
    name: "cursor moved by an ack",
    edits: [
      {
        file: "src/receive.ts",
        replace: "if (reach !== tx.state.reach) tx.state = { ...tx.state, reach }",
        by: "if (reach !== tx.state.reach) tx.state = { ...tx.state, reach, cursor: reach }",
      },
    ],
  },
  {
    name: "dropped dedupe",
    edits: [
      {
        file: "relay/admission.ts",
        replace: `if (facts.known !== undefined) return "KNOWN"`,
        by: "",
      },
    ],
  },
  {
    name: "outbox dropped on reconnect",
    edits: [
      {
        file: "src/sync.ts",
        replace: "this.session = new Session(",
        by: `for (const { entity, hash } of [...this.replica.outbox]) this.replica.outbox.remove(entity, hash)
    this.session = new Session(`,
      },
    ],
  },
  {
    name: "heal without reach",
    edits: [
      {
        file: "src/sync.ts",
        replace: "const further = reach !== cursor && { reach: at(reach) }",
        by: "const further = {}",
      },
    ],
  },
  {
    name: "actor kept after a failed commit",
    edits: [
      {
        file: "src/replica.ts",
        replace: "this.unsure = true\n    this.freshActor()",
        by: "this.unsure = true\n    this.documents.dropAll()",
      },
    ],
  },
  {
    name: "append racing since",
    edits: [
      {
        file: "relay/stream.ts",
        replace: "(page) => {",
        by: `async ({ entries }) => {
        const page = { entries, cursor: await this.workspace.log.flushed(this.workspace.log.appended) }`,
      },
    ],
  },
  {
    name: "torn tail taken for whole",
    edits: [
      {
        file: "relay/log/format.ts",
        replace: "bytes.readUInt32BE(at + 16) === crc32(record.body(bytes, at), salt),",
        by: "bytes.length > 0 || salt > 0,",
      },
    ],
  },
  {
    name: "row written without its chunk",
    edits: [
      {
        file: "src/replica.ts",
        replace: "await this.store.commit(writes)",
        by: `await this.store.commit(writes.filter(([key]) => key[1] === "row"))
        await this.store.commit(writes.filter(([key]) => key[1] !== "row"))`,
      },
    ],
  },
]
