import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import path from "node:path"
import { createInterface } from "node:readline"
import { build } from "esbuild"

const root = path.resolve(import.meta.dirname, "../../..")

/** Bundles `test/support/store/child.ts` into one script that a bare Node runs. */
async function script(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [path.join(import.meta.dirname, "child.ts")],
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    write: false,
  })
  return outputFiles[0]?.text ?? ""
}

export interface Child {
  readonly process: ChildProcess
  readonly lines: AsyncIterableIterator<string>
  /** Resolves when the process has ended and everything that it printed was read. */
  readonly ended: Promise<unknown>
}

/**
 * Starts a process that does `what` with a store in `folder`. `limit` is the largest length of its files in the blocks
 * of `ulimit -f`, which have 512 or 1,024 bytes.
 */
export async function storeProcess(what: string, folder: string, limit = "unlimited"): Promise<Child> {
  const run = `ulimit -f ${limit}; exec "$0" "$@"`
  const node = [process.execPath, "--input-type=module", "--eval", await script(), "--", what, folder]
  const child = spawn("sh", ["-c", run, ...node], { cwd: root, stdio: ["ignore", "pipe", "inherit"] })
  const ended = once(child, "close")
  return { process: child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator](), ended }
}
