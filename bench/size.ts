/** Prints the numbers of source files and lines, and the bytes on disk that an install of each package takes. */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs"
import path from "node:path"

const root = path.join(import.meta.dirname, "../..")

for (const folder of ["src", "relay"]) {
  const files = readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !/(^|\/)(dist|node_modules)\//.test(name))
    .map((name) => ({ name, lines: readFileSync(path.join(root, folder, name), "utf8").split("\n").length - 1 }))
    .sort((a, b) => b.lines - a.lines)
  const total = files.reduce((sum, { lines }) => sum + lines, 0)
  const longest = files.slice(0, 5).map(({ name, lines }) => `${name} ${lines}`)
  console.log(`  ${folder}: ${files.length} files, ${total} lines, the longest: ${longest.join(", ")}`)
}

interface Manifest {
  readonly dependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly peerDependencies?: Record<string, string>
}
const manifest = (folder: string) => JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as Manifest

/** Returns the folder in which Node finds a package that is imported from the folder `from`. */
function find(name: string, from: string): string | undefined {
  for (let folder = from; folder.startsWith(root); folder = path.dirname(folder)) {
    const found = path.join(folder, "node_modules", name)
    if (existsSync(found)) return found
  }
  return undefined
}

/** Returns the folders of all packages that a package needs, directly or through others. */
function dependencies(from: string, needed: Record<string, string>, found = new Set<string>()): Set<string> {
  for (const name of Object.keys(needed)) {
    const folder = find(name, from)
    if (folder === undefined || found.has(folder)) continue
    found.add(folder)
    const { dependencies: its = {}, optionalDependencies: maybe = {} } = manifest(folder)
    dependencies(folder, { ...its, ...maybe }, found)
  }
  return found
}

const bytes = (folder: string): number =>
  readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    if (entry.name === "node_modules") return sum
    const at = path.join(folder, entry.name)
    return sum + (entry.isDirectory() ? bytes(at) : statSync(at).size)
  }, 0)

const kB = (size: number) => `${Math.round(size / 1000).toLocaleString("en")} kB`
for (const [name, folder] of [
  ["headwater", root],
  ["headwater-relay", path.join(root, "relay")],
] as const) {
  const json = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: folder,
    encoding: "utf8",
  })
  const [packed] = JSON.parse(json) as { size: number; unpackedSize: number; entryCount: number }[]
  const own = manifest(folder)
  const beside = dependencies(folder, { ...own.dependencies, ...own.optionalDependencies })
  const peers = dependencies(folder, own.peerDependencies ?? {})
  const sum = (folders: Set<string>) => [...folders].reduce((total, one) => total + bytes(one), 0)
  console.log(
    `  ${name}: ${kB(packed!.size)} packed, ${kB(packed!.unpackedSize)} installed (${packed!.entryCount} files)`,
  )
  console.log(`    with ${beside.size} packages that it depends on: ${kB(packed!.unpackedSize + sum(beside))}`)
  if (peers.size > 0) console.log(`    and its peer, Automerge: ${kB(sum(peers))}`)
}
