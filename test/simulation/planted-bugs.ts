/** Bugs of a few lines each, as somebody might write them, and the violation by which the property finds each. */
import type { Bug, SourceEdit } from "./plant-bug.ts"

/**
 * Lets a workspace use a socket for a second session, if other workspaces kept the socket open. It then takes the
 * relay's answers to the first session for answers to the second one.
 */
const comesBack: SourceEdit = {
  file: "src/sync/connection/relay-connection.ts",
  replace: "return !this.#usedSocket.has(workspace) && this.#usedSocket.size",
  by: "return this.#usedSocket.size",
}

/** Makes FORBIDDEN a refusal for good. A change refused while its device may only read is then never pushed again. */
export const noLongerForNow: SourceEdit = {
  file: "src/sync/refusal-wait.ts",
  replace: `"FORBIDDEN", "LOG_FAILED"])`,
  by: `"LOG_FAILED"])`,
}

export interface KnownBug extends Bug {
  /** The number of the run, among those of seed 1, that finds the bug. It is played first. */
  readonly run: number
  /** Matches the violation by which the property finds the bug. */
  readonly sees: RegExp
}

export const bugs: readonly KnownBug[] = [
  {
    name: "ack before fsync",
    run: 0,
    sees: /^acknowledged (before stored|and lost)/,
    edits: [
      {
        file: "relay/serve/connection.ts",
        replace: "const at = position > 0 ? await workspace.log.flushed(position) : undefined",
        by: "const at = position > 0 ? workspace.log.end : undefined",
      },
    ],
  },
  {
    name: "fan-out before commit",
    run: 1,
    sees: /^served before stored/,
    edits: [
      {
        file: "relay/log/group-commit.ts",
        replace: "group.writing = true",
        by: `group.writing = true
        segments.end = cursorOf(group.last, segment.appendedRunning)
        this.#listener.flushed()`,
      },
    ],
  },
  {
    name: "cursor before entries",
    run: 0,
    sees: /^cursor ahead of its entries/,
    edits: [
      {
        file: "src/sync/attempt.ts",
        replace: "const level = messages.at(-1)?.level === true",
        by: `const level = messages.at(-1)?.level === true
    await receiveEntries(this.#steps, { items: [], cursor, level: false })`,
      },
    ],
  },
  {
    name: "cursor moved by an ack",
    run: 1,
    sees: /^cursor (ahead of its entries|out of nowhere)/,
    edits: [
      {
        file: "src/replica/exchange/receive-answers.ts",
        replace: "if (reach !== tx.state.reach) tx.state = { ...tx.state, reach }",
        by: "if (reach !== tx.state.reach) tx.state = { ...tx.state, reach, cursor: reach }",
      },
    ],
  },
  {
    name: "dropped dedupe",
    run: 0,
    sees: /^(logged twice|refused for good|never quiet|in trouble for no good reason: \S+ HeadwaterError: SEQ_GAP)/,
    edits: [
      {
        file: "relay/serve/admission-rules.ts",
        replace: `if (facts.known !== undefined) return "KNOWN"`,
        by: "",
      },
    ],
  },
  {
    name: "outbox dropped on reconnect",
    run: 0,
    sees: /^(no longer owed|adopted for no reason|still owed|diverged|saved and lost)/,
    edits: [
      {
        file: "src/sync/sync.ts",
        replace: "this.#session = new Session(",
        by: `const acked = [...this.#replica.outbox].map((owed) => [owed.hash, { owed, removed: true }] as const)
    this.#replica.outbox.plan(new Map(acked)).done()
    this.#session = new Session(`,
      },
    ],
  },
  {
    name: "actor kept after a failed commit",
    run: 15,
    sees: /^minted twice/,
    edits: [
      {
        file: "src/replica/replica.ts",
        replace: "this.freshActor()\n    this.#arrivals.clear()\n    const behind",
        by: "this.documents.dropAll()\n    this.#arrivals.clear()\n    const behind",
      },
      // Remove the second defence too: a session that finds one of its own changes missing also takes a fresh actor.
      {
        file: "src/replica/live-documents.ts",
        replace: "if (this.#o.authorship.isLacking(entity, verdict.history)) this.#o.authorship.takeFreshActor()",
        by: "",
      },
    ],
  },
  {
    name: "append racing since",
    run: 0,
    sees: /^cursor ahead of its entries/,
    edits: [
      {
        file: "relay/serve/stream.ts",
        replace: "(page) => {",
        by: `async ({ entries }) => {
        const page = { entries, cursor: await this.workspace.log.flushed(this.workspace.log.appended) }`,
      },
    ],
  },
  {
    name: "torn tail taken for whole",
    run: 0,
    sees: /^(bytes that are no change: .*the checksum does not match|no entry where the log has one: .*MESSAGE_BAD)/,
    edits: [
      {
        file: "relay/log/segment/record.ts",
        replace: "bytes.readUInt32BE(at + 8) === checksum(record.body(bytes, at), salt),",
        by: "bytes.length > 0 || salt > 0,",
      },
    ],
  },
  {
    name: "a change admitted before the changes that it depends on",
    run: 30,
    sees: /^effect before its cause: \S+ \S+ was appended to the log/,
    edits: [
      {
        file: "relay/serve/admission-rules.ts",
        replace: `if (maxOp === undefined) return "DEPS_UNKNOWN"`,
        by: "if (maxOp === undefined) continue",
      },
    ],
  },
  {
    name: "row written without its chunk",
    run: 0,
    sees: /^row without its change/,
    edits: [
      {
        file: "src/replica/replica.ts",
        replace: "await this.store.commit(commit.writes, { expect: commit.expect })",
        by: `const { writes, expect } = commit
      await this.store.commit(writes.filter(([key]) => key[1] === "row"))
      await this.store.commit(writes.filter(([key]) => key[1] !== "row"), { expect })`,
      },
    ],
  },
  {
    name: "a step that throws undoes its whole group",
    run: 0,
    sees: /^(refused|in trouble) for no good reason: .*STORE_FAILED/,
    edits: [
      {
        file: "src/replica/replica.ts",
        replace: "this.#drop(undo())",
        by: "throw error",
      },
    ],
  },
  {
    name: "a deletion whose promise resolves before it is saved",
    run: 7,
    sees: /^said to be saved: .* delete in/,
    edits: [
      {
        file: "src/app/collection.ts",
        replace: "return replica.step([id], (tx) => remove(replica, tx, def, id))",
        by: "void replica.step([id], (tx) => remove(replica, tx, def, id))\n      return Promise.resolve()",
      },
    ],
  },
  {
    name: "subscribers that are called only for local writes",
    run: 0,
    sees: /^not told/,
    edits: [
      {
        file: "src/app/collection.ts",
        replace: `for (const from of ["here", "relay"] as const)`,
        by: `for (const from of ["here"] as const)`,
      },
    ],
  },
  {
    name: "nothing read behind a damaged record",
    run: 0,
    sees: /^harmed too much/,
    edits: [
      {
        file: "relay/log/segment/scan.ts",
        replace: "while (start + at < size) {",
        by: "while (start + at < size && damagedFrom === undefined) {",
      },
    ],
  },
  {
    name: "a workspace that comes back to an open socket",
    run: 25,
    sees: /^(no longer owed|acknowledged before stored|cursor ahead of its entries|effect before its cause)/,
    edits: [comesBack],
  },
  {
    name: "a failure of one log that closes the socket",
    run: 7,
    sees: /^ended for no good reason/,
    edits: [
      {
        file: "relay/serve/connection.ts",
        replace: "const stored = await this.#store(stream, inHand).catch((error): Stored | undefined => {",
        by: `const stored = await this.#store(stream, inHand).catch((error): Stored | undefined => {
      this.#end(closeCode.failed, "LOG_FAILED", error)`,
      },
    ],
  },
  {
    name: "changes that are acknowledged although their flush failed",
    run: 7,
    sees: /^acknowledged before stored/,
    edits: [
      {
        file: "relay/serve/connection.ts",
        replace: "refusals: refusePush(push, sizes.retryMs)",
        by: "refusals: refusePush({ ...push, entries: [] as never }, sizes.retryMs)",
      },
    ],
  },
  {
    name: "a message to one workspace is handed to all",
    run: 0,
    sees: /^cursor (ahead of its entries|out of nowhere)/,
    edits: [
      {
        file: "src/sync/connection/relay-connection.ts",
        replace: `if ("w" in message && message.w !== undefined) this`,
        by: `if ("w" in message && message.w === "nobody") this`,
      },
    ],
  },
  {
    name: "changes that are set aside because their device may only read for a while",
    run: 0,
    sees: /^refused for good: .*FORBIDDEN/,
    edits: [noLongerForNow],
  },
  {
    name: "an access that stays as it was once the device may only read",
    run: 0,
    sees: /^other access/,
    edits: [
      {
        file: "src/replica/exchange/receive-entries.ts",
        replace: "if (access !== undefined) next.access",
        by: `if (access !== undefined && next.access !== "read") next.access`,
      },
    ],
  },
]
