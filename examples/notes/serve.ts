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

/**
 * Serves the built page in `folder` on loopback. `port` 0 chooses a free one; `relay` is the URL that the page dials.
 */
export async function servePage(o: { port: number; relay: string; folder: string }) {
  const server = createServer((request, response) => {
    const notFound = () => response.writeHead(404).end("not found\n")
    // a client may send something other than a URL, such as `//`. A throw here would end the relay, which runs in this
    // process.
    const { url = "/" } = request
    const pathname = URL.canParse(url, "http://page") ? new URL(url, "http://page").pathname : ""
    const name = pathname === "/" ? "index.html" : pathname.slice(1)
    const type = types[path.extname(name)]
    // the build is one flat folder: none of its files has a slash in its name
    if (request.method !== "GET" || type === undefined || !/^[\w.-]+$/.test(name)) {
      notFound()
      return
    }
    response.setHeader("content-type", type)
    response.setHeader("cache-control", "no-cache")
    response.setHeader("x-content-type-options", "nosniff")
    // read the whole file, because a stream would stay open when the client leaves halfway. The file is missing while
    // the page is being built.
    readFile(path.join(o.folder, name)).then(
      (bytes) => response.end(name === "index.html" ? String(bytes).replace("%RELAY%", o.relay) : bytes),
      notFound,
    )
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
