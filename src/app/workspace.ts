/** The one object that an app holds: a workspace on this device, its collections, and its way to a relay. */

import type { Env } from "../base/env.ts"
import { HeadwaterError } from "../base/errors.ts"
import { usualSizes } from "../base/sizes.ts"
import type { SetAside } from "../replica/known.ts"
import { openReplica } from "../replica/open.ts"
import { isOurs } from "../replica/ours.ts"
import type { Replica } from "../replica/replica.ts"
import type { AnyDef, Def } from "../schema/schema.ts"
import type { Store } from "../store/store.ts"
import { Connection, type Relay, type RelayOptions } from "../sync/socket.ts"
import { Sync } from "../sync/sync.ts"
import { systemEnv } from "../sync/system.ts"
import type { Access, Hash } from "../wire/protocol.ts"
import { type Collection, callSafely, checkId, openCollection } from "./collection.ts"
import { uuidv7 } from "./ids.ts"

type Defs = Record<string, Def<string, any, any, any>>
type Collections<C extends Defs> = {
  readonly [K in keyof C]: C[K] extends Def<string, infer S, infer F, infer D> ? Collection<S, F, D> : never
}

export type Status = Readonly<{
  /** `local`: no relay. `offline`: not connected. `syncing`: catching up. `live`: level with the relay. `error`: see `error`. */
  phase: "local" | "offline" | "connecting" | "syncing" | "live" | "error"
  connected: boolean
  /** Changes that the relay is still owed. */
  pending: number
  /** ms since 1970: when this device was last level with the relay. */
  lastSyncedAt: number | null
  /** ms since 1970: when the relay is dialled again. */
  retryAt: number | null
  /**
   * What is wrong now, the most pressing first: this device's disk (`STORE_FAILED`), Automerge that cannot be loaded
   * (`WASM_FAILED`), what the relay does not take for now, the connection. When none of these is: a change that is set aside, for as long as one is. `REJECTED`, with the
   * `entity`: the relay refused a change of this device for good. `CHUNK_BAD`, `OP_REFERENCE` and the other codes of a
   * change, with the `entity`: one arrived that no replica can apply. Both are kept on this device and everything else goes on.
   */
  error: HeadwaterError | null
  /** Durable: this device has once held everything that the relay had. */
  complete: boolean
  /** Bytes of the present catch-up. */
  progress: { readonly done: number; readonly total: number } | null
  /** What the relay last granted, durable; null before the first connection. */
  access: Access | null
  principal: string | null
  /** Outbox made under other principals, waiting until they are back. */
  others: readonly { readonly principal: string; readonly pending: number }[]
}>

