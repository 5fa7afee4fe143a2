// Builds the library's package. Each entry is one file, with the files that several of them share beside it, because
// Node takes a tenth of a second to find and load 140 files one by one. TypeScript writes the declarations only.
import { execFileSync } from "node:child_process"
import { rm } from "node:fs/promises"
import path from "node:path"
import { build } from "esbuild"

const here = import.meta.dirname
const outdir = path.join(here, "dist")

await rm(outdir, { recursive: true, force: true })
for (const project of ["tsconfig.build.json", "tsconfig.node.json"]) {
  const tsc = path.join(here, "node_modules/typescript/bin/tsc")
  execFileSync(process.execPath, [tsc, "-p", project, "--emitDeclarationOnly"], { cwd: here, stdio: "inherit" })
}
const entries = ["index", "testing", "store/node", "store/indexeddb", "store/memory"]
const sockets = ["sync/websocket", "sync/websocket.node"]
await build({
  entryPoints: [...entries, ...sockets].map((entry) => path.join(here, "src", `${entry}.ts`)),
  outdir,
  outbase: path.join(here, "src"),
  bundle: true,
  splitting: true,
  chunkNames: "headwater-[hash]",
  packages: "external",
  // Which of the two sockets it is, is decided by `imports` in package.json, where the package is used.
  external: ["#websocket"],
  // The paths in tsconfig.json are for editors and tests.
  tsconfigRaw: {},
  platform: "neutral",
  format: "esm",
  target: "es2022",
  logLevel: "warning",
})
