/**
 * The one place that imports Automerge, at first use: opening a list of rows needs no WebAssembly. What a hydrated entity
 * works on is Automerge's own handle (`getBackend`), not its materialised document: a write then costs half of
 * `A.change`, because nothing is diffed and no proxy is made.
 */
import type * as Automerge from "@automerge/automerge"
import { HeadwaterError } from "../base/errors.ts"

type Api = typeof Automerge
export type Handle = ReturnType<Api["getBackend"]>

let api: Api | undefined
let loading: Promise<Api> | undefined

/**
 * Loads Automerge, once; after a failure (a page that is offline and has not cached it) the next call tries again.
 * `wasm` says where a browser finds `@automerge/automerge/automerge.wasm`: a URL, or its bytes; without it the base64
 * build is imported. `WASM_FAILED`.
 */
export async function loadAutomerge(wasm?: URL | string | BufferSource): Promise<void> {
  loading ??= load(wasm)
  try {
    api = await loading
  } catch (cause) {
    loading = undefined
    throw new HeadwaterError("WASM_FAILED", "Automerge could not be loaded", { cause })
  }
}

async function load(wasm: URL | string | BufferSource | undefined): Promise<Api> {
  // Not a literal, so that no bundler follows it: what "@automerge/automerge" means to bundlers imports WebAssembly as a
  // module, which Vite and esbuild refuse. Where it resolves at run time (Node, Deno, Bun, an import map) it is the very
  // module that the app gets; a browser rejects a bare name without asking the network.
  const installed = "@automerge/automerge"
  try {
    return await (import(/* @vite-ignore */ /* webpackIgnore: true */ installed) as Promise<Api>)
  } catch {
    const slim: Api = await import("@automerge/automerge/slim")
    // The app may have started it already, in its own way; a second start would take the app's documents apart from ours.
    if (!slim.isWasmInitialized()) await slim.initializeWasm(await source(wasm))
    return slim
  }
}

async function source(wasm: URL | string | BufferSource | undefined): Promise<Uint8Array | string> {
  if (typeof wasm === "string") return wasm
  if (wasm instanceof URL) return wasm.href
  if (wasm instanceof ArrayBuffer) return new Uint8Array(wasm)
  if (wasm !== undefined) return new Uint8Array(wasm.buffer, wasm.byteOffset, wasm.byteLength)
  const { automergeWasmBase64 } = await import("@automerge/automerge/automerge.wasm.base64")
  const binary = atob(automergeWasmBase64)
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i)
  return bytes
}

/** Automerge itself; `loadAutomerge` must have resolved. */
export function automerge(): Api {
  if (api === undefined) throw new HeadwaterError("WASM_FAILED", "Automerge is used before it is loaded")
  return api
}

/** Names the very build: a verdict on a chunk is kept with it and judged again by another one. */
export function automergeVersion(): string {
  const { js, wasm } = automerge().releaseInfo()
  return (wasm ?? js).gitHead.slice(0, 12)
}

/** An empty document of its own, which `actor` writes to. Free it with `handle.free()`. */
export function newHandle(actor: string): Handle {
  const A = automerge()
  return A.getBackend(A.init({ actor }))
}