interface Core<C extends Defs> {
  readonly id: string
  readonly status: Status
  /** Calls `f` whenever `status` has changed, at the end of the turn in which it did. Returns the unsubscription. */
  onStatus(f: (status: Status) => void): () => void
  /** Every collection, whatever its name; `ws.notes` is the short form of those whose name clashes with nothing. */
  readonly collections: Collections<C>
  /**
   * Resolves when the relay has on its disk everything that was saved before the call.
   * `NO_RELAY` without one, `CLOSED` after close, `REJECTED` when something of it was refused for good; the signal's reason.
   */
  whenStored(options?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * Resolves when this device holds and shows everything that the relay had stored before the call; while connected that
   * takes one small message each way. `NO_RELAY`, `CLOSED`; the signal's reason.
   */
  whenSynced(options?: { readonly signal?: AbortSignal }): Promise<void>
  /** Connects, to the last relay if none is named. */
  connect(relay?: Relay | RelayOptions): void
  /** Works offline until `connect`. */
  disconnect(): void
  /** Finishes what is being saved, then lets go of relay and store. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}
export type Workspace<C extends Defs> = Core<C> & Omit<Collections<C>, keyof Core<C>>

export interface WorkspaceOptions<C extends Defs> {
  /** `[A-Za-z0-9_-]{1,64}`; everybody who shares the workspace uses the same. */
  readonly id: string
  /** Each under its own name. */
  readonly collections: C & { readonly [K in keyof C]: { readonly name: K } }
  /** `nodeStore(folder)`, `indexedDBStore(name)`, `memoryStore()`, a `Store` of your own; several workspaces may share one. */
  readonly store: object
  readonly relay?: Relay | RelayOptions | undefined
  /** Makes entity ids; UUID v7 by default. */
  readonly idFactory?: (() => string) | undefined
  /** Automerge's WebAssembly in a browser; without it the base64 build is imported when a document is first needed. */
  readonly wasm?: URL | string | BufferSource | undefined
  /** An `Env`: clock, timers, randomness, network, for tests. */
  readonly env?: object | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * Opens a workspace on this device: rows are there when it resolves, documents and WebAssembly are loaded when needed.
 *
 * One process or tab owns a (store, workspace), and one workspace of an id a `relayConnection`: `STORE_IN_USE` for the second. `ID_INVALID`, `NAME_MISMATCH`,
 * `STORE_FAILED`, `STORE_FORMAT` (written by a newer version).
 */
export async function openWorkspace<const C extends Defs>(options: WorkspaceOptions<C>): Promise<Workspace<C>> {
  const { id, collections, store, relay, signal, wasm } = options
  const env = (options.env ?? systemEnv) as Env
  checkId(id, "a workspace's id")
  checkStore(store)
  for (const [key, { name }] of Object.entries<AnyDef>(collections)) {
    if (key !== name) throw new HeadwaterError("NAME_MISMATCH", `the collection under ${key} is named ${name}`)
  }
  signal?.throwIfAborted()
  const release = await store.claim(id)
  let replica: Replica | undefined
  try {
    replica = await openReplica({ id, store, collections, clock: env, sizes: { ...usualSizes, ...env.sizes }, wasm })
    signal?.throwIfAborted()
    const workspace = new OpenWorkspace<C>(replica, env, release, collections, options.idFactory ?? (() => uuidv7(env)))
    if (relay !== undefined) workspace.connect(relay)
    return workspace as Workspace<C>
  } catch (error) {
    await replica?.close({ quickly: true }) // or its idle work would go on in a workspace that is somebody else's by then
    await release()
    throw error
  }
}

function checkStore(store: object): asserts store is Store {
  for (const method of ["claim", "get", "list", "commit"] as const satisfies (keyof Store)[]) {
    if (typeof (store as Partial<Store> | undefined)?.[method] === "function") continue
    throw new HeadwaterError("STORE_FAILED", `what is passed as store is none: it has no function ${method}`)
  }
}

const replicas = new WeakMap<object, Replica>()

/** The replica behind a workspace, for those who look inside: tests, and `headwater/testing`. */
export function replicaOf(workspace: object): Replica {
  const replica = replicas.get(workspace)
  if (replica === undefined) throw new TypeError("not an open workspace")
  return replica
}

class OpenWorkspace<C extends Defs> {
  readonly id: string
  readonly collections: Collections<C>
  status: Status
  readonly #replica: Replica
  readonly #env: Env
  readonly #sync: Sync
  readonly #release: () => Promise<void>
  readonly #statusListeners = new Set<(status: Status) => void>()
  readonly #waiters = new Set<(error: unknown) => void>()
  readonly #looks = new Set<() => void>()
  /** Of what is set aside: one object each, so that `status` changes when they do. */
  readonly #errors = new WeakMap<object, HeadwaterError>()
  #connection: Connection | undefined
  #owned = false
  #detach: (() => void) | undefined
  #offClose: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(replica: Replica, env: Env, release: () => Promise<void>, defs: C, newId: () => string) {
    this.id = replica.id
    this.#replica = replica
    replicas.set(this, replica)
    this.#env = env
    this.#release = release
    this.#sync = new Sync(replica, env, () => {
      this.#refresh()
      for (const look of [...this.#looks]) look()
    })
    const opened = Object.entries<AnyDef>(defs).map(([name, def]) => [name, openCollection(replica, def, newId)])
    this.collections = Object.freeze(Object.fromEntries(opened)) as Collections<C>
    this.status = this.#statusNow()
    replica.onCommit(() => this.#refresh())
    for (const bound of ["onStatus", "whenStored", "whenSynced", "connect", "disconnect", "close"] as const) {
      Object.defineProperty(this, bound, { value: this[bound].bind(this) })
    }
    for (const [name, collection] of Object.entries(this.collections)) {
      if (!(name in this)) Object.defineProperty(this, name, { value: collection, enumerable: true })
    }
  }

  onStatus(f: (status: Status) => void): () => void {
    const listener = (status: Status) => f(status)
    this.#statusListeners.add(listener)
    return () => void this.#statusListeners.delete(listener)
  }

  connect(relay?: Relay | RelayOptions): void {
    if (this.#closing !== undefined) throw new HeadwaterError("CLOSED", "the workspace is closed")
    const next =
      relay === undefined
        ? this.#connection
        : relay instanceof Connection
          ? relay
          : new Connection(relay as RelayOptions)
    if (next === undefined) throw new HeadwaterError("NO_RELAY", "no relay has been named")
    if (next === this.#connection && this.#detach !== undefined && !next.closed) return next.wake()
    next.throwUnlessFree(this.id) // before anything is let go of: a call that throws has done nothing
    this.#hangUp()
    if (relay !== undefined) this.#owned = next !== relay
    this.#offClose?.()
    this.#offClose = next.onClose(() => this.#giveUp("the relay connection was closed"))
    this.#connection = next
    this.#detach = next.attach(this.id, this.#sync, this.#env)
  }

  disconnect(): void {
    this.#hangUp()
    this.#refresh()
  }

  #hangUp(): void {
    this.#detach?.()
    this.#detach = undefined
    this.#sync.stop()
  }

  async whenStored({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#mustHaveRelay()
    const replica = this.#replica
    const owed = new Map<Hash, string>()
    // What another principal left here waits until that one is back, and nobody waits for it.
    for (const change of replica.outbox) if (isOurs(change, replica.state)) owed.set(change.hash, change.entity)
    let refused: Hash | undefined
    await this.#until(signal, () => {
      for (const [hash, entity] of owed) {
        if (replica.outbox.get(entity, hash) !== undefined) break
        if (replica.rejected.get(entity)?.has(hash)) refused ??= hash
        owed.delete(hash)
      }
      return owed.size === 0
    })
    if (refused !== undefined) throw new HeadwaterError("REJECTED", `the relay refused change ${refused} for good`)
  }

  async whenSynced({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#mustHaveRelay()
    const replica = this.#replica
    const shown = () => ![...replica.stale.values()].some((mark) => !mark.waiting)
    const check = this.#sync.check()
    const level = () => this.#sync.status.level && this.#sync.status.asOf >= check
    await this.#until(signal, () => this.status.complete && level() && shown())
  }

  #mustHaveRelay(): void {
    if (this.#closing !== undefined) throw new HeadwaterError("CLOSED", "the workspace is closed")
    if (this.#connection === undefined) throw new HeadwaterError("NO_RELAY", "this workspace has no relay")
    if (this.#connection.closed) throw new HeadwaterError("CLOSED", "the relay connection was closed")
  }

  /** Asks `reached` now, after every commit and after every change of the connection, whether `status` shows it or not. */
  #until(signal: AbortSignal | undefined, reached: () => boolean): Promise<void> {
    signal?.throwIfAborted()
    return new Promise((resolve, reject) => {
      const end = (error?: unknown) => {
        offCommit()
        this.#looks.delete(look)
        this.#waiters.delete(end)
        signal?.removeEventListener("abort", abort)
        if (error === undefined) resolve()
        else reject(error)
      }
      const abort = () => end(signal?.reason)
      const look = () => reached() && end()
      const offCommit = this.#replica.onCommit(look)
      this.#looks.add(look)
      this.#waiters.add(end)
      signal?.addEventListener("abort", abort)
      look()
    })
  }

  /** Whoever waits would wait for ever. */
  #giveUp(why: string): void {
    for (const end of [...this.#waiters]) end(new HeadwaterError("CLOSED", why))
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeOnce()
    return this.#closing
  }

  async #closeOnce(): Promise<void> {
    this.#hangUp()
    this.#offClose?.()
    if (this.#owned) await this.#connection?.close()
    this.#giveUp("the workspace was closed")
    await this.#replica.close()
    await this.#release()
    this.#refresh()
    queueMicrotask(() => this.#statusListeners.clear()) // behind the last that they are told
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #statusNow(): Status {
    const { connection, retryAt, error, trouble, refusal, progress } = this.#sync.status
    const { state, outbox, failure, wasmFailure } = this.#replica
    return Object.freeze({
      phase: this.#phase(),
      connected: connection === "open",
      pending: outbox.size,
      lastSyncedAt: state.lastSyncedAt,
      retryAt,
      error: failure ?? wasmFailure ?? (outbox.size > 0 ? refusal : null) ?? trouble ?? error ?? this.#setAside(),
      complete: state.complete,
      progress,
      access: state.access,
      principal: state.principal,
      others: outbox.others(state),
    })
  }

  #setAside(): HeadwaterError | null {
    const { setAside } = this.#replica
    if (setAside === undefined) return null
    let error = this.#errors.get(setAside.record)
    if (error === undefined) this.#errors.set(setAside.record, (error = errorOf(setAside)))
    return error
  }

  #phase(): Status["phase"] {
    const { connection, level } = this.#sync.status
    if (this.#replica.failure !== null) return "error"
    if (this.#connection === undefined) return "local"
    if (connection === "open") return level ? "live" : "syncing"
    return connection === "dialling" ? "connecting" : "offline"
  }

  #refresh(): void {
    const before = this.status
    const now = this.#statusNow()
    const same = (Object.keys(now) as (keyof Status)[]).every((key) => sameValue(now[key], before[key]))
    if (same) return
    this.status = now
    // Not from in here: a listener that connects or disconnects would find the connection in the middle of something.
    const listeners = [...this.#statusListeners]
    queueMicrotask(() => {
      for (const listener of listeners) if (this.#statusListeners.has(listener)) callSafely(() => listener(now))
    })
  }
}

function errorOf({ entity, record: { code }, refused }: SetAside): HeadwaterError {
  return refused
    ? new HeadwaterError("REJECTED", `the relay refused a change for good (${code}); it is on the rejected list`, {
        entity,
      })
    : new HeadwaterError(code, "a change that arrived cannot be applied; it is set aside, the rest goes on", { entity })
}

const sameValue = (a: unknown, b: unknown) =>
  a === b || (typeof a === "object" && !(a instanceof Error) && JSON.stringify(a) === JSON.stringify(b))
