/** The library in an app of Next.js, as it is published: on the server with `nodeStore`, in pages with IndexedDB. */
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { afterAll, expect, it } from "vitest"
import { install, pack } from "../support/packed.ts"
import { endAll, start } from "../support/processes.ts"

const root = path.resolve(import.meta.dirname, "../..")
const folder = mkdtempSync(path.join(tmpdir(), "headwater-next-"))
const app = path.join(folder, "app")
const next = path.join(app, "node_modules/next/dist/bin/next")
/** `NODE_ENV` is `test` in Vitest, and Next.js would not make a production build then. */
const env = { ...process.env, NODE_ENV: "production", NEXT_TELEMETRY_DISABLED: "1" } as const
afterAll(async () => {
  await endAll()
  rmSync(folder, { recursive: true, force: true })
})

const opening = (store: string) => `
  const notes = collection("notes", shape(), { fields: { body: text() } })
  const open = () => openWorkspace({ id: "w", collections: { notes }, store: ${store} })`
const onServer = `
  import { collection, openWorkspace, shape, text } from "headwater"
  import { nodeStore } from "headwater/node"
  export const dynamic = "force-dynamic"
  ${opening(`nodeStore(${JSON.stringify(path.join(app, "data"))})`)}`

const files = {
  // As the README says. Without it the build fails: the bundled `classic-level` does not find its binary.
  "next.config.mjs": `export default { serverExternalPackages: ["headwater"] }`,
  "app/layout.js": "export default ({ children }) => <html><body>{children}</body></html>",
  "app/page.js": `${onServer}
  import { Notes } from "./notes.js"
  export default async function Page() {
    const ws = await open()
    const titles = ws.notes.all().map(({ id, title }) => <li key={id}>{title}</li>)
    await ws.close()
    return <main><ul>{titles}</ul><Notes /></main>
  }`,
  "app/api/route.js": `${onServer}
  export async function POST(request) {
    const ws = await open()
    const { id } = await ws.notes.create(await request.json())
    await ws.notes.update(id, (_, edit) => edit.splice("body", 5, 0, " world"))
    const note = await ws.notes.read(id)
    await ws.close()
    return Response.json(note)
  }`,
  "app/notes.js": `"use client"
  import { collection, openWorkspace, shape, text } from "headwater"
  import { indexedDBStore } from "headwater/indexeddb"
  import { useEffect, useState } from "react"
  ${opening(`indexedDBStore("w")`)}
  export function Notes() {
    const [count, show] = useState("?")
    useEffect(() => {
      const opened = open()
      opened.then((ws) => show(ws.notes.all().length))
      return () => void opened.then((ws) => ws.close())
    }, [])
    return <p>{"notes in this browser: " + count}</p>
  }`,
}

it("is built and served with Next.js, and a route and a page write and read notes", async () => {
  const { filename } = await pack(root, folder)
  await install(app, "module", path.join(folder, filename), "next@16.4.6", "react@19.3.1", "react-dom@19.3.1")
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(app, name)), { recursive: true })
    writeFileSync(path.join(app, name), content)
  }
  await promisify(execFile)(process.execPath, [next, "build"], { cwd: app, env, timeout: 120_000 })

  const server = start(next, ["start", app, "--port", "0", "--hostname", "127.0.0.1"], { env })
  let url: string | undefined
  while (url === undefined) url = /http:\/\/127\.0\.0\.1:\d+/.exec(await server.line())?.[0]
  const fetched = async (route: string, init?: RequestInit) => {
    const response = await fetch(url + route, { ...init, signal: AbortSignal.timeout(30_000) })
    expect(response.status, route).toBe(200)
    return response
  }
  const note = { title: "written by a route", body: "hello" }
  const written = await fetched("/api", { method: "POST", body: JSON.stringify(note) })
  expect(await written.json()).toMatchObject({ ...note, body: "hello world", $sync: "saved" })
  const html = await (await fetched("/")).text()
  expect(html).toContain("<li>written by a route</li>")
  expect(html).toContain("notes in this browser: ?")

  // The scripts of the page contain the library, and no code for Node.
  const scripts = [...html.matchAll(/src="(\/_next\/[^"]+\.js)[^"]*"/g)].map(([, script]) => script as string)
  const code = (await Promise.all(scripts.map(async (script) => (await fetched(script)).text()))).join("\n")
  expect(code).toContain("STORE_IN_USE")
  expect(code).not.toMatch(/classic-level|node-gyp-build/)
  await server.end("SIGTERM")
}, 300_000)
