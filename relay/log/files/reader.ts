/**
 * Reads the files of logs. All logs of a relay share one reader, which bounds the memory and descriptors of the whole
 * relay.
 */
import type { Disk } from "../../machine/disk.ts"
import type { LogSizes } from "../log-sizes.ts"
import { Blocks } from "./blocks.ts"
import { Buffers } from "./buffers.ts"
import { OpenFiles } from "./open-files.ts"

export class Reader {
  readonly files: OpenFiles
  readonly blocks: Blocks
  readonly buffers: Buffers
  /**
   * The preamble that was unpacked last, with the file and the offset of its record. It is kept because a push may
   * cause a look-up for each of a thousand changes of one record, and unpacking takes up to 1 ms.
   */
  unpacked: { readonly path: string; readonly offset: number; readonly preamble: Buffer } | undefined

  constructor(disk: Disk, sizes: LogSizes) {
    this.files = new OpenFiles(disk, sizes.openFiles)
    this.blocks = new Blocks(this.files, sizes.blockBytes)
    this.buffers = new Buffers(this.files, sizes.bufferBytes, sizes.buffers)
  }

  /** Call it when the file is removed or replaced, or when its log is shut. */
  forget(path: string): void {
    if (this.unpacked?.path === path) this.unpacked = undefined
    this.blocks.forget(path)
    this.files.forget(path)
  }

  async close(): Promise<void> {
    this.blocks.clear()
    await this.files.close()
  }
}
