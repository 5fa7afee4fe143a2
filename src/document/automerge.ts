/**
 * Imports Automerge, which no other file does. Imports it only at first use, because a list of rows needs no
 * WebAssembly.
 *
 * A hydrated entity works on Automerge's own handle (`getBackend`), not on the plain object that Automerge makes of a
 * document. So a write costs half as much as with `A.change`: Automerge compares nothing and makes no proxy.
 */
import type * as Automerge from "@automerge/automerge"
import { HeadwaterError } from "../base/errors.ts"
import type { Actor } from "../wire/protocol.ts"

type Api = typeof Automerge
export type Handle = ReturnType<Api["getBackend"]>
/** A document as Automerge's JavaScript object. */
export type Doc = Automerge.Doc<Record<string, unknown>>
export type { Patch } from "@automerge/automerge"

let api: Api | undefined
let loading: Promise<Api> | undefined

/**
 * Loads Automerge, once. After a failure, the next call tries again: a page that is offline may not have the file in
 * its cache, say. `wasm`: the URL of `@automerge/automerge/automerge.wasm` for a browser, or the bytes of that file.
 * Without `wasm`, the base64 build is imported. Throws `WASM_FAILED`.
 */
export async function loadAutomerge(wasm?: URL | string | BufferSource): Promise<void> {
  loading ??= load(wasm)
  try {
    api = await loading
  } catch (cause) {
    loading = undefined
    throw new HeadwaterError("WASM_FAILED", "Automerge could not be loaded: see the cause", { cause })
  }
}

async function load(wasm: URL | string | BufferSource | undefined): Promise<Api> {
  // The name is not a literal, so that no bundler follows the import: the file that bundlers take for
  // "@automerge/automerge" imports WebAssembly as a module, which Vite and esbuild refuse. Where the name resolves at
  // run time (Node, Deno, Bun, an import map), the library gets the same module as the app's own imports of Automerge.
  // A browser without an import map rejects the name without a request to the network.
  const installed = "@automerge/automerge"
  try {
    return await (import(/* @vite-ignore */ /* webpackIgnore: true */ installed) as Promise<Api>)
  } catch {
    const slim: Api = await import("@automerge/automerge/slim")
    // The app may have initialised Automerge already, in its own way. A second initialisation would separate the app's
    // documents from the library's.
    if (!slim.isWasmInitialized()) await slim.initializeWasm(await source(wasm))
    return slim
  }
}

async function source(wasm: URL | string | BufferSource | undefined): Promise<Uint8Array | string> {
  if (typeof wasm === "string") return wasm
  // No `instanceof`, because URL and bytes may come from another realm, as in a test whose page has its own globals.
  if (wasm !== undefined && "href" in wasm) return wasm.href
  if (wasm !== undefined && "buffer" in wasm) return new Uint8Array(wasm.buffer, wasm.byteOffset, wasm.byteLength)
  if (wasm !== undefined) return new Uint8Array(wasm)
  const { automergeWasmBase64 } = await import("@automerge/automerge/automerge.wasm.base64")
  const binary = atob(automergeWasmBase64)
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i)
  return bytes
}

/** Automerge's module. Throws `WASM_FAILED` before `loadAutomerge` has resolved. */
export function automerge(): Api {
  if (api === undefined)
    throw new HeadwaterError("WASM_FAILED", "Automerge is used before it is loaded: await loadAutomerge() first")
  return api
}

/**
 * Returns the build of Automerge: the first 12 digits of its commit's hash. A verdict on a chunk is saved with the
 * build that gave it; another build judges the chunk again.
 */
export function automergeVersion(): string {
  const { js, wasm } = automerge().releaseInfo()
  return (wasm ?? js).gitHead.slice(0, 12)
}

/**
 * The actor of documents that nobody writes to. Also takes the place of the author in a derived change until the
 * derived actor is known.
 */
export const NOBODY: Actor = "0".repeat(32)

/** Makes a new empty document, to which `actor` writes. Free it with `handle.free()`. */
export function newHandle(actor: Actor = NOBODY): Handle {
  const A = automerge()
  return A.getBackend(A.init({ actor }))
}

/** Frees a document after something went wrong in it. If WebAssembly has panicked, the memory may not be freed. */
export function discard(handle: Handle | undefined): void {
  try {
    handle?.free()
  } catch {
    // The document is not used again either way.
  }
}
