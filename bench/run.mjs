// `npm run bench` runs all benchmarks, `npm run bench -- relay-fanout open` the named ones, each in a process of its
// own, on what `npm run build` has built. Figures are compared with bare programs that are measured in the same run.
import { spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { rm } from "node:fs/promises"
import os from "node:os"
import path from "node:path"
import { build } from "esbuild"

const all = [
  "edit-bytes",
  "local-write",
  "typing-heap",
  "idle-reconnect",
  "open",
  "open-in-browser",
  "first-sync-in-browser",
  "editor-in-browser",
  "relay-writes",
  "relay-fanout",
  "relay-slow-disk",
  "relay-memory",
  "peer-idle",
  "size",
]
const names = process.argv.slice(2)
for (const name of names)
  if (!all.includes(name)) throw new Error(`there is no benchmark ${name}; choose of ${all.join(", ")}`)

const here = import.meta.dirname
for (const built of ["../dist/index.js", "../relay/dist/index.js"]) {
  if (existsSync(path.join(here, built))) continue
  console.error(`${built} does not exist; run npm run build first`)
  process.exit(1)
}
const outdir = path.join(here, "dist")
await rm(outdir, { recursive: true, force: true })
await build({
  absWorkingDir: here,
  entryPoints: [...all, "bare-server", "slow-relay", "wire-clients", "open-once"].map((name) => `${name}.ts`),
  outdir,
  bundle: true,
  packages: "external",
  // Without tsconfig's paths, the packages' names mean the built packages and not their sources.
  tsconfigRaw: {},
  platform: "node",
  format: "esm",
  target: "node20",
})

console.log(`Node ${process.version}, ${os.cpus().length} cores, load ${os.loadavg()[0].toFixed(1)}; median (min..max)`)
let failed = 0
for (const name of names.length > 0 ? names : all) {
  console.log(`\n${name}`)
  const { status } = spawnSync(process.execPath, [path.join(outdir, `${name}.js`)], { stdio: "inherit" })
  if (status !== 0) failed++
}
process.exit(failed > 0 ? 1 : 0)
