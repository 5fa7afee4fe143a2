import { type ChildProcess, fork, spawn } from "node:child_process"
import { once } from "node:events"
import { rmSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import path from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { isDeepStrictEqual } from "node:util"
import type { Answer, Calls } from "./calls.ts"

// Two devices and a relay, each a process of its own; the relay is killed while both sides edit the same paragraph.
const root = fileURLToPath(new URL("../../../", import.meta.url))
const notesFolder = path.resolve(process.argv[2] ?? path.join(root, "docs"))
const data = await mkdtemp(path.join(tmpdir(), "headwater-demo-"))
const processes = new Set<ChildProcess>()
const giveUp = setTimeout(() => fail("not done after two minutes"), 120_000)

type Device = { [K in keyof Calls]: (...args: Parameters<Calls[K]>) => Promise<Awaited<ReturnType<Calls[K]>>> }

try {
  let relay = await startRelay(0)
  say("relay", `${relay.url}, process ${relay.process.pid}`)
  const a = await startDevice("a", relay.url)
  const b = await startDevice("b", relay.url)

  const imported = await a.importFolder(notesFolder)
  for (const problem of imported.problems) say("", `not imported: ${problem}`)
  if (imported.created === 0) throw new Error(`no Markdown in ${notesFolder}`)
  await a.settled()
  await agreed(a, b)
  say("A", `imported ${imported.created} notes from ${path.relative(process.cwd(), notesFolder) || "."}`)
  say("B", `holds ${(await b.state()).rows.length} notes`)

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
  const [left, right] = await agreed(a, b)
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
  clearTimeout(giveUp)
} catch (error) {
  fail((error as Error).message)
} finally {
  await rm(data, { recursive: true, force: true })
}

/** Both devices' state, as soon as it is the same: what one has stored is still on its way to the other. */
async function agreed(a: Device, b: Device) {
  for (let tries = 0; ; tries++) {
    const states = [await a.state(), await b.state()] as const
    if (tries === 200 || isDeepStrictEqual(states[0], states[1])) return states
    await sleep(50)
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

/** A device's process; calls are asked and answered one at a time. */
async function startDevice(name: string, url: string): Promise<Device> {
  const device = fork(fileURLToPath(new URL("replica.js", import.meta.url)), [path.join(data, name), url])
  processes.add(device)
  const gone = once(device, "exit").then(() => ({ failed: `device ${name} ended` }))
  await Promise.race([once(device, "message"), gone])
  let before: Promise<unknown> = Promise.resolve()
  const ask = (call: string, args: readonly unknown[]) => {
    const answer = before.then(async () => {
      device.send({ call, args })
      const answer = (await Promise.race([once(device, "message").then(([message]) => message), gone])) as Answer
      if ("failed" in answer && call !== "close") throw new Error(answer.failed)
      return "result" in answer ? answer.result : undefined
    })
    before = answer.catch(() => {})
    return answer
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
