import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { createRelay } from "headwater-relay"
import { afterAll, afterEach, describe, expect, it } from "vitest"
import { actorOf } from "../support/changes.ts"
import { endAll, program, start, startRelay } from "../support/processes.ts"
import { note } from "../support/relay.ts"
import { Wire } from "../support/wire.ts"

const folder = mkdtempSync(path.join(tmpdir(), "headwater-relay-"))
let folders = 0
const newFolder = () => path.join(folder, String(folders++))
afterEach(endAll)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const A = actorOf(1)
const run = async (...args: string[]) => start(await program("relay/main.ts"), args)

describe("headwater-relay serve", () => {
  it("says where it listens in the only line of stdout, and everything else in JSON lines on stderr", async () => {
    const relay = await run("serve", "--port", "0", "--host", "127.0.0.1", "--data", newFolder())
    const line = await relay.line()
    const { port } = JSON.parse(line) as { port: number }
    expect(line).toBe(`{"event":"listening","url":"ws://127.0.0.1:${port}","port":${port}}`)
    const wire = await Wire.dial(`ws://127.0.0.1:${port}`)
    wire.socket.send("nonsense")
    await wire.ended()
    expect(await relay.end("SIGTERM")).toEqual({ code: 0, signal: null })
    expect(relay.takeLines()).toEqual([])
    const events = relay.stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string; level: string; time: string })
    expect(events.map(({ event }) => event)).toEqual(["listening", "connection ended", "closing", "closed"])
    expect(events[1]).toMatchObject({ level: "error", code: "MESSAGE_BAD", time: expect.stringMatching(/^\d{4}-.*Z$/) })
  })

  // Other systems have no /proc.
  it.runIf(process.platform === "linux")("ends and says why when its folder cannot be made", async () => {
    const relay = await run("serve", "--port", "0", "--data", "/proc/nowhere/a")
    expect(await relay.exited).toEqual({ code: 1, signal: null })
    expect(relay.stderr).toContain("LOG_FAILED")
  })

  it("takes PORT, HOST and DATA_DIR where no flag says otherwise", async () => {
    const file = await program("relay/main.ts")
    const was = { ...process.env }
    try {
      Object.assign(process.env, { PORT: "0", HOST: "localhost", DATA_DIR: newFolder() })
      const { url, port } = JSON.parse(await start(file, ["serve"]).line()) as { url: string; port: number }
      expect(url).toBe(`ws://localhost:${port}`)
      // An empty variable counts as an unset one. The usual port 4400 may be taken, so the relay must end before it
      // listens: it refuses to start for this host.
      Object.assign(process.env, { PORT: "", HOST: "" })
      const bold = start(file, ["serve", "--host", "0.0.0.0", "--data", newFolder()])
      expect(await bold.exited).toEqual({ code: 1, signal: null })
      expect(bold.stderr).toContain("FORBIDDEN")
      const usual = start(file, ["serve", "--port", "0", "--data", newFolder()])
      expect(await usual.line()).toContain(`"ws://127.0.0.1:`)
      process.env["PORT"] = "not a port"
      expect(await start(file, ["serve"]).exited).toEqual({ code: 2, signal: null })
      await start(file, ["serve", "--port", "0", "--host", "127.0.0.1", "--data", newFolder()]).line()
    } finally {
      process.env = was
    }
  })

  it.each(["SIGTERM", "SIGINT"] as const)(
    "on %s answers the pushes that have arrived, closes with 1001 and exits with 0",
    async (signal) => {
      const data = newFolder()
      const relay = await startRelay(data)
      const wire = await Wire.dial(relay.url)
      const ids = Array.from({ length: 50 }, (_, i) => wire.push([note(`e${i}`, A)]))
      await wire.ack(ids[0]!)
      const exited = relay.end(signal)
      expect(await wire.ended()).toEqual({ code: 1001, reason: "the relay stops" })
      expect(await exited).toEqual({ code: 0, signal: null })
      const acked = 1 + wire.received.length
      expect(wire.received.every((message) => message.t === "ack")).toBe(true)

      const again = await startRelay(data)
      const reader = await Wire.dial(again.url)
      reader.pull()
      const stored = (await reader.level()).flatMap(({ items }) => items)
      expect(stored.length).toBeGreaterThanOrEqual(acked)
    },
  )

  it("goes on, and stops as usual, when nobody reads its output any more", async () => {
    const data = newFolder()
    const relay = await startRelay(data)
    for (const stream of [relay.process.stdout!, relay.process.stderr!]) stream.destroy()
    const bad = await Wire.dial(relay.url)
    bad.socket.send("nonsense")
    expect((await bad.ended()).code).toBe(4400)

    const writer = await Wire.dial(relay.url)
    await writer.ack(writer.push([note("e", A)]))
    relay.signal("SIGTERM")
    expect(await writer.ended()).toEqual({ code: 1001, reason: "the relay stops" })
    expect(await relay.exited).toEqual({ code: 0, signal: null })
  })

  it("listens, though nobody reads its first line", async () => {
    const relay = await run("serve", "--port", "0", "--data", newFolder())
    relay.process.stdout!.destroy()
    while (!relay.stderr.includes("listening")) await new Promise((resolve) => setTimeout(resolve, 5))
    const { port } = JSON.parse(relay.stderr.split("\n")[0]!) as { port: number }
    const wire = await Wire.dial(`ws://127.0.0.1:${port}`)
    await wire.ping()
    expect(await relay.end("SIGTERM")).toEqual({ code: 0, signal: null })
  })

  it("is ready for a signal before it says that it listens", async () => {
    // Sends SIGTERM while the relay writes its first line, as a quick parent process could.
    const quick = `const { write } = process.stdout
      process.stdout.write = (line) => {
        process.kill(process.pid, "SIGTERM")
        return write.call(process.stdout, line)
      }`
    const preload = path.join(folder, "quick.mjs")
    writeFileSync(preload, quick)
    const file = await program("relay/main.ts")
    const was = process.env["NODE_OPTIONS"]
    try {
      process.env["NODE_OPTIONS"] = `--import ${preload}`
      const relay = start(file, ["serve", "--port", "0", "--data", newFolder()])
      expect(await relay.exited).toEqual({ code: 0, signal: null })
      expect(relay.stderr).toContain(`"closed"`)
    } finally {
      if (was === undefined) delete process.env["NODE_OPTIONS"]
      else process.env["NODE_OPTIONS"] = was
    }
  })

  it("ends at once on a second signal", async () => {
    const relay = await startRelay(newFolder())
    const wire = await Wire.dial(relay.url)
    wire.pull()
    await wire.level()
    wire.socket.pause() // so the client does not answer the close frame
    relay.signal("SIGTERM")
    while (!relay.stderr.includes("closing")) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await relay.end("SIGTERM")).toEqual({ code: 1, signal: null })
  })

  it("lets no second relay use its folder while it runs, but does afterwards, however it ended", async () => {
    const data = newFolder()
    const first = await startRelay(data)
    const second = await run("serve", "--port", "0", "--data", data)
    expect(await second.exited).toEqual({ code: 1, signal: null })
    expect(second.stderr).toMatch(
      /^headwater-relay: STORE_IN_USE: another relay serves the folder .*; stop it first\n$/,
    )
    await first.end("SIGKILL")
    await startRelay(data)
  })

  it("listens where others can reach it only with --insecure", async () => {
    const shy = await run("serve", "--port", "0", "--host", "0.0.0.0", "--data", newFolder())
    expect(await shy.exited).toEqual({ code: 1, signal: null })
    expect(shy.stderr).toContain("FORBIDDEN")
    const bold = await run("serve", "--port", "0", "--host", "0.0.0.0", "--insecure", "--data", newFolder())
    expect(JSON.parse(await bold.line())).toMatchObject({ event: "listening" })
  })

  it("says in one sentence why it cannot start", async () => {
    const first = await startRelay(newFolder())
    const port = `${first.port}`
    const file = path.join(folder, "file")
    writeFileSync(file, "")
    const reasons: [string[], RegExp][] = [
      [["--port", port, "--data", newFolder()], /^headwater-relay: port \d+ of 127\.0\.0\.1 is taken: .* --port\n$/],
      [["--port", "0", "--data", file], /^headwater-relay: LOG_FAILED: the folder .* cannot be used: [^\n]*\n$/],
      [["--port", "0", "--host", "0.0.0.0"], /^headwater-relay: FORBIDDEN: other machines can reach [^\n]*\n$/],
      [["--port", "0", "--data", newFolder(), "--origin", "x"], /^headwater-relay: URL_INVALID: "x" is [^\n]*\n$/],
    ]
    for (const [args, sentence] of reasons) {
      const child = await run("serve", ...args)
      expect((await child.exited).code).toBe(1)
      expect(child.stderr).toMatch(sentence)
      expect(child.stderr).not.toMatch(/[{]|\n +at /)
    }
  })

  it("writes a bounded number of lines, whatever is sent to it, and says how many it left out", async () => {
    const relay = await startRelay(newFolder())
    for (let i = 0; i < 50; i++) {
      const wire = await Wire.dial(relay.url)
      wire.socket.send("nonsense")
      await wire.ended()
    }
    await relay.end("SIGTERM")
    const lines = relay.stderr
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { event: string })
    expect(lines.filter(({ event }) => event === "connection ended")).toHaveLength(20)
    const left = { event: "more of the same", of: "connection ended MESSAGE_BAD", leftOut: 30 }
    expect(lines).toContainEqual(expect.objectContaining(left))
  })

  it("explains itself, and what is wrong with a command line", async () => {
    const help = await run("--help")
    expect((await help.exited).code).toBe(0)
    expect(help.takeLines().join("\n")).toMatch(/serve.*--port.*--insecure.*--version/s)
    const version = await run("--version")
    expect((await version.exited).code).toBe(0)
    expect(version.takeLines()).toEqual([JSON.parse(readFileSync("relay/package.json", "utf8")).version])
    for (const wrong of [[], ["fly"], ["serve", "--prot", "1"], ["serve", "--port", "99999"]]) {
      const child = await run(...wrong)
      expect((await child.exited).code, wrong.join(" ")).toBe(2)
      expect(child.stderr).toContain("--port")
    }
  })
})

