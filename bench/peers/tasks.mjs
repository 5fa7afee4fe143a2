/** The tasks that a device does in the works, one function each. `client.mjs` runs them. `open` opens the device. */
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises"
import { notes, random, word } from "./content.mjs"

const BATCH = 500

const characters = (list) => list.reduce((sum, { body }) => sum + body.length, 0)
/** Returns a function that draws a place in a text at which to insert. All sides draw the same random numbers. */
const somewhere = (next) => (text) => Math.floor(next() * (text.length + 1))

/** Waits until `is` returns true, and looks every `every` ms. Throws after 180 s: the device has lost something. */
async function until(is, every = 5) {
  const begun = performance.now()
  while (!is()) {
    if (performance.now() - begun > 180_000) throw new Error(`after 180 s still not: ${is}`)
    await sleep(every)
  }
}

/** Waits until a device has `count` notes whose texts have `expected` characters. */
async function complete(device, count, expected) {
  await device.shown()
  // A server that still loads its notes may send them after it has said that the device is in sync.
  await until(() => device.count() >= count)
  await until(() => characters(device.list()) === expected)
}

/** Creates notes as an import does: 500 at a time. */
export async function fill(open, { count, length, ...where }, meter) {
  const list = notes(count, length)
  const device = await open(where)
  // An app has been open for a while when it imports, so the time to load the library does not count here.
  meter.restart()
  for (let i = 0; i < count; i += BATCH) await device.create(list.slice(i, i + BATCH))
  await device.saved()
  const ms = meter.ms()
  const cpuMs = meter.cpuMs()
  const compiled = meter.compiled()
  await device.sent?.()
  const rows = device.list()
  await meter.step({
    ms,
    cpuMs,
    compiled,
    root: device.root,
    characters: characters(rows),
    json: JSON.stringify(rows.map(({ title, tags, body }) => ({ title, tags, body }))).length,
  })
  await device.close()
  return {}
}

/** Edits every note `passes` times: four of five passes insert a word into each text, and the fifth sets each title. */
export async function edit(open, { passes, count, characters: expected, ...where }, meter) {
  const device = await open(where)
  await complete(device, count, expected)
  const ids = device.ids()
  const next = random(1)
  for (let pass = 0; pass < passes; pass++) {
    for (let i = 0; i < ids.length; i += BATCH) {
      await Promise.all(
        ids.slice(i, i + BATCH).map((id) => {
          const text = word(next)
          return pass % 5 === 4
            ? device.setTitle(id, `${text} ${pass}`)
            : device.insert(id, somewhere(next), `${text} `)
        }),
      )
    }
  }
  await device.saved()
  await device.sent()
  await meter.step({ characters: characters(device.list()) })
  await device.close()
  return {}
}

/** Opens an empty device, and reads all notes as soon as they have arrived. Stays open until it is told to go on. */
export async function pull(open, { count, characters: expected, ...where }, meter) {
  const device = await open(where)
  await complete(device, count, expected)
  const ms = meter.ms()
  await device.saved()
  const result = {
    ms,
    cpuMs: meter.cpuMs(),
    savedMs: meter.ms(),
    stallMs: meter.stallMs(),
    compiled: meter.compiled(),
    memory: process.resourceUsage().maxRSS * 1024,
  }
  await meter.step(result)
  await device.close()
  return {}
}

/** Inserts `edits` words offline, in the first `over` notes in turn. Each word begins with `letter`. */
export async function writeOffline(open, { edits, over, letter, ...where }) {
  const device = await open(where)
  const ids = device.ids().slice(0, over)
  const next = random(letter.charCodeAt(0))
  for (let i = 0; i < edits; i += over) {
    await Promise.all(
      ids.slice(0, edits - i).map((id) => device.insert(id, somewhere(next), `${letter}${word(next)} `)),
    )
  }
  await device.saved()
  await device.close()
  return {}
}

/** Opens offline, and connects when it is told to. Prints when the device has the words of both devices. */
export async function converge(open, { edits, over, ...where }, meter) {
  const device = await open(where)
  const loadMs = meter.ms()
  const ids = device.ids().slice(0, over)
  const { url } = await meter.step({ loadMs })
  meter.restart()
  const written = () => ids.reduce((sum, id) => sum + (device.body(id).match(/[A-Z]/g)?.length ?? 0), 0)
  await device.connect(url)
  await until(() => written() >= edits, 10)
  await meter.step({ ms: meter.ms(), written: written() })
  const cpuMs = meter.cpuMs()
  await device.close()
  return { cpuMs }
}

/** Opens a device, and closes it when it is told to. */
export async function reconnect(open, where, meter) {
  const device = await open(where)
  await device.shown()
  await meter.step({ ms: meter.ms(), count: device.count() })
  await device.close()
  return {}
}

const now = () => performance.timeOrigin + performance.now()

/** Several people write in one note, each on a device of their own. When told to, each types a letter of their own. */
export async function people(open, { folders, url, root, letters }, meter) {
  const devices = []
  for (const folder of folders) {
    const device = await open({ folder, url, root })
    await device.shown()
    await until(() => device.count() > 0)
    devices.push(device)
  }
  const [note] = devices[0].ids()
  // Every person has opened the note before anybody types.
  for (const device of devices) await device.openNote?.(note)
  const all = new Map()
  const arrivals = devices.map(() => new Map())
  for (const [i, device] of devices.entries()) {
    device.watch(note, (text) => {
      const at = now()
      for (const letter of text.replace(/[^A-Z]/g, "")) {
        const times = arrivals[i].get(letter) ?? []
        arrivals[i].set(letter, times)
        times.push(at)
      }
    })
  }
  const count = (device) => device.body(note).match(/[A-Z]/g)?.length ?? 0
  /** Person `i` types a letter, behind the last one that this person has typed. */
  const press = (i) => {
    const letter = letters[i]
    void devices[i].insert(note, (text) => text.lastIndexOf(letter) + 1 || letters.charCodeAt(i) % text.length, letter)
    return now()
  }
  for (;;) {
    const { typing, each, every, total } = await meter.step({})
    if (typing === undefined) break
    meter.restart()
    for (const one of arrivals) one.clear()
    all.clear()
    const writers = [...letters].flatMap((letter, i) => (typing.includes(letter) ? [i] : []))
    for (const i of writers) all.set(letters[i], [])
    const type = async (i) => {
      for (let k = 0; k < each; k++) {
        // The people press their keys at different times.
        if (every > 0) await sleep(meter.begun + every * (k + (letters.charCodeAt(i) % 10) / 10) - performance.now())
        else await turn()
        all.get(letters[i]).push(press(i))
      }
    }
    await Promise.all(writers.map(type))
    await until(() => devices.every((device) => count(device) >= total))
    await meter.step({
      ms: meter.ms(),
      cpuMs: meter.cpuMs(),
      typed: [...all],
      arrivals: arrivals.flatMap((times, i) => Array.from(times, ([letter, at]) => [letters[i], letter, at])),
    })
  }
  await Promise.all(devices.map((device) => device.close()))
  return {}
}

/** Sets titles of `over` notes in turn. Each title is saved before the next one is set. There is no server. */
export async function fieldEdits(open, { edits, over, ...where }, meter) {
  const device = await open(where)
  await device.create(notes(over))
  const ids = device.ids()
  meter.restart()
  for (let i = 0; i < edits; i++) await device.setTitle(ids[i % over], `title ${i}`)
  const ms = meter.ms()
  await device.close()
  return { perSecond: (edits / ms) * 1000 }
}
