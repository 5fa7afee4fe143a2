/**
 * Keeps the workspaces of this page, each for its life: from the beginning of its opening to the end of its closing.
 * When a page opens, closes and opens a workspace again (React's StrictMode, a hot reload, an aborted opening), the
 * second opening waits until the first workspace is closed. The second opening fails only if the first workspace stays
 * open.
 */
import type { Store } from "../store/store.ts"

export class Life {
  readonly id: string
  readonly store: Store
  /**
   * The relay connection that the workspace is on, or will be on. A connection can have only one workspace of each id.
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

const lives = new Set<Life>()

/** Within this many microtasks after an opening has ended, the code that awaits the opening has run. */
const TURN = 50

/**
 * Begins the life of a workspace. First waits while this page opens or closes another workspace that uses the same
 * data, or has the same id on the same connection.
 */
export async function beginLife(id: string, store: Store, connection: object | undefined): Promise<Life> {
  const next = () => inTheWay(id, store, connection)
  for (let other = next(); other !== undefined; other = next()) {
    await other.opened
    // An app may await the other opening only to close that workspace at once. It calls `close` during these
    // microtasks.
    for (let i = 0; i < TURN; i++) await undefined
    if (!lives.has(other)) continue
    if (other.closed === undefined) break // the other stays open, so `claim` or `connect` will fail
    await other.closed
  }
  const life = new Life(id, store, connection)
  lives.add(life)
  return life
}

/**
 * Finds the life of a workspace that must be closed before this one can open: the same workspace on the same data, any
 * workspace of another store object over the same data (that store may have to be closed first), or one of the same id
 * on the same connection.
 */
function inTheWay(id: string, store: Store, connection: object | undefined): Life | undefined {
  for (const life of lives) {
    if (connection !== undefined && life.connection === connection && life.id === id) return life
    const samePlace = life.store === store || (store.place !== undefined && life.store.place === store.place)
    if (samePlace && (life.id === id || life.store !== store)) return life
  }
  return undefined
}