describe("createRelay", () => {
  it("gives an address and a way to end it, and keeps what it acknowledged", async () => {
    const data = newFolder()
    const relay = await createRelay({ port: 0, data })
    expect(relay.url).toBe(`ws://127.0.0.1:${relay.port}`)
    const wire = await Wire.dial(relay.url)
    await wire.ack(wire.push([note("e", A)]))
    await Promise.all([relay.close(), relay.close()])
    await expect(Wire.dial(relay.url)).rejects.toThrow()

    const again = await createRelay({ port: 0, data })
    const reader = await Wire.dial(again.url)
    reader.pull()
    expect((await reader.level()).flatMap(({ items }) => items)).toMatchObject([
      { entry: { ...note("e", A), by: "local" } },
    ])
    await again.close()
  })

  it("releases the folder when its port is taken", async () => {
    const [one, two] = [newFolder(), newFolder()]
    const relay = await createRelay({ port: 0, data: one })
    await expect(createRelay({ port: relay.port, data: two })).rejects.toMatchObject({ code: "EADDRINUSE" })
    await (await createRelay({ port: 0, data: two })).close()
    await relay.close()
  })

  it("rejects with STORE_IN_USE where another relay has the folder, even in the same process", async () => {
    const data = newFolder()
    const relay = await createRelay({ port: 0, data })
    await expect(createRelay({ port: 0, data })).rejects.toMatchObject({ code: "STORE_IN_USE" })
    await relay.close()
  })

  it("rejects with FORBIDDEN for a host that others can reach, and accepts every name of loopback", async () => {
    for (const host of ["0.0.0.0", "::", "192.168.1.7", "relay.example", "127.0.0.1.example"]) {
      await expect(createRelay({ port: 0, host, data: newFolder() })).rejects.toMatchObject({ code: "FORBIDDEN" })
    }
    for (const host of ["localhost", "127.0.0.1", "::1"]) {
      const relay = await createRelay({ port: 0, host, data: newFolder() })
      await (await Wire.dial(relay.url)).ping()
      await relay.close()
    }
  })
})
