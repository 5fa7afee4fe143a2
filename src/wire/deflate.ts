/** Deflates bytes (RFC 1951), synchronously. `inflate.ts` reads what any deflater has written. */
import { deflateSync } from "fflate"

interface NodeZlib {
  deflateRawSync(bytes: Uint8Array): Uint8Array
}
interface Host {
  readonly process?: { getBuiltinModule?(name: "node:zlib"): NodeZlib | undefined }
}
/**
 * Node's own function takes a quarter of fflate's time for a kilobyte. It is loaded in this way so that bundlers do not
 * see an import.
 */
const native = (globalThis as Host).process?.getBuiltinModule?.("node:zlib")

/** Returns the bytes in deflated form. The result need not be shorter, and differs between platforms. */
export const deflate: (bytes: Uint8Array) => Uint8Array = native
  ? (bytes) => native.deflateRawSync(bytes)
  : (bytes) => deflateSync(bytes)
