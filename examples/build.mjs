// Builds `npm start` and `npm run demo` from the built library: the page for browsers, the rest for Node.
import { copyFile, mkdir, rm } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

const here = (path) => fileURLToPath(new URL(path, import.meta.url))

await rm(here("dist"), { recursive: true, force: true })
await mkdir(here("dist/notes/page"), { recursive: true })
// ignore the `paths` of tsconfig.json, so that the packages' names mean the built packages and not their sources
const tsconfigRaw = "{}"
await Promise.all([
  build({
    tsconfigRaw,
    entryPoints: [here("notes/page.ts")],
    outdir: here("dist/notes/page"),
    bundle: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    minify: true,
    sourcemap: true,
    // no folders in the names, because the page's server serves one flat folder
    chunkNames: "[name]-[hash]",
  }),
  build({
    tsconfigRaw,
    entryPoints: [here("notes/start.ts"), here("demo/demo.ts"), here("demo/replica.ts")],
    outdir: here("dist"),
    outbase: here("."),
    bundle: true,
    packages: "external",
    platform: "node",
    format: "esm",
    target: "node20",
  }),
  ...["index.html", "page.css"].map((file) => copyFile(here(`notes/${file}`), here(`dist/notes/page/${file}`))),
  copyFile(
    fileURLToPath(import.meta.resolve("@automerge/automerge/automerge.wasm")),
    here("dist/notes/page/automerge.wasm"),
  ),
])
