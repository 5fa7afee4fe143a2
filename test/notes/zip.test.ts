import { crc32 } from "node:zlib"
import { expect, it } from "vitest"
import { zip } from "../../examples/notes/zip.ts"

/** Reads an archive by its central directory, as unpackers do, and checks that both headers of each file agree. */
async function unzip(blob: Blob): Promise<Record<string, string>> {
  const bytes = Buffer.from(await blob.arrayBuffer())
  const end = bytes.length - 22
  expect(bytes.readUInt32LE(end)).toBe(0x06054b50)
  const files: Record<string, string> = {}
  let at = bytes.readUInt32LE(end + 16)
  expect(at + bytes.readUInt32LE(end + 12)).toBe(end)
  for (let n = bytes.readUInt16LE(end + 10); n > 0; n--) {
    expect(bytes.readUInt32LE(at)).toBe(0x02014b50)
    const [size, nameSize, local] = [
      bytes.readUInt32LE(at + 24),
      bytes.readUInt16LE(at + 28),
      bytes.readUInt32LE(at + 42),
    ]
    expect(bytes.readUInt32LE(local)).toBe(0x04034b50)
    expect(bytes.subarray(local + 4, local + 30)).toEqual(bytes.subarray(at + 6, at + 32))
    const content = bytes.subarray(local + 30 + nameSize, local + 30 + nameSize + size)
    expect(bytes.readUInt32LE(at + 16)).toBe(crc32(content))
    files[bytes.toString("utf8", at + 46, at + 46 + nameSize)] = content.toString("utf8")
    at += 46 + nameSize
  }
  return files
}

it("an exported archive holds every file under its path", async () => {
  const files = { "a.md": "one", "work/über 🙂.md": "# Ü\n", "empty.md": "", "long.md": "x".repeat(100_000) }
  const archive = zip(Object.entries(files).map(([path, text]) => ({ path, text })))
  expect(await unzip(archive)).toEqual(files)
  expect(await unzip(zip([]))).toEqual({})
})
