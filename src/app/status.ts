/**
 * Computes the status of a workspace from the state of sync, the outbox and the present errors. The status is an object
 * that is replaced when its content changes.
 */

import { HeadwaterError } from "../base/errors.ts"
import { Listeners } from "../base/listeners.ts"
import type { SetAside } from "../replica/disk/records-in-memory.ts"
import type { Replica } from "../replica/replica.ts"
import type { SyncStatus } from "../sync/sync.ts"
import type { Access } from "../wire/protocol.ts"

/** The state of a workspace on this device. When something in it changes, a new object replaces it. */
export type Status = Readonly<{
  /**
   * - `local`: there is no relay.
   * - `connecting`: the relay is dialled and has not answered yet.
   * - `syncing`: connected, and the relay has more to send, or rows do not show all saved changes yet, or this device
   *   still has to ask the relay for changes that its disk has damaged.
   * - `live`: connected, and this device has everything that the relay has, and shows it in rows.
   * - `offline`: not connected.
   * - `error`: this device's disk fails, see `error`.
   */
  phase: "local" | "offline" | "connecting" | "syncing" | "live" | "error"
  connected: boolean
  /** Changes that the relay has not acknowledged. */
  pending: number
  /** ms since 1970: when this device was last level with the relay's log; null if it never was. */
  lastSyncedAt: number | null
  /** ms since 1970: when the relay is dialled again; null when no such time is set. */
  retryAt: number | null
  /**
   * The most pressing error; null when there is none. The most pressing kind comes first:
   *
   * 1. This device's disk fails (`STORE_FAILED`), or its folder was removed (`STORE_GONE`).
   * 2. Automerge cannot be loaded (`WASM_FAILED`).
   * 3. The relay refuses changes for now, or has sent a notice. The error has the relay's code. Its `retryAt` is the
   *    time at which this device tries again, if such a time is set.
   * 4. There is no connection: `RELAY_UNREACHABLE`, or the code with which the relay ended the connection.
   * 5. A change is set aside. `error.entity` is its entity. There is such an error until no change is set aside any
   *    more. `REJECTED`: the relay has refused, for good, a change that this device pushed. `CHUNK_BAD`, `OP_REFERENCE`
   *    or another code of a change: a change has arrived that no replica can apply. Changes that are set aside are kept
   *    on this device, and all other changes are synced as usual.
   */
  error: HeadwaterError | null
  /** Whether this device has once had everything that the relay had. The value survives a restart. */
  complete: boolean
  /**
   * The catch-up that is under way; null when there is none. `done`: bytes that are received and saved. `total`: bytes
   * of the whole catch-up. `toShow`: entities with saved changes that their rows do not show yet.
   */
  progress: { readonly done: number; readonly total: number; readonly toShow: number } | null
  /** The access that the relay last granted. The value survives a restart; null before the first connection. */
  access: Access | null
  /**
   * The principal that the relay last named for this connection. The value survives a restart; null before the first
   * connection.
   */
  principal: string | null
  /**
   * How many changes wait for each principal that is not the present one: the changes that were made under that
   * principal, and later changes of the same entities. They are pushed when that principal connects again.
   */
  others: readonly { readonly principal: string; readonly pending: number }[]
}>

type Listener = (status: Status) => void

/** @internal The type declarations for apps leave out this class, because its types need those of Automerge. */
export class WorkspaceStatus {
  readonly #replica: Replica
  readonly #sync: () => SyncStatus
  readonly #hasRelay: () => boolean
  #current: Status
  readonly #listeners = new Listeners<[Status]>()
  /**
   * The error for each change that is set aside, by the change's record. The errors are kept, because they are compared
   * by identity: a new error object would count as a change of the status.
   */
  readonly #errors = new WeakMap<object, HeadwaterError>()

  constructor(replica: Replica, sync: () => SyncStatus, hasRelay: () => boolean) {
    this.#replica = replica
    this.#sync = sync
    this.#hasRelay = hasRelay
    this.#current = this.#now()
  }

  get current(): Status {
    return this.#current
  }

  listen(f: Listener): () => void {
    return this.#listeners.add(f)
  }

  /** Call when the status may have changed. Computes it again, and calls the listeners if it has changed. */
  refresh(): void {
    const before = this.#current
    const now = this.#now()
    const same = (Object.keys(now) as (keyof Status)[]).every((key) => sameValue(now[key], before[key]))
    if (same) return
    this.#current = now
    this.#listeners.tell(() => [now])
  }

  /** Call when the status will not change any more. Removes the listeners, after those calls that are due already. */
  end(): void {
    this.#listeners.end()
  }

  #now(): Status {
    const { connection, retryAt, progress } = this.#sync()
    const { state, outbox, stale } = this.#replica
    const { toShow } = stale
    return Object.freeze({
      phase: this.#phase(),
      connected: connection === "open",
      pending: outbox.size,
      lastSyncedAt: state.lastSyncedAt,
      retryAt,
      error: this.#error(),
      complete: state.complete,
      progress: progress || toShow > 0 ? { done: 0, total: 0, ...progress, toShow } : null,
      access: state.access,
      principal: state.principal,
      others: outbox.others(state),
    })
  }

  #phase(): Status["phase"] {
    const { connection, level } = this.#sync()
    if (this.#replica.failure !== null) return "error"
    if (!this.#hasRelay()) return "local"
    const { stale, state } = this.#replica
    if (connection === "open") return level && !state.heal && stale.toShow === 0 ? "live" : "syncing"
    return connection === "dialling" ? "connecting" : "offline"
  }

  /** Returns the most pressing error, in the order that `Status.error` lists. */
  #error(): HeadwaterError | null {
    const { refusal, trouble, error } = this.#sync()
    const { failure, documentFailure, outbox } = this.#replica
    return failure ?? documentFailure ?? (outbox.size > 0 ? refusal : null) ?? trouble ?? error ?? this.#setAside()
  }

  #setAside(): HeadwaterError | null {
    const { setAside } = this.#replica
    if (setAside === undefined) return null
    let error = this.#errors.get(setAside.record)
    if (error === undefined) this.#errors.set(setAside.record, (error = errorOf(setAside)))
    return error
  }
}

function errorOf({ entity, record, refused }: SetAside): HeadwaterError {
  const { code } = record
  if ("damaged" in record && record.damaged) {
    return new HeadwaterError(
      code,
      "the disk has damaged a change that the relay has not stored: make that edit again",
      {
        entity,
      },
    )
  }
  return refused
    ? new HeadwaterError("REJECTED", `the relay refused a change for good (${code}); it is on the rejected list`, {
        entity,
      })
    : new HeadwaterError(
        code,
        "a change that arrived cannot be applied: it is set aside, other changes are not affected",
        { entity },
      )
}

/** Errors are compared by identity, because two errors with the same code may say different things. */
const sameValue = (a: unknown, b: unknown) =>
  a === b || (typeof a === "object" && !(a instanceof Error) && JSON.stringify(a) === JSON.stringify(b))
