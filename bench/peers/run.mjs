/**
 * `npm run bench:peers`: installs the peers if they are missing, builds Headwater, and plays the works. `npm ci` in the
 * root does not install the peers, because building and testing Headwater does not need them.
 */
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import path from "node:path"
import { build } from "esbuild"

const here = import.meta.dirname
const root = path.join(here, "../..")
const must = (command, args) => {
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit" })
  if (status !== 0) process.exit(status ?? 1)
}
// Where there is no prebuilt binary of better-sqlite3 for this Node, npm compiles it, which takes minutes.
if (!existsSync(path.join(here, "node_modules"))) must("npm", ["ci", "--prefix", here])
must("npm", ["run", "-s", "build"])

const outfile = path.join(here, "../dist/peers.js")
await build({
  absWorkingDir: here,
  entryPoints: ["main.ts"],
  outfile,
  bundle: true,
  packages: "external",
  tsconfigRaw: {},
  platform: "node",
  format: "esm",
  target: "node20",
  logLevel: "warning",
})
must(process.execPath, [outfile, ...process.argv.slice(2)])
