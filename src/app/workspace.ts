/**
 * Opens a workspace, the object through which an app uses everything else: the collections, their rows on this device,
 * and the connection to a relay.
 */

import type { Env } from "../base/env.ts"
import { HeadwaterError } from "../base/errors.ts"
import type { Mended } from "../base/mended.ts"
import { usualSizes } from "../base/replica-sizes.ts"
import { openReplica } from "../replica/open-replica.ts"
import type { Replica } from "../replica/replica.ts"
import type { AnyDef, Def } from "../schema/schema.ts"
import type { Store } from "../store/store.ts"
import { Connection, type Relay, type RelayOptions } from "../sync/connection/relay-connection.ts"
import { checkUrl } from "../sync/connection/relay-url.ts"
import { Sync } from "../sync/sync.ts"
import { systemEnv } from "../sync/system.ts"
import { unlessAborted } from "./abortable-opening.ts"
import { checkId } from "./check-id.ts"
import { type Collection, openCollection } from "./collection.ts"
import type { Disposed } from "./disposed.ts"
import { beginLife, type Life } from "./open-after-close.ts"
import { OpenDocuments } from "./open-documents.ts"
import { type Status, WorkspaceStatus } from "./status.ts"
import { uuidv7 } from "./uuid-v7.ts"
import { Waiting } from "./wait-for-relay.ts"

type Defs = Record<string, Def<string, any, any, any>>
type Collections<C extends Defs> = {
  readonly [K in keyof C]: C[K] extends Def<string, infer S, infer F, infer D> ? Collection<S, F, D> : never
}

