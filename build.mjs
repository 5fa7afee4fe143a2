// Builds the library. `dist` has a file for each file of `src`, with its declarations. `dist/doors` has what the package
// gives to apps: one file for each door, with the code that several doors share beside it. Node would take a tenth of a
// second to find and load 140 files one by one.
import { execFileSync } from "node:child_process"
import { rm } from "node:fs/promises"
import path from "node:path"
import { build } from "esbuild"

const here = import.meta.dirname

await rm(path.join(here, "dist"), { recursive: true, force: true })
for (const project of ["tsconfig.build.json", "tsconfig.node.json"]) {
  const tsc = path.join(here, "node_modules/typescript/bin/tsc")
  execFileSync(process.execPath, [tsc, "-p", project], { cwd: here, stdio: "inherit" })
}
await build({
  entryPoints: ["index", "testing", "store/node", "store/indexeddb", "store/memory"].map((door) =>
    path.join(here, "dist", `${door}.js`),
  ),
  outdir: path.join(here, "dist/doors"),
  outbase: path.join(here, "dist"),
  bundle: true,
  splitting: true,
  chunkNames: "shared-[hash]",
  packages: "external",
  // Which of the two sockets it is, is decided by `imports` in package.json, where the package is used.
  external: ["#websocket"],
  platform: "neutral",
  format: "esm",
  target: "es2022",
  logLevel: "warning",
})
