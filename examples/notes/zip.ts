/**
 * Returns a ZIP archive without compression (PKWARE APPNOTE 6.3, method 0, names in UTF-8), for browsers without a
 * folder picker. It holds at most 65,535 files and 4 GiB, because it has no ZIP64 records.
 */
export function zip(files: readonly { readonly path: string; readonly text: string }[]): Blob {
  const utf8 = new TextEncoder()
  const parts: Uint8Array<ArrayBuffer>[] = []
  const directory: Uint8Array<ArrayBuffer>[] = []
  let offset = 0
  for (const { path, text } of files) {
    const name = utf8.encode(path)
    const content = utf8.encode(text)
    // version needed: 2.0; flags: bit 11, the name is UTF-8; method: stored; time and date: 1980-01-01 00:00
    const common = [u16(20), u16(0x800), u16(0), u16(0), u16(0x21), u32(crc32(content))]
    const described = [...common, u32(content.length), u32(content.length), u16(name.length), u16(0)]
    const header = join([u32(0x04034b50), ...described, name])
    directory.push(join([u32(0x02014b50), u16(20), ...described, u16(0), u16(0), u16(0), u32(0), u32(offset), name]))
    parts.push(header, content)
    offset += header.length + content.length
  }
  const size = directory.reduce((sum, record) => sum + record.length, 0)
  const count = u16(files.length)
  const end = join([u32(0x06054b50), u16(0), u16(0), count, count, u32(size), u32(offset), u16(0)])
  return new Blob([...parts, ...directory, end], { type: "application/zip" })
}

const u16 = (n: number) => new Uint8Array([n, n >> 8])
const u32 = (n: number) => new Uint8Array([n, n >> 8, n >> 16, n >> 24])

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1
  return c
})

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff]!
  return ~crc
}
