/**
 * Reads a file that has bad sectors, with zeros in their place. All records and index blocks have checksums, so the
 * zeros are detected like any other damage: an index is made again, an entry is skipped and reported. If such a read
 * failed instead, one bad sector would make the whole workspace unreadable for good.
 */
import type { DiskFile } from "../../machine/disk.ts"

/** Bytes that a disk reads or loses as one unit. */
export const SECTOR_BYTES = 4096

/**
 * Reads as `DiskFile.read` does. `onBad`: called with the number of each sector that cannot be read. Rejects when the
 * file can be read at none of three places: then the whole disk has probably failed, and the state of the file is
 * unknown.
 */
export async function readAround(
  file: DiskFile,
  at: number,
  length: number,
  into?: Uint8Array,
  onBad: (sector: number) => void = () => {},
): Promise<Uint8Array> {
  try {
    return await file.read(at, length, into)
  } catch (error) {
    if (!isBadSector(error) || !(await isReadable(file))) throw error
  }
  const end = Math.max(at, Math.min(at + length, await file.size()))
  const bytes = (into ?? new Uint8Array(end - at)).subarray(0, end - at)
  for (let from = at; from < end; ) {
    const sector = Math.floor(from / SECTOR_BYTES)
    const to = Math.min(end, (sector + 1) * SECTOR_BYTES)
    const piece = bytes.subarray(from - at, to - at)
    try {
      await file.read(from, piece.length, piece)
    } catch (error) {
      if (!isBadSector(error)) throw error
      piece.fill(0)
      onBad(sector)
    }
    from = to
  }
  return bytes
}

/** Whether the file can be read at its beginning, its end or its middle. */
async function isReadable(file: DiskFile): Promise<boolean> {
  const size = await file.size()
  for (const at of [0, size - 1, size >> 1]) {
    const read = await file.read(Math.max(0, at), 1).catch((error) => {
      if (!isBadSector(error)) throw error
    })
    if (read) return true
  }
  return false
}

/**
 * Whether the error says that the disk has failed at one place. A write to a part of a bad block also fails with this
 * error, because the system first reads the block.
 */
export const isBadSector = (error: unknown) => (error as NodeJS.ErrnoException).code === "EIO"
