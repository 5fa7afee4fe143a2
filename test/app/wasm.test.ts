import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { build } from "esbuild"
import { afterAll, beforeAll, describe, expect, test } from "vitest"

// The option `wasm` is used where "@automerge/automerge" does not resolve at run time, as in a bundled page. So the
// library is bundled into a folder without node_modules. All cases run in one child process, and each of them imports a
// new copy of the bundle.
const root = path.resolve(import.meta.dirname, "../..")
const folder = mkdtempSync(path.join(tmpdir(), "headwater-wasm-"))
let told: Record<string, unknown>

// `marked` is Automerge's WebAssembly module with one more section. Automerge's base64 build has the module without
// that section. So the length of a compiled module shows which of the two was used.
const script = /* js */ `
import { createServer } from "node:http"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { runInNewContext } from "node:vm"
const file = readFileSync(process.argv[2])
const marked = new Uint8Array([...file, 0, 3, 1, 0x68, 0x77])
const told = {}
let compiled = []
for (const name of ["compile", "instantiate", "compileStreaming", "instantiateStreaming"]) {
  const real = WebAssembly[name]
  WebAssembly[name] = async (source, ...rest) => {
    const response = await source
    if (!(response instanceof Response)) compiled.push(response.byteLength)
    return real.call(WebAssembly, response, ...rest)
  }
}
let requests = 0
let status = 200
const server = createServer((_, response) => {
  requests++
  response.writeHead(status, { "content-type": "application/wasm" })
  response.end(status === 200 ? marked : "")
}).listen(0, "127.0.0.1")
await once(server, "listening")
const url = "http://127.0.0.1:" + server.address().port + "/automerge.wasm"

let copies = 0
const fresh = async (wasm) => {
  const { openWorkspace, collection, memoryStore, text } = await import("./headwater.js?" + ++copies)
  const notes = collection("notes", undefined, { fields: { title: text() } })
  return openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), wasm })
}
const writes = async (wasm) => {
  compiled = []
  requests = 0
  const ws = await fresh(wasm)
  const { id } = await ws.notes.create({ title: "T" })
  const created = { compiled: compiled.length, requests }
  const { title } = await ws.notes.read(id)
  const read = { compiled: compiled.length, requests }
  await ws.notes.update(id, (draft) => void (draft.title += "!"))
  await ws.close()
  return { created, read, title, requests, marked: compiled.includes(marked.length), base64: compiled.includes(file.length) }
}
told.string = await writes(url)
told.URL = await writes(new URL(url))
told.Uint8Array = await writes(marked)
told.ArrayBuffer = await writes(marked.buffer)
const wide = new Uint8Array(marked.length + 20)
wide.set(marked, 7)
told.part = await writes(new DataView(wide.buffer, 7, marked.length))
// Makes a value in another realm, which has no class URL.
const elsewhere = (code) => runInNewContext(code, { list: [...marked], url })
told.foreignURL = await writes(elsewhere("class URL { get href() { return url } }; new URL()"))
told.foreignUint8Array = await writes(elsewhere("new Uint8Array(list)"))
told.foreignArrayBuffer = await writes(elsewhere("new Uint8Array(list).buffer"))
told.foreignPart = await writes(elsewhere("new DataView(new Uint8Array([0, ...list, 0]).buffer, 1, list.length)"))
told.none = await writes(undefined)

const codeOf = (promise) => promise.then(() => "ok", ({ name, code, cause }) => [name, code, cause instanceof Error])
told.badBytes = await codeOf(writes(new Uint8Array(8)))
status = 503
const ws = await fresh(url)
told.created = await codeOf(ws.notes.create({ title: "T" }, { id: "a" }))
const edit = () => ws.notes.update("a", (draft) => void (draft.title += "!"))
told.away = await codeOf(edit())
told.rows = [...ws.notes.all().map(({ title }) => title), ws.status.pending, ws.status.phase, ws.status.error?.code]
status = 200
told.back = await codeOf(edit())
told.backRows = [...ws.notes.all().map(({ title }) => title), ws.status.error]
await ws.close()
server.close()
console.log(JSON.stringify(told))
`

beforeAll(async () => {
  const source = (file: string) => JSON.stringify(path.join(root, "src", file))
  await build({
    stdin: {
      contents: `export * from ${source("index.ts")}; export { memoryStore } from ${source("store/memory.ts")}`,
      resolveDir: root,
    },
    outfile: path.join(folder, "headwater.js"),
    bundle: true,
    format: "esm",
    alias: { "#websocket": path.join(root, "src/sync/websocket.ts") },
  })
  writeFileSync(path.join(folder, "package.json"), `{ "type": "module" }`)
  writeFileSync(path.join(folder, "cases.js"), script)
  const wasm = path.join(root, "node_modules/@automerge/automerge/dist/automerge.wasm")
  const { stdout } = await promisify(execFile)(process.execPath, ["cases.js", wasm], { cwd: folder, timeout: 50_000 })
  told = JSON.parse(stdout)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe("wasm", () => {
  const untouched = { compiled: 0, requests: 0 }

  test.each(["string", "URL", "foreignURL"])("as a %s is fetched when a text is first edited", (kind) => {
    expect(told[kind]).toMatchObject({ created: untouched, read: untouched, title: "T", requests: 1, base64: false })
  })

  const bytes = ["Uint8Array", "ArrayBuffer", "part", "foreignUint8Array", "foreignArrayBuffer", "foreignPart"]
  test.each(bytes)("as bytes (%s) is compiled without a request", (kind) => {
    expect(told[kind]).toEqual({
      created: untouched,
      read: untouched,
      title: "T",
      requests: 0,
      marked: true,
      base64: false,
    })
  })

  test("that is not given means the base64 build", () => {
    expect(told["none"]).toEqual({
      created: untouched,
      read: untouched,
      title: "T",
      requests: 0,
      marked: false,
      base64: true,
    })
  })

  test("is not needed to make a note", () => {
    expect(told["created"]).toBe("ok")
  })

  test("that is not WebAssembly, or cannot be fetched, is WASM_FAILED with its cause", () => {
    expect(told["badBytes"]).toEqual(["HeadwaterError", "WASM_FAILED", true])
    expect(told["away"]).toEqual(["HeadwaterError", "WASM_FAILED", true])
    expect(told["rows"]).toEqual(["T", 3, "local", "WASM_FAILED"])
  })

  test("is fetched again by the next write after a failure", () => {
    expect(told["back"]).toBe("ok")
    expect(told["backRows"]).toEqual(["T!", null])
  })
})