interface Core<C extends Defs> {
  readonly id: string
  /** The state of sync, and the present error. When something in it changes, a new object replaces it. */
  readonly status: Status
  /** Calls `f` in a microtask after each change of `status`. Returns the function that ends the subscription. */
  onStatus(f: (status: Status) => void): () => void
  /**
   * Every collection by its name. `ws.notes` is short for `ws.collections.notes`. There is no short form for a
   * collection with the name of one of the workspace's own functions or properties.
   */
  readonly collections: Collections<C>
  /**
   * Resolves when the relay has stored all changes that were saved on this device before the call. Does not wait for
   * changes of other principals.
   *
   * Rejects with `NO_RELAY` when no relay was passed, with `CLOSED` when the workspace or its relay connection is
   * closed, with `REJECTED` when the relay has refused one of these changes for good, with `PRINCIPAL_CHANGED` when
   * another principal connects meanwhile, with the signal's reason when the signal is aborted.
   */
  whenStored(options?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * Resolves when this device has and shows everything that the relay had stored before the call. While connected, this
   * takes one small message each way.
   *
   * Rejects with `NO_RELAY`, `CLOSED` or the signal's reason, as `whenStored` does.
   */
  whenSynced(options?: { readonly signal?: AbortSignal }): Promise<void>
  /**
   * Connects to this relay, or to the last one if none is passed. If the workspace is on another connection, it leaves
   * that connection first.
   *
   * Throws `NO_RELAY` when no relay was ever passed, `CLOSED` when the workspace or the relay connection is closed,
   * `STORE_IN_USE` when another workspace with this id is on the connection. A call that throws has changed nothing.
   */
  connect(relay?: Relay | RelayOptions): void
  /** Leaves the connection. The workspace works offline until `connect` is called. */
  disconnect(): void
  /** Leaves the connection, waits until running writes are saved, and releases the store. */
  close(): Promise<void>
}
/**
 * An open workspace: its collections under their names, its status and its connection to a relay. Every function is
 * bound.
 */
export type Workspace<C extends Defs> = Core<C> & Disposed & Omit<Collections<C>, keyof Core<C>>

/** The options of `openWorkspace`. */
export interface WorkspaceOptions<C extends Defs> {
  /** The workspace's id, `[A-Za-z0-9_-]{1,64}`. All devices that share the workspace use the same id. */
  readonly id: string
  /** Each collection under its own name. */
  readonly collections: C & { readonly [K in keyof C]: { readonly name: K } }
  /**
   * The store in which the workspace is saved: `nodeStore(folder)`, `indexedDBStore(name)`, `memoryStore()` or a
   * `Store` of your own. Several workspaces may share a store.
   */
  readonly store: object
  /** The relay to connect to at once. Without it, the workspace is local until `connect` is called. */
  readonly relay?: Relay | RelayOptions | undefined
  /** Makes entity ids. By default they are UUIDs of version 7. */
  readonly idFactory?: (() => string) | undefined
  /**
   * For a page: the URL of Automerge's WebAssembly, or its bytes. Without this option the base64 build is imported. In
   * both cases WebAssembly is loaded when a document is first needed.
   */
  readonly wasm?: URL | string | BufferSource | undefined
  /**
   * The most bytes of memory that loaded documents may take while no operation uses them: 64 MiB by default. The memory
   * is estimated: a text takes some 160 bytes a character. The document that was used last is kept in any case.
   */
  readonly documentBytes?: number | undefined
  /**
   * Called when a record on this device was damaged and the library has made it again from the changes, so that an app
   * can log it. May be called before the opening resolves. An error that this function throws does not disturb the
   * workspace.
   */
  readonly onMended?: ((mended: Mended) => void) | undefined
  /** An `Env`, for tests: clock, timers, randomness and network. */
  readonly env?: object | undefined
  /**
   * Aborts the opening, which then rejects with the signal's reason at once, even if the disk does not answer. The
   * store is released as soon as the disk answers; until then, another opening of this workspace waits. Has no effect
   * once the workspace is open.
   */
  readonly signal?: AbortSignal | undefined
}

/**
 * Opens a workspace on this device. When the opening resolves, the rows of the last session can be read. Documents and
 * WebAssembly are loaded when they are needed.
 *
 * A workspace can be open once per store, and once per `relayConnection`: a second opening rejects with `STORE_IN_USE`.
 * Also rejects with `ID_INVALID`, `NAME_MISMATCH` (the key of a collection is not its name), `STORE_FAILED` or
 * `STORE_FORMAT` (the store was written by a newer version).
 */
export async function openWorkspace<const C extends Defs>(options: WorkspaceOptions<C>): Promise<Workspace<C>> {
  const { id, collections, store, relay, signal } = options
  checkId(id, "a workspace's id")
  checkStore(store)
  for (const [key, { name }] of Object.entries<AnyDef>(collections)) {
    if (key !== name)
      throw new HeadwaterError(
        "NAME_MISMATCH",
        `the collection under the key ${key} is named ${name}: give both one name`,
      )
  }
  if (relay !== undefined && !(relay instanceof Connection)) checkUrl(relay.url)
  signal?.throwIfAborted()
  return unlessAborted(open(options, store), signal, (workspace) => {
    workspace.close().catch(() => {}) // the opening was aborted, so no caller can get this error
  })
}

async function open<const C extends Defs>(options: WorkspaceOptions<C>, store: Store): Promise<Workspace<C>> {
  const { id, collections, relay, signal, wasm, documentBytes, onMended } = options
  const env = (options.env ?? systemEnv) as Env
  const life = await beginLife(id, store, relay instanceof Connection ? relay : undefined)
  let release: (() => Promise<void>) | undefined
  let replica: Replica | undefined
  try {
    signal?.throwIfAborted()
    release = await store.claim(id)
    signal?.throwIfAborted()
    const sizes = { ...usualSizes, ...env.sizes, ...(documentBytes !== undefined && { documentBytes }) }
    replica = await openReplica({ id, store, collections, clock: env, sizes, wasm, onMended })
    signal?.throwIfAborted()
    const newId = options.idFactory ?? (() => uuidv7(env, replicaOf(workspace).state.clockAheadMs))
    const workspace: OpenWorkspace<C> = new OpenWorkspace<C>(replica, env, release, life, collections, newId)
    if (relay !== undefined) workspace.connect(relay)
    life.nowOpen()
    return workspace as Workspace<C>
  } catch (error) {
    // If the replica stayed open, its idle work would go on after another workspace has claimed the store.
    for (const undo of [() => replica?.close({ quickly: true }), () => release?.()]) {
      try {
        await undo()
      } catch {} // the caller gets the error that made the opening fail, which says more
    }
    life.end()
    throw error
  }
}

function checkStore(store: object): asserts store is Store {
  for (const method of ["claim", "get", "list", "commit"] as const satisfies (keyof Store)[]) {
    if (typeof (store as Partial<Store> | undefined)?.[method] === "function") continue
    throw new HeadwaterError(
      "STORE_FAILED",
      `not a store, it has no function ${method}: pass nodeStore(folder), indexedDBStore(name) or memoryStore()`,
    )
  }
}

const replicas = new WeakMap<object, Replica>()

/**
 * Returns the replica of a workspace. Only tests and `headwater/testing` need it.
 *
 * @internal
 */
export function replicaOf(workspace: object): Replica {
  const replica = replicas.get(workspace)
  if (replica === undefined) throw new TypeError("not an open workspace")
  return replica
}

class OpenWorkspace<C extends Defs> {
  readonly id: string
  readonly collections: Collections<C>
  readonly #replica: Replica
  readonly #env: Env
  readonly #sync: Sync
  readonly #status: WorkspaceStatus
  readonly #waiting: Waiting
  readonly #documents: OpenDocuments
  readonly #release: () => Promise<void>
  readonly #life: Life
  /** The connection to the relay that was passed last; undefined if none was passed. */
  #connection: Connection | undefined
  /** Whether this workspace made `#connection`. Such a connection is not shared, and is closed with the workspace. */
  #ownsConnection = false
  /** Detaches this workspace from `#connection`; undefined while the workspace is not attached to it. */
  #detach: (() => void) | undefined
  #stopListeningForClose: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(replica: Replica, env: Env, release: () => Promise<void>, life: Life, defs: C, newId: () => string) {
    this.#life = life
    this.id = replica.id
    this.#replica = replica
    replicas.set(this, replica)
    this.#env = env
    this.#release = release
    this.#sync = new Sync(replica, env, () => {
      this.#status.refresh()
      this.#waiting.look()
    })
    this.#waiting = new Waiting(replica, this.#sync)
    this.#documents = new OpenDocuments(replica)
    const opened = Object.entries<AnyDef>(defs).map(([name, def]) => [
      name,
      openCollection(replica, def, newId, this.#documents),
    ])
    this.collections = Object.freeze(Object.fromEntries(opened)) as Collections<C>
    this.#status = new WorkspaceStatus(
      replica,
      () => this.#sync.status,
      () => this.#connection !== undefined,
    )
    replica.onCommit(() => this.#status.refresh())
    for (const bound of ["onStatus", "whenStored", "whenSynced", "connect", "disconnect", "close"] as const) {
      Object.defineProperty(this, bound, { value: this[bound].bind(this) })
    }
    for (const [name, collection] of Object.entries(this.collections)) {
      if (!(name in this)) Object.defineProperty(this, name, { value: collection, enumerable: true })
    }
  }

  get status(): Status {
    return this.#status.current
  }

  onStatus(f: (status: Status) => void): () => void {
    return this.#status.listen(f)
  }

  connect(relay?: Relay | RelayOptions): void {
    if (this.#closing !== undefined) throw new HeadwaterError("CLOSED", "the workspace is closed: open it again")
    const next =
      relay === undefined
        ? this.#connection
        : relay instanceof Connection
          ? relay
          : new Connection(relay as RelayOptions)
    if (next === undefined) throw new HeadwaterError("NO_RELAY", "no relay was passed yet: pass one to connect")
    if (next === this.#connection && this.#detach !== undefined && !next.closed) return next.wake()
    next.throwUnlessFree(this.id) // comes first, because a call that throws must change nothing
    this.#hangUp()
    if (relay !== undefined) this.#ownsConnection = next !== relay
    this.#stopListeningForClose?.()
    this.#stopListeningForClose = next.onClose(() => this.#waiting.giveUp("the relay connection was closed"))
    this.#connection = next
    this.#life.connection = next
    this.#detach = next.attach(this.id, this.#sync, this.#env)
  }

  disconnect(): void {
    this.#hangUp()
    this.#status.refresh()
  }

  #hangUp(): void {
    this.#detach?.()
    this.#detach = undefined
    this.#sync.stop()
  }

  async whenStored({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#throwUnlessRelay()
    await this.#waiting.untilStored(signal)
  }

  async whenSynced({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.#throwUnlessRelay()
    await this.#waiting.untilSynced(signal)
  }

  #throwUnlessRelay(): void {
    if (this.#closing !== undefined) throw new HeadwaterError("CLOSED", "the workspace is closed: open it again")
    if (this.#connection === undefined) {
      throw new HeadwaterError("NO_RELAY", "this workspace has no relay: pass one to openWorkspace or connect")
    }
    if (this.#connection.closed) {
      throw new HeadwaterError("CLOSED", "the relay connection was closed: connect with a new one")
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#closeOnce().finally(() => this.#life.end())
    this.#life.closed ??= this.#closing.catch(() => {})
    return this.#closing
  }

  async #closeOnce(): Promise<void> {
    this.#hangUp()
    this.#sync.end()
    this.#stopListeningForClose?.()
    if (this.#ownsConnection) await this.#connection?.close()
    this.#waiting.giveUp("the workspace was closed")
    try {
      await this.#documents.close()
      await this.#replica.close()
    } finally {
      await this.#release()
      this.#status.refresh()
      this.#status.end()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
