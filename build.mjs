// Builds the library's package. Each entry is one file, with the files that several of them share beside it, because
// Node takes a tenth of a second to find and load 140 files one by one. TypeScript writes the declarations only.
import { execFileSync } from "node:child_process"
import { rm } from "node:fs/promises"
import path from "node:path"
import { rolldown } from "rolldown"

const here = import.meta.dirname
const outdir = path.join(here, "dist")

await rm(outdir, { recursive: true, force: true })
for (const project of ["tsconfig.build.json", "tsconfig.node.json"]) {
  const tsc = path.join(here, "node_modules/typescript/bin/tsc")
  execFileSync(process.execPath, [tsc, "-p", project, "--emitDeclarationOnly"], { cwd: here, stdio: "inherit" })
}
const entries = ["index", "testing", "store/node", "store/indexeddb", "store/memory"]
const sockets = ["sync/websocket", "sync/websocket.node"]
// Not with esbuild, because it makes a variable of every constant of a joined file, and Node then takes a tenth longer
// for each of the first thousand new notes.
const bundle = await rolldown({
  input: Object.fromEntries([...entries, ...sockets].map((entry) => [entry, path.join(here, "src", `${entry}.ts`)])),
  // Packages, and the two sockets: `imports` in package.json chooses one where the package is used.
  external: (id) => !id.startsWith(".") && !path.isAbsolute(id),
  platform: "neutral",
  // The paths in tsconfig.json are for editors and tests.
  tsconfig: false,
  transform: { target: "es2022" },
})
await bundle.write({ dir: outdir, format: "es", chunkFileNames: "headwater-[hash].js", comments: { jsdoc: false } })
await bundle.close()
