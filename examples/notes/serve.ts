import { createReadStream } from "node:fs"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import path from "node:path"

const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".wasm": "application/wasm",
}

/** Serves the built page from `folder` on loopback; `port` 0 takes a free one. */
export async function servePage(o: { port: number; relay: string; folder: string }) {
  const server = createServer((request, response) => {
    const notFound = () => response.writeHead(404).end("not found\n")
    // what a client sends need be no address, `//` for one, and the relay lives in this process
    const { url = "/" } = request
    const pathname = URL.canParse(url, "http://page") ? new URL(url, "http://page").pathname : ""
    const name = pathname === "/" ? "index.html" : pathname.slice(1)
    const type = types[path.extname(name)]
    // the build is one flat folder, so a name with a slash is none of its files
    if (request.method !== "GET" || type === undefined || !/^[\w.-]+$/.test(name)) {
      notFound()
      return
    }
    response.setHeader("content-type", type)
    response.setHeader("cache-control", "no-cache")
    response.setHeader("x-content-type-options", "nosniff")
    const file = path.join(o.folder, name)
    // either may be missing while the page is built again
    if (name !== "index.html") createReadStream(file).on("error", notFound).pipe(response)
    else readFile(file, "utf8").then((html) => response.end(html.replace("%RELAY%", o.relay)), notFound)
  })
  server.listen(o.port, "127.0.0.1")
  await new Promise<void>((resolve, reject) => server.once("listening", resolve).once("error", reject))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
