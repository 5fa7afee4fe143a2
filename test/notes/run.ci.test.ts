import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import path from "node:path"
import { promisify } from "node:util"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { WebSocket } from "ws"

// Runs what `npm start` and `npm run demo` run after their build. They are the first commands that a newcomer enters.
const root = path.resolve(import.meta.dirname, "../..")
const run = promisify(execFile)
const built = (file: string) => path.join(root, "examples/dist", file)
let folder: string
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "headwater-run-"))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe("npm start", () => {
  it("serves the page and the relay on loopback, prints their URLs, and stops both on Ctrl-C", async () => {
    const env = { ...process.env, PORT: "0", PAGE_PORT: "0", DATA_DIR: path.join(folder, "data") }
    const start = spawn(process.execPath, [built("notes/start.js")], {
      env,
      stdio: ["ignore", "pipe", "ignore"],
    })
    try {
      let said = ""
      for await (const chunk of start.stdout) {
        said += chunk
        if (said.split("\n").length > 2) break
      }
      const [, relay = "", page = ""] =
        /^relay {2}(ws:\/\/127\.0\.0\.1:\d+)\npage {3}(http:\/\/127\.0\.0\.1:\d+\/)\n$/.exec(said) ?? []
      const html = await (await fetch(page)).text()
      expect(html).toContain(`<meta name="relay" content="${relay}"`)
      expect((await fetch(`${page}automerge.wasm`)).headers.get("content-type")).toBe("application/wasm")
      for (const outside of ["package.json", "..%2fstart.js", "%2e%2e/start.js", "page.ts", "none.js"]) {
        expect((await fetch(page + outside)).status, outside).toBe(404)
      }
      const socket = new WebSocket(relay, ["headwater.2"])
      await once(socket, "open")
      start.kill("SIGINT")
      const [code] = await once(start, "exit")
      expect(code).toBe(0)
      await expect(fetch(page)).rejects.toThrow()
    } finally {
      start.kill("SIGKILL")
    }
  })

  it.each(["PORT", "PAGE_PORT"])(
    "says in one line that the port of %s is taken, and exits with 1",
    async (variable) => {
      const other = createServer().listen(0, "127.0.0.1")
      await once(other, "listening")
      const { port } = other.address() as AddressInfo
      const env = {
        ...process.env,
        PORT: "0",
        PAGE_PORT: "0",
        DATA_DIR: path.join(folder, "data"),
        [variable]: `${port}`,
      }
      try {
        const failed = await run(process.execPath, [built("notes/start.js")], { env, timeout: 30_000 }).catch((e) => e)
        expect(failed).toMatchObject({ code: 1, stdout: "" })
        expect(failed.stderr).toMatch(
          new RegExp(`^the \\w+ cannot start: .*:${port}; set ${variable} to another port\n$`),
        )
      } finally {
        other.close()
      }
    },
  )
})

describe("npm run demo", () => {
  const script = built("demo/demo.js")
  const demo = (...args: string[]) => run(process.execPath, [script, ...args])

  it("ends with equal heads, equal rows and nothing pending, and uses this project's docs by default", async () => {
    const { stdout } = await demo()
    expect(stdout).toMatch(/A {5} imported [1-9]\d* notes from docs$/m)
    expect(stdout.trim().split("\n").at(-1)).toMatch(/\d+ notes: heads equal, rows equal, 0 pending$/)
    expect(stdout).toMatch(/pending: A [1-9]\d*, B [1-9]\d*/)
    expect(stdout).toMatch(/A was here\..*B was here\./)
  })

  it("names files that cannot be imported, and exits 1 when there are no others", async () => {
    writeFileSync(path.join(folder, "empty.md"), "")
    const failed = await demo(folder).catch((error: { code: number; stdout: string }) => error)
    expect(failed).toMatchObject({ code: 1 })
    expect(failed.stdout).toMatch(/not imported: empty.md: it is empty\n.*no Markdown files in/)
    writeFileSync(path.join(folder, "short.md"), "x")
    expect((await demo(folder)).stdout).toMatch(/1 notes: heads equal, rows equal, 0 pending\n$/)
  })

  it("says in one line that the folder does not exist, and exits 1", async () => {
    writeFileSync(path.join(folder, "file.md"), "x")
    for (const [name, code] of [
      ["none", "ENOENT"],
      ["file.md", "ENOTDIR"],
    ] as const) {
      const missing = path.join(folder, name)
      const failed = await demo(missing).catch((error: { code: number; stdout: string; stderr: string }) => error)
      const stdout = `failed: ${missing} is not a readable folder (${code})\n`
      expect(failed).toMatchObject({ code: 1, stdout, stderr: "" })
    }
  })

  it("exits 1 and leaves no process behind when the relay stops answering", async () => {
    const stuck = spawn(process.execPath, [script], {
      env: { ...process.env, PATIENCE: "3000" },
      stdio: ["ignore", "pipe", "ignore"],
    })
    let said = ""
    let relay = 0
    stuck.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text
      if (relay > 0) return
      relay = Number(/process (\d+)/.exec(said)?.[1] ?? 0)
      if (relay > 0) process.kill(relay, "SIGSTOP")
    })
    const [code] = await once(stuck, "close")
    expect(code).toBe(1)
    expect(said).toMatch(/failed: no note was saved, stored or received for 3 s\n$/)
    const [, port] = /127\.0\.0\.1:(\d+)/.exec(said) ?? []
    await expect(fetch(`http://127.0.0.1:${port}/healthz`)).rejects.toThrow()
  })
})
