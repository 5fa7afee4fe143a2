// Builds the npm package: two entry files, which include the few files that the relay shares with the library, and one
// declaration file. So the published package depends on ws only, and refers to no file outside itself.
import { execFileSync } from "node:child_process"
import { chmod, copyFile, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { build } from "esbuild"

const here = import.meta.dirname
const outdir = path.resolve(here, process.argv[2] ?? "dist")

await rm(outdir, { recursive: true, force: true })
await build({
  entryPoints: [path.join(here, "index.ts"), path.join(here, "main.ts")],
  outdir,
  bundle: true,
  splitting: true,
  chunkNames: "relay-[hash]",
  platform: "node",
  format: "esm",
  target: "node20.19",
  external: ["ws"],
})
await chmod(path.join(outdir, "main.js"), 0o755)

const types = await mkdtemp(path.join(tmpdir(), "headwater-relay-types-"))
try {
  const options = ["--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--rootDir", "..", "--outDir", types]
  execFileSync(process.execPath, [tsc(), "-p", path.join(here, "tsconfig.build.json"), ...options], {
    cwd: here,
    stdio: "inherit",
  })
  await copyFile(path.join(types, "relay/index.d.ts"), path.join(outdir, "index.d.ts"))
} finally {
  await rm(types, { recursive: true, force: true })
}

function tsc() {
  return path.join(here, "../node_modules/typescript/bin/tsc")
}
