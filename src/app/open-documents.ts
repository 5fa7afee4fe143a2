/** The open documents of a workspace. A page that only lists rows does not load their code. */
import { HeadwaterError } from "../base/errors.ts"
import type { OpenDocument } from "../replica/open-document.ts"
import type { Replica } from "../replica/replica.ts"
import type { AnyDef } from "../schema/schema.ts"
import { checkId } from "./check-id.ts"

interface Open {
  readonly document: Promise<OpenDocument>
  /** The document once it is open. */
  ready?: OpenDocument
  /** How many handles have the document. */
  handles: number
}

/**
 * The open documents of one workspace.
 *
 * @internal
 */
export class OpenDocuments {
  readonly #replica: Replica
  /** By collection and entity. */
  readonly #open = new Map<string, Open>()
  #isClosed = false

  constructor(replica: Replica) {
    this.#replica = replica
  }

  async handle(def: AnyDef, id: string): Promise<object> {
    if (this.#isClosed) throw new HeadwaterError("CLOSED", "the workspace is closed: open it again")
    checkId(id, "an entity's id")
    const name = `${def.name}/${id}`
    let one = this.#open.get(name)
    if (one === undefined) {
      const opening = load().then(({ OpenDocument }) => OpenDocument.open(this.#replica, def, id))
      const made: Open = { document: opening, handles: 0 }
      this.#open.set(name, (one = made))
      made.document.then(
        (document) => {
          made.ready = document
        },
        () => this.#remove(name, made),
      )
    }
    const open = one
    open.handles++
    const document = await open.document
    const { OpenHandle } = await load()
    return new OpenHandle(this.#replica, def, document, () => this.#leave(name, open))
  }

  /** Queues what is on a screen to be saved before the next step, which may be a deletion. */
  flush(def: AnyDef, id: string): void {
    this.#open.get(`${def.name}/${id}`)?.ready?.flush()
  }

  /** Call when a handle closes. If saving fails, the handle stays open, and may be closed again. */
  async #leave(name: string, open: Open): Promise<void> {
    const document = await open.document
    await document.saved()
    if (--open.handles > 0) return
    this.#remove(name, open)
    await document.close()
  }

  #remove(name: string, open: Open): void {
    if (this.#open.get(name) === open) this.#open.delete(name)
  }

  /** Saves what is not saved yet, and closes all documents. What cannot be saved becomes `unsaved`. */
  async close(): Promise<void> {
    this.#isClosed = true
    const close = async (document: OpenDocument) => {
      try {
        await document.close()
      } catch (error) {
        await document.abandon(error)
      }
    }
    await Promise.allSettled([...this.#open.values()].map(async ({ document }) => close(await document)))
    this.#open.clear()
  }
}

/** The module of handles, once it is being loaded. */
let handles: Promise<typeof import("./open-handle.ts")> | undefined

/**
 * Loads the module of handles, once; after a failure, the next call tries again. Throws `WASM_FAILED`: a page that is
 * offline, without the file in its cache, most likely lacks Automerge's file, too.
 */
async function load() {
  handles ??= import("./open-handle.ts")
  try {
    return await handles
  } catch (cause) {
    handles = undefined
    const message = "the library's code for open documents could not be loaded: see the cause"
    throw new HeadwaterError("WASM_FAILED", message, { cause })
  }
}
