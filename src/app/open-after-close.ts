/**
 * The workspaces of this page, each from the beginning of its opening to the end of its closing. When a page opens,
 * closes and opens a workspace again (React's StrictMode, a hot reload, an aborted opening), the second opening waits
 * for the end of the first. Only a workspace that is open, and stays so, keeps another from opening.
 */
import type { Store } from "../store/store.ts"

export class Life {
  readonly id: string
  readonly store: Store
  /** The connection to a relay that the workspace is on, or will be. One workspace of an id can be on it. */
  connection: object | undefined
  /** Settles when the workspace is open, or could not be opened. */
  readonly opened: Promise<void>
  /** Settles when the workspace is closed; undefined before `close` is called. */
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

/** How many microtasks it takes at most until those who wait for an opening have heard of its end. */
const TURN = 50

/**
 * Begins the life of a workspace, once no other on the same data, or of the same id on the same connection, is being opened
 * or closed in this page.
 */
export async function beginLife(id: string, store: Store, connection: object | undefined): Promise<Life> {
  const next = () => inTheWay(id, store, connection)
  for (let other = next(); other !== undefined; other = next()) {
    await other.opened
    // An app that waited for that opening in order to close the workspace at once does so in this turn.
    for (let i = 0; i < TURN; i++) await undefined
    if (!lives.has(other)) continue
    if (other.closed === undefined) break // it stays open: claiming the store fails, or connecting
    await other.closed
  }
  const life = new Life(id, store, connection)
  lives.add(life)
  return life
}

/**
 * Finds another life on the same data: of the same workspace, or of another store object, which may have to be closed
 * first. Or one that takes the workspace's place on its connection.
 */
function inTheWay(id: string, store: Store, connection: object | undefined): Life | undefined {
  for (const life of lives) {
    if (connection !== undefined && life.connection === connection && life.id === id) return life
    const samePlace = life.store === store || (store.place !== undefined && life.store.place === store.place)
    if (samePlace && (life.id === id || life.store !== store)) return life
  }
  return undefined
}
