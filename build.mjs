// Builds the library. `dist` has a file for each file of `src`, with its declarations. `dist/doors` has what the package
// gives to apps: one file for each door, with the code that several doors share beside it. Node would take a tenth of a
// second to find and load 140 files one by one.
import { execFileSync } from "node:child_process"
import { rm } from "node:fs/promises"
import path from "node:path"
import { rolldown } from "rolldown"

const here = import.meta.dirname

await rm(path.join(here, "dist"), { recursive: true, force: true })
for (const project of ["tsconfig.build.json", "tsconfig.node.json"]) {
  const tsc = path.join(here, "node_modules/typescript/bin/tsc")
  execFileSync(process.execPath, [tsc, "-p", project], { cwd: here, stdio: "inherit" })
}
const stores = ["store/node", "store/indexeddb", "store/memory"]
const bindings = ["screens/codemirror", "screens/textarea", "screens/react"]
const doors = ["index", "testing", ...stores, ...bindings]
// Not with esbuild, because it makes a variable of every constant of a joined file, and Node then takes a tenth longer
// for each of the first thousand new notes.
const bundle = await rolldown({
  input: Object.fromEntries(doors.map((door) => [door, path.join(here, "src", `${door}.ts`)])),
  // Packages, and the two sockets: `imports` in package.json chooses one where the package is used.
  external: (id) => !id.startsWith(".") && !path.isAbsolute(id),
  platform: "neutral",
  // The paths in tsconfig.json are for editors and tests.
  tsconfig: false,
  transform: { target: "es2022" },
})
await bundle.write({
  dir: path.join(here, "dist/doors"),
  format: "es",
  chunkFileNames: "shared-[hash].js",
  comments: { jsdoc: false },
})
await bundle.close()
