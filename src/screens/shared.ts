/**
 * Lets everybody who needs the same thing (a workspace, a handle) share one: it is opened for its first user, and closed
 * after its last user has gone.
 */

/** How a thing is opened and closed. */
export interface Opening<T> {
  open(): Promise<T>
  close(thing: T): Promise<void>
  /** Calls `f` when a thing that still has no user may be closed. */
  later(f: () => void): void
}

/**
 * All shared things, by owner and id. They are kept at `globalThis` and not in this module: when a development server
 * replaces this module, or when an app has two copies of it, the new copy must find what the old one has opened.
 */
const all: Map<unknown, Map<string, Shared<any>>> = ((globalThis as Record<symbol, any>)[
  Symbol.for("headwater.shared")
] ??= new Map())

/** Returns what is shared under `owner` and `id`; null until it is open. Throws the error of its opening. */
export function shared<T>(owner: unknown, id: string): T | null {
  const found: Shared<T> | undefined = all.get(owner)?.get(id)
  if (found?.failure !== undefined) throw found.failure.error
  return found?.thing ?? null
}

/**
 * Becomes a user of what is shared under `owner` and `id`, and opens it if nobody has. `f` is called when it is open, and
 * when it could not be opened. Returns the function that ends the use.
 */
export function use<T>(owner: unknown, id: string, opening: Opening<T>, f: () => void): () => void {
  let ofOwner = all.get(owner)
  if (ofOwner === undefined) all.set(owner, (ofOwner = new Map()))
  let found = ofOwner.get(id)
  if (found === undefined) {
    const forget = () => {
      ofOwner.delete(id)
      if (ofOwner.size === 0 && all.get(owner) === ofOwner) all.delete(owner)
    }
    ofOwner.set(id, (found = new Shared(opening, forget)))
  }
  return found.use(f)
}

class Shared<T> {
  thing: T | undefined
  /** Why it could not be opened. */
  failure: { readonly error: unknown } | undefined
  readonly #opening: Opening<T>
  readonly #forget: () => void
  readonly #opened: Promise<T>
  /** For each user, the function that tells it of the end of the opening. */
  readonly #users = new Set<() => void>()
  /** How often the last user has gone. */
  #left = 0

  constructor(opening: Opening<T>, forget: () => void) {
    this.#opening = opening
    this.#forget = forget
    this.#opened = opening.open()
    this.#opened.then(
      (thing) => {
        this.thing = thing
        for (const f of this.#users) f()
      },
      (error) => {
        this.failure = { error }
        if (this.#users.size === 0) forget()
        for (const f of this.#users) f()
      },
    )
  }

  use(f: () => void): () => void {
    const user = () => f()
    this.#users.add(user)
    return () => {
      this.#users.delete(user)
      if (this.#users.size > 0) return
      if (this.failure !== undefined) return this.#forget() // the next user tries again
      const left = ++this.#left
      this.#opening.later(() => {
        if (this.#users.size > 0 || this.#left !== left || this.failure !== undefined) return
        this.#forget()
        // An error of the closing is an unhandled rejection, because nobody is left to hear of it.
        void this.#opened.then(this.#opening.close, () => {})
      })
    }
  }
}
