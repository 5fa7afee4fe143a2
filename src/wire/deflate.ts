/** Deflates bytes (RFC 1951), synchronously. `inflate.ts` inflates the result of any deflater. */

interface NodeZlib {
  deflateRawSync(bytes: Uint8Array, options: object): Uint8Array
}
interface Host {
  readonly process?: { getBuiltinModule?(name: "node:zlib"): NodeZlib | undefined }
}
/**
 * Node's zlib, which deflates a kilobyte in a quarter of fflate's time; undefined in a page. It is loaded in this way
 * so that bundlers do not see an import.
 */
const native = (globalThis as Host).process?.getBuiltinModule?.("node:zlib")

/** Up to this many bytes, zlib deflates with the sizes of `small`. The result is at most a few bytes longer. */
const SMALL = 2 ** 12
/**
 * With its usual sizes, zlib allocates and clears 256 kB of memory in each call, which takes several times as long as
 * deflating a kilobyte. `chunkSize`: the size of the buffers for the result, bytes.
 */
const small = { windowBits: 12, memLevel: 5, chunkSize: SMALL }
const usual = {}

/** fflate's deflater, once it is loaded. */
let loaded: ((bytes: Uint8Array) => Uint8Array) | undefined
let isLoading = false

/**
 * Loads fflate. A page needs it for its first write, and not to show a list. To evaluate it takes 10 ms of a page's
 * first turn. After a failure, the next call tries again: the page may be offline, without the file in its cache.
 */
function load(): void {
  if (isLoading) return
  isLoading = true
  import("./fflate.ts").then(
    ({ deflateSync }) => {
      loaded = (bytes) => deflateSync(bytes)
    },
    () => {
      isLoading = false
    },
  )
}

/**
 * Returns the bytes in deflated form; undefined while the deflater is being loaded, which the first call in a page
 * begins. The result need not be shorter, and differs between platforms.
 */
export const deflate: (bytes: Uint8Array) => Uint8Array | undefined = native
  ? (bytes) => native.deflateRawSync(bytes, bytes.length <= SMALL ? small : usual)
  : (bytes) => {
      if (loaded === undefined) load()
      return loaded?.(bytes)
    }
