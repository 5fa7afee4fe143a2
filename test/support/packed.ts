/** Packages as they are published: packed from this repository, and installed in a folder of their own. */
import { execFile } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import path from "node:path"
import { promisify } from "node:util"

const run = promisify(execFile)

export interface Packed {
  readonly filename: string
  readonly size: number
  readonly files: readonly { readonly path: string }[]
}

/** Packs the files that `npm run build` has built. A build here would remove files that other tests are using. */
export async function pack(from: string, into: string): Promise<Packed> {
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", into]
  const { stdout } = await run("npm", args, { cwd: from, maxBuffer: 1e8 })
  const [packed] = JSON.parse(stdout) as [Packed]
  return packed
}

/** Makes a folder with a package.json, and installs these packages in it. */
export async function install(into: string, type: "module" | "commonjs", ...packages: string[]): Promise<void> {
  mkdirSync(into)
  writeFileSync(path.join(into, "package.json"), JSON.stringify({ private: true, type }))
  await run("npm", ["install", "--no-audit", "--no-fund", ...packages], { cwd: into })
}
