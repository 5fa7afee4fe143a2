import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import path from "node:path"
import { build } from "esbuild"
import { chromium } from "playwright-core"
import { expect, test } from "vitest"
import { launchOptions } from "./support.ts"

const root = path.resolve(import.meta.dirname, "../..")

test("status says at once that the Content-Security-Policy of a page forbids the relay", async () => {
  const { outputFiles } = await build({
    stdin: {
      contents: `import { collection, openWorkspace } from "./dist/index.js"
        import { memoryStore } from "./dist/store/memory.js"
        const notes = collection("notes", undefined)
        const began = Date.now()
        const relay = { url: "ws://127.0.0.1:4400" }
        const ws = await openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), relay })
        const tell = ({ error }) => {
          if (error === null) return
          const told = document.createElement("output")
          told.textContent = JSON.stringify({ message: error.message, after: Date.now() - began })
          document.body.append(told)
        }
        ws.onStatus(tell)
        tell(ws.status)`,
      resolveDir: root,
    },
    bundle: true,
    format: "esm",
    external: ["@automerge/*"],
    write: false,
    tsconfigRaw: "{}", // this project's tsconfig.json would put Node's socket into the page
  })
  const server = createServer(({ url }, response) => {
    const policy = "default-src 'self'; connect-src 'self'"
    if (url === "/app.js") response.setHeader("content-type", "text/javascript").end(outputFiles[0]?.text)
    else {
      response.setHeader("content-type", "text/html").setHeader("content-security-policy", policy)
      response.end(`<!doctype html><script type="module" src="/app.js"></script>`)
    }
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const browser = await chromium.launch(launchOptions)
  try {
    const page = await browser.newPage()
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    const told = JSON.parse((await page.locator("output").first().textContent()) ?? "")
    expect(told.message).toMatch(/Content-Security-Policy/)
    expect(told.after).toBeLessThan(5000)
  } finally {
    await browser.close()
    server.close()
  }
})
