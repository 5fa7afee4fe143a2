/** Deflates bytes (RFC 1951), synchronously. `inflate.ts` reads what any deflater has written. */
import { deflateSync } from "fflate"

interface NodeZlib {
  deflateRawSync(bytes: Uint8Array, options: object): Uint8Array
}
interface Host {
  readonly process?: { getBuiltinModule?(name: "node:zlib"): NodeZlib | undefined }
}
/**
 * Node's own function takes a quarter of fflate's time for a kilobyte. It is loaded in this way so that bundlers do not
 * see an import.
 */
const native = (globalThis as Host).process?.getBuiltinModule?.("node:zlib")

/** Sequences of this many bytes or fewer are deflated in less memory; the result is at most a few bytes longer. */
const SMALL = 2 ** 12
/**
 * With its usual sizes, zlib takes 256 kB of memory for each call and clears them. That takes several times as long as
 * deflating a kilobyte. `chunkSize`: the size of the buffers for the result, bytes.
 */
const small = { windowBits: 12, memLevel: 5, chunkSize: SMALL }
const usual = {}

/** Returns the bytes in deflated form. The result need not be shorter, and differs between platforms. */
export const deflate: (bytes: Uint8Array) => Uint8Array = native
  ? (bytes) => native.deflateRawSync(bytes, bytes.length <= SMALL ? small : usual)
  : (bytes) => deflateSync(bytes)
