/**
 * Mended faults. Each is planted again, and the named tests must fail. Random runs (`planted-bugs.ts`) would find some
 * of these faults too, but not in every hundred runs.
 */
import type { Bug } from "./plant-bug.ts"
import { noLongerForNow } from "./planted-bugs.ts"

export interface Mend extends Bug {
  /** The file whose tests must find the fault. */
  readonly tests: string
  /** Matches the names of the tests that must fail. */
  readonly fails: RegExp
}

export const mends: readonly Mend[] = [
  {
    name: "changes that are set aside because their device may only read for a while",
    tests: "test/simulation/access.test.ts",
    fails: /goes out when the device may write again/,
    edits: [noLongerForNow],
  },
  {
    name: "an older access that is committed after a newer one",
    tests: "test/sync/access-changes.test.ts",
    fails: /a notice after entries/,
    edits: [{ file: "src/sync/attempt.ts", replace: "if (access !== undefined) this.#batches.handOn()", by: "" }],
  },
  {
    name: "what a session made is its own after an account switch, too",
    tests: "test/replica/found.test.ts",
    fails: /another account on the same device/,
    edits: [
      {
        file: "src/replica/authorship.ts",
        replace: 'isOurs({ principal: made.principal, how: "again" }, state)',
        by: "made.seq > 0",
      },
    ],
  },
  {
    name: "a damaged change that is owed counts as held",
    tests: "test/replica/found.test.ts",
    fails: /a change that the disk has damaged, and that the relay sends/,
    edits: [
      {
        file: "src/replica/exchange/receive-entries.ts",
        replace: "if (tx.badOf(entity).get(hash)?.damaged) return false",
        by: "if (replica.outbox.get(entity, hash) !== undefined) return true",
      },
    ],
  },
  {
    name: "the same actor after a hydration that lacks own changes",
    tests: "test/replica/damaged-records.test.ts",
    fails: /a session of which the disk (loses|damages) a change/,
    edits: [
      {
        file: "src/replica/live-documents.ts",
        replace: "if (this.#o.authorship.isLacking(entity, verdict.history)) this.#o.authorship.takeFreshActor()",
        by: "",
      },
    ],
  },
  {
    name: "the same actor after an edit without a document that lacks own changes",
    tests: "test/replica/damaged-records.test.ts",
    fails: /a session of which the disk (loses|damages) a change/,
    edits: [
      {
        file: "src/replica/closed-edit.ts",
        replace: "if (authorship.isLacking(id, history)) authorship.takeFreshActor()",
        by: "",
      },
    ],
  },
  {
    name: "a row removed because its document could not be made",
    tests: "test/replica/refused-while-failing.test.ts",
    fails: /a refused change leaves the row, also if the document can't be made/,
    edits: [
      {
        file: "src/replica/projecting.ts",
        replace: "leaveOut(entity, tx, error)\n    }\n  }\n  return rows",
        by: `const collection = collectionOf(entity)
      if (collection !== undefined) rows.set(entity, { collection, row: undefined })
    }
  }
  return rows`,
      },
    ],
  },
  {
    name: "one time for all refused entities",
    tests: "test/sync/refusal-times.test.ts",
    fails: /whichever entity is refused again/,
    edits: [
      {
        file: "src/sync/refused-entities.ts",
        replace: "for (const entity of entities) this.#entities",
        by: "for (const entity of this.#entities.keys()) this.#entities",
      },
    ],
  },
  {
    name: "trouble in one workspace ends the connection",
    tests: "test/sync/found.test.ts",
    fails: /is trouble of its workspace, and the other one goes on/,
    edits: [
      {
        file: "src/sync/session.ts",
        replace: "const { env, backoff, update } = this.#o\n",
        by: `const { env, backoff, update } = this.#o
    ;(this.#o.link as unknown as { fail(e: Error): void }).fail(error)\n`,
      },
      {
        file: "src/sync/connection/relay-connection.ts",
        replace: "send: (message) => live() && socket?.send(encode(message)),",
        by: `send: (message) => live() && socket?.send(encode(message)),
      // @ts-expect-error
      fail: (error: HeadwaterError) => this.#failed(error),`,
      },
    ],
  },
  {
    name: "a backoff undone by what came before the failure",
    tests: "test/sync/backoff.test.ts",
    fails: /undo no backoff/,
    edits: [{ file: "src/sync/progress.ts", replace: `if (this.#failed !== "pull") this`, by: "this" }],
  },
  {
    name: "a workspace that comes back to an open socket waits for the principal only",
    tests: "test/sync/shared-connection.test.ts",
    fails: /a workspace that comes back does not miss entries/,
    edits: [
      {
        file: "src/sync/connection/relay-connection.ts",
        replace: "return !this.#usedSocket.has(workspace) && this.#usedSocket.size",
        by: "return this.#usedSocket.size",
      },
      {
        file: "src/sync/attempt.ts",
        replace: `if (message.t === "entries") return this.#queueEntries(message, bytes)`,
        by: `if (message.t === "entries") {
      const heard: { principal?: boolean } = this
      heard.principal ||= message.principal !== undefined
      if (heard.principal) this.#queueEntries(message, bytes)
      return
    }`,
      },
    ],
  },
  {
    name: "a fold takes an owed change with it",
    tests: "test/replica/history-folds.test.ts",
    fails: /changes that the relay has not stored stay loose/,
    edits: [
      {
        file: "src/replica/history-folds.ts",
        replace: "!bad.has(hash) && tx.owed(entity, hash) === undefined",
        by: "!bad.has(hash)",
      },
    ],
  },
  {
    name: "a fold drops the who of a run",
    tests: "test/replica/history-folds.test.ts",
    fails: /who pushed a change/,
    edits: [
      {
        file: "src/replica/disk/history-page.ts",
        replace: "before !== undefined && saySame(before, one)",
        by: "before !== undefined",
      },
    ],
  },
  {
    name: "a change only in a page counts as missing",
    tests: "test/replica/history-folds.test.ts",
    fails: /a relay that has lost a note gets it back from its pages/,
    edits: [
      {
        file: "src/replica/disk/histories.ts",
        replace: "for (const [entity, hashes] of elsewhere) {",
        by: "for (const [entity, hashes] of [...elsewhere].slice(0, 0)) {",
      },
    ],
  },
  {
    name: "a damaged page is noted each time that it is read",
    tests: "test/replica/history-folds.test.ts",
    fails: /what can be read stays in the page/,
    edits: [{ file: "src/replica/saved-changes.ts", replace: "{ damaged: true }", by: "{ damaged: false }" }],
  },
  {
    name: "pages that another writer fills are read before the loose records",
    tests: "test/replica/history-pages.test.ts",
    fails: /a change that is folded while its history is read/,
    edits: [
      {
        file: "src/replica/disk/histories.ts",
        replace: `const loose = await store.list(keys.changesOf(w, entity))
  return historyOf(loose, await readPages(store, w, entity))`,
        by: `const pages = await readPages(store, w, entity)
  return historyOf(await store.list(keys.changesOf(w, entity)), pages)`,
      },
    ],
  },
]
