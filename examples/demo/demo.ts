import { type ChildProcess, fork, spawn } from "node:child_process"
import { once } from "node:events"
import { rmSync } from "node:fs"
import { mkdtemp, readdir, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { isDeepStrictEqual } from "node:util"
import type { Answer, Calls } from "./calls.ts"

// `npm run demo`: two devices and a relay, each in a process of its own. The relay is killed, and while it is away both
// devices edit the same paragraph.
const root = fileURLToPath(new URL("../../../", import.meta.url))
const notesFolder = path.resolve(process.argv[2] ?? path.join(root, "docs"))
const data = await mkdtemp(path.join(tmpdir(), "headwater-demo-"))
const processes = new Set<ChildProcess>()

/** ms without a note saved, stored or received, after which the demo gives up. A large folder may take long. */
const patience = Number(process.env["PATIENCE"] ?? 60_000)
let movedAt = Date.now()
let comparing = false
const stuck = () => Date.now() - movedAt > patience
const watch = setInterval(() => {
  if (stuck() && !comparing) fail(`no note was saved, stored or received for ${patience / 1000} s`)
}, 250)

await readdir(notesFolder).catch(({ code }) => fail(`${notesFolder} is not a readable folder (${code})`))

type Device = { [K in keyof Calls]: (...args: Parameters<Calls[K]>) => Promise<Awaited<ReturnType<Calls[K]>>> }

try {
  let relay = await startRelay(0)
  say("relay", `${relay.url}, process ${relay.process.pid}`)
  const a = await startDevice("a", relay.url)
  const b = await startDevice("b", relay.url)

  const imported = await a.importFolder(notesFolder)
  for (const problem of imported.problems) say("", `not imported: ${problem}`)
  if (imported.created === 0) throw new Error(`there are no Markdown files in ${notesFolder}; name another folder`)
  await a.settled()
  if (!(await agreed(a, b)).equal) throw new Error("B has not received what A imported")
  say("A", `imported ${imported.created} notes from ${path.relative(process.cwd(), notesFolder) || "."}`)
  say("B", `has received ${(await b.state()).rows.length} notes`)

  await kill(relay.process)
  while ((await a.connected()) || (await b.connected())) await sleep(20)
  say("relay", "killed with SIGKILL; both devices are offline")

  const id = await a.pick()
  if (id === undefined) throw new Error("there is no note to edit")
  const { title } = await a.paragraph(id)
  await a.edit(id, `${title}, says A`, "A was here. ", "start")
  await b.edit(id, `${title}, says B`, " B was here.", "end")
  say("A, B", `edited the title and the same paragraph of "${title}"`)
  say("", `pending: A ${await a.pending()}, B ${await b.pending()}`)

  relay = await startRelay(relay.port)
  say("relay", `restarted on the same folder, process ${relay.process.pid}`)
  await Promise.all([a.settled(), b.settled()])
  const { left, right } = await agreed(a, b)
  const merged = await a.paragraph(id)
  say("A, B", `agree on the title "${merged.title}" and on the paragraph`)
  say("", merged.paragraph.replaceAll("\n", " "))

  const equalHeads = isDeepStrictEqual(left.heads, right.heads)
  const equalRows = isDeepStrictEqual(left.rows, right.rows)
  const kept = merged.paragraph.includes("A was here.") && merged.paragraph.includes("B was here.")
  const pending = left.pending + right.pending
  say("", `${left.rows.length} notes: heads ${equal(equalHeads)}, rows ${equal(equalRows)}, ${pending} pending`)
  if (!equalHeads || !equalRows || pending > 0) throw new Error("the devices do not agree")
  if (!kept) throw new Error("an edit was lost")

  await Promise.all([a.close(), b.close()])
  relay.process.kill("SIGTERM")
  clearInterval(watch)
} catch (error) {
  fail((error as Error).message)
} finally {
  await rm(data, { recursive: true, force: true })
}

/**
 * Resolves with both devices' states as soon as they are equal, or when no note was saved, stored or received for
 * `patience` ms. It waits, because changes that the relay has stored may not have reached the other device yet.
 * Comparing heads is cheap, so notes are read only once the heads are equal.
 */
async function agreed(a: Device, b: Device) {
  comparing = true
  try {
    for (let wait = 50; ; wait = Math.min(2 * wait, 1000)) {
      const late = stuck()
      if (late || isDeepStrictEqual(await a.heads(), await b.heads())) {
        const [left, right] = [await a.state(), await b.state()]
        const equal = isDeepStrictEqual(left, right)
        if (equal || late) return { left, right, equal }
      }
      await sleep(wait)
    }
  } finally {
    comparing = false
    movedAt = Date.now()
  }
}

async function startRelay(port: number): Promise<{ process: ChildProcess; url: string; port: number }> {
  const bin = path.join(root, "relay/dist/main.js")
  const args = ["serve", "--host", "127.0.0.1", "--port", String(port), "--data", path.join(data, "relay")]
  const relay = spawn(process.execPath, [bin, ...args], { stdio: ["ignore", "pipe", "ignore"] })
  processes.add(relay)
  for await (const line of createInterface({ input: relay.stdout })) return { process: relay, ...JSON.parse(line) }
  throw new Error("the relay did not start")
}

/** Starts a device's process. Its calls are sent and answered one at a time. */
async function startDevice(name: string, url: string): Promise<Device> {
  const device = fork(fileURLToPath(new URL("replica.js", import.meta.url)), [path.join(data, name), url])
  processes.add(device)
  const gone = once(device, "exit").then(() => ({ failed: `device ${name} ended` }))
  let answered: (answer: Answer) => void = () => {}
  const answer = () => Promise.race([new Promise<Answer>((resolve) => (answered = resolve)), gone])
  device.on("message", (message: Answer | "moved") => {
    if (message === "moved") movedAt = Date.now()
    else answered(message)
  })
  await answer()
  let before: Promise<unknown> = Promise.resolve()
  const ask = (call: string, args: readonly unknown[]) => {
    const asked = before.then(async () => {
      device.send({ call, args })
      const said = await answer()
      if ("failed" in said && call !== "close") throw new Error(said.failed)
      return "result" in said ? said.result : undefined
    })
    before = asked.catch(() => {})
    return asked
  }
  return new Proxy({} as Device, {
    get: (_, call: string) => (call === "then" ? undefined : (...args: unknown[]) => ask(call, args)),
  })
}

async function kill(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit")
  child.kill("SIGKILL")
  await exited
}

function say(who: string, what: string): void {
  movedAt = Date.now()
  console.log(`${who.padEnd(6)} ${what}`)
}

function equal(yes: boolean): string {
  return yes ? "equal" : "DIFFERENT"
}

function fail(why: string): never {
  console.log(`failed: ${why}`)
  for (const child of processes) child.kill("SIGKILL")
  rmSync(data, { recursive: true, force: true })
  process.exit(1)
}
