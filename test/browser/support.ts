import { once } from "node:events"
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import path from "node:path"
import { build } from "esbuild"
import { createRelay } from "headwater-relay"
import { type BrowserContext, chromium, type Page } from "playwright-core"
import { servePage } from "../../examples/notes/serve.ts"

const root = path.resolve(import.meta.dirname, "../..")
const builtPage = path.join(root, "examples/dist/notes/page")

/** Without these flags Chromium contacts Google's hosts, and refuses to start as root. */
export const launchOptions = {
  executablePath: "/usr/bin/chromium",
  headless: false, // true would start the old headless shell; --headless=new below starts the browser itself
  args: [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
}

/**
 * Starts a relay and the page's server, as `npm start` does. `close` ends both, closes all browser profiles and
 * removes all files.
 */
export async function openStage(scripts: readonly string[] = []) {
  if (!existsSync(path.join(builtPage, "page.js"))) throw new Error("the page is not built: npm run build")
  const folder = mkdtempSync(path.join(tmpdir(), "headwater-browser-"))
  const pageFolder = path.join(folder, "page")
  cpSync(builtPage, pageFolder, { recursive: true })
  for (const script of scripts) await addScript(pageFolder, script)
  const relay = await createRelay({ host: "127.0.0.1", port: 0, data: path.join(folder, "relay") })
  const line = await openLine(relay.port)
  const server = await servePage({ port: 0, relay: line.url, folder: pageFolder })
  const contexts: BrowserContext[] = []

  return {
    url: server.url,
    relay: relay.url,
    folder,
    /** Makes every open connection silent, as a lost network does: nothing more arrives, and no side sees a close. */
    lose: line.lose,
    /** Opens a browser profile; the same `name` opens the same profile again. */
    async profile(name: string, viewport = { width: 1100, height: 800 }): Promise<BrowserContext> {
      const options = { ...launchOptions, viewport, acceptDownloads: true }
      const context = await chromium.launchPersistentContext(path.join(folder, `profile-${name}`), options)
      contexts.push(context)
      return context
    },
    async close(): Promise<void> {
      await Promise.all(contexts.map((context) => context.close().catch(() => {})))
      await server.close()
      await line.close()
      await relay.close()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}

/**
 * A proxy between the page and the relay. Its `lose` acts like a lost network. Chromium's offline mode does not act
 * like one, because it keeps open sockets alive.
 */
async function openLine(port: number) {
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1")
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from)
      from.pipe(to)
      from.on("error", () => to.destroy())
      from.on("close", () => {
        sockets.delete(from)
        to.destroy()
      })
    }
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    lose() {
      for (const socket of sockets) socket.unpipe().resume()
    },
    async close(): Promise<void> {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Bundles a script of this folder with the library's sources, for a page <name>.html beside the notes page. */
async function addScript(pageFolder: string, name: string): Promise<void> {
  const source = (file: string) => path.join(root, "src", file)
  await build({
    entryPoints: [path.join(import.meta.dirname, `${name}.ts`)],
    outdir: pageFolder,
    bundle: true,
    format: "esm",
    splitting: true,
    chunkNames: "[name]-[hash]",
    alias: {
      "headwater/indexeddb": source("store/indexeddb.ts"),
      "headwater/memory": source("store/memory.ts"),
      "headwater/testing": source("testing.ts"),
      "headwater/textarea": source("screens/textarea.ts"),
      headwater: source("index.ts"),
      "#websocket": source("sync/websocket.ts"),
    },
  })
  const html = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><script type="module" src="${name}.js"></script>`
  writeFileSync(path.join(pageFolder, `${name}.html`), html)
}

/** Counts the page's calls of functions that compile a WebAssembly module. Returns a function that reads the count. */
export async function countWasm(page: Page): Promise<() => Promise<number>> {
  await page.addInitScript(() => {
    const counter = window as unknown as { wasm: number }
    counter.wasm = 0
    for (const name of ["compile", "compileStreaming", "instantiate", "instantiateStreaming"] as const) {
      const original = WebAssembly[name] as (...args: unknown[]) => unknown
      Object.assign(WebAssembly, {
        [name]: (...args: unknown[]) => {
          counter.wasm++
          return original.apply(WebAssembly, args)
        },
      })
    }
    WebAssembly.Module = new Proxy(WebAssembly.Module, {
      construct(target, args: [BufferSource]) {
        counter.wasm++
        return new target(...args)
      },
    })
  })
  return () => page.evaluate(() => (window as unknown as { wasm: number }).wasm)
}
