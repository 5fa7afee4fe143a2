/**
 * Lets the opening of a workspace wait until this page (or Node process) has closed the same workspace. React's
 * StrictMode, a hot reload or an aborted opening make an app open, close and open a workspace quickly. Without the
 * wait, the second opening would fail, because the first workspace is not closed yet. The second opening still fails if
 * the first workspace stays open.
 */
import type { Store } from "../store/store.ts"

/** The life of one workspace of this page: from the beginning of its opening to the end of its closing. */
export class Life {
  readonly id: string
  readonly store: Store
  /**
   * The relay connection of the workspace; undefined before the first. A connection can have only one workspace of each
   * id.
   */
  connection: object | undefined
  /** Resolves when the workspace is open, or could not be opened. */
  readonly opened: Promise<void>
  /** Resolves when the workspace is closed; undefined before `close` is called. */
  closed: Promise<void> | undefined
  #setOpened: () => void = () => {}

  constructor(id: string, store: Store, connection: object | undefined) {
    this.id = id
    this.store = store
    this.connection = connection
    this.opened = new Promise((resolve) => {
      this.#setOpened = resolve
    })
  }

  nowOpen(): void {
    this.#setOpened()
  }

  /** Call when the workspace is closed, or could not be opened. */
  end(): void {
    lives.delete(this)
    this.#setOpened()
  }
}

/** The lives that have not ended. */
const lives = new Set<Life>()

/** An app's code that awaits an opening runs within this many microtasks after the opening has ended. */
const TURN = 50

/**
 * Begins the life of a workspace. First waits while this page opens or closes a workspace that is in its way
 * (`inTheWay`).
 */
export async function beginLife(id: string, store: Store, connection: object | undefined): Promise<Life> {
  const next = () => inTheWay(id, store, connection)
  for (let other = next(); other !== undefined; other = next()) {
    await other.opened
    // An app may await the other opening only to close that workspace at once. If so, it calls `close` within these
    // microtasks.
    for (let i = 0; i < TURN; i++) await undefined
    if (!lives.has(other)) continue
    if (other.closed === undefined) break // the other workspace stays open, so `claim` or `connect` will fail
    await other.closed
  }
  const life = new Life(id, store, connection)
  lives.add(life)
  return life
}

/**
 * Finds the life of a workspace that must be closed before this one can open:
 *
 * - a workspace with the same id on the same connection,
 * - a workspace with the same id on the same data,
 * - any workspace of another store object over the same data, because that store may have to be closed first.
 */
function inTheWay(id: string, store: Store, connection: object | undefined): Life | undefined {
  for (const life of lives) {
    if (connection !== undefined && life.connection === connection && life.id === id) return life
    const samePlace = life.store === store || (store.place !== undefined && life.store.place === store.place)
    if (samePlace && (life.id === id || life.store !== store)) return life
  }
  return undefined
}
