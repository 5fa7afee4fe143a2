/**
 * Two people type into textareas of one paragraph, on two devices and a relay, with compositions, undo and broken
 * connections. At the end both see one text, the elements show it, and every run that was typed is whole.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { collection, openWorkspace, shape, text } from "headwater"
import { memoryStore } from "headwater/memory"
import { bindText } from "headwater/textarea"
import { createRelay } from "headwater-relay"
import { JSDOM } from "jsdom"
import { afterAll, beforeAll, expect, test } from "vitest"
import { dice } from "../support/dice.ts"
import { backspace, compose, control, endComposition, type Field, select, type } from "../support/typing.ts"
import { until } from "../support/until.ts"

const RUNS = process.env["HEADWATER_LONG"] === "1" ? 1000 : 40
const COMMANDS = 150
const PARAGRAPH = "one two\r\nthree four 😀 five\n"

const notes = collection("notes", shape<{ body?: string }>(), { fields: { body: text() } })
const folder = mkdtempSync(path.join(tmpdir(), "headwater-textarea-"))
const { document } = new JSDOM().window

const open = (url: string) => openWorkspace({ id: "w", collections: { notes }, store: memoryStore(), relay: { url } })
let relay: Awaited<ReturnType<typeof createRelay>>
let devices: Awaited<ReturnType<typeof open>>[]

beforeAll(async () => {
  relay = await createRelay({ host: "127.0.0.1", port: 0, data: folder })
  devices = await Promise.all([open(relay.url), open(relay.url)])
})
afterAll(async () => {
  await Promise.all(devices.map((ws) => ws.close()))
  await relay.close()
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
})

/** What happened in all runs, and how often. */
const counts = new Map<string, number>()

/** A person at an element, who types runs of the form «a3aaaa»: their letter, a number, letters. */
class Person {
  readonly element: Field = document.createElement("textarea")
  readonly letter: string
  readonly #random: () => number
  readonly #mayUndo: boolean
  readonly typed: string[] = []
  /** The part of the last run that is still to be typed. */
  rest = ""
  #composed: string | undefined
  /** What the element showed after the last key of the composition. */
  #left = ""

  constructor(letter: string, random: () => number, mayUndo: boolean) {
    this.letter = letter
    this.#random = random
    this.#mayUndo = mayUndo
  }

  /** Does one thing, and returns its name. `other`: the other person, who may be in the middle of a run. */
  act(other: Person): string {
    if (this.rest !== "") return this.#typeOn()
    const die = this.#random()
    if (!this.#mayUndo || die < 0.35) return this.#begin(die)
    // What is put back right behind a letter that somebody types at this moment may come before their next letter.
    while (other.rest !== "") other.#typeOn()
    if (this.element.value.replace(/«\w+»/g, "").includes("«")) return "waits"
    const own = this.typed.find((run) => this.element.value.includes(run))
    if (die < 0.6 && own !== undefined) {
      const at = this.element.value.indexOf(own)
      select(this.element, at, at + own.length)
      backspace(this.element)
      return "deletes a run"
    }
    control(this.element, die < 0.85 ? "z" : "y")
    return die < 0.85 ? "undo" : "redo"
  }

  #begin(die: number): string {
    const run = `«${this.letter}${this.typed.length}${this.letter.repeat(1 + Math.floor(this.#random() * 5))}»`
    this.typed.push(run)
    this.rest = run
    select(this.element, this.#place())
    this.#composed = die < 0.15 ? "" : undefined
    return this.#composed === undefined ? "begins to type" : "begins to compose"
  }

  #typeOn(): string {
    const [key = ""] = this.rest
    this.rest = this.rest.slice(1)
    if (this.#composed === undefined) {
      type(this.element, key)
      return "key"
    }
    if (this.#composed !== "" && this.element.value !== this.#left) throw new Error("a composition was disturbed")
    compose(this.element, this.#composed + key, this.#composed === "" ? undefined : this.#composed.length)
    this.#composed += key
    this.#left = this.element.value
    if (this.rest !== "") return "composes"
    endComposition(this.element)
    return "ends a composition"
  }

  /** A place that is neither within a run nor right behind one that is not finished. */
  #place(): number {
    const { value } = this.element
    const places = Array.from({ length: value.length + 1 }, (_, at) => at).filter(
      (at) => !/«[^»]*$/.test(value.slice(0, at)) && value.codePointAt(at - 1) !== 0x1f600,
    )
    return places[Math.floor(this.#random() * places.length)] as number
  }
}

test(`both see one text with every run whole, in ${RUNS} runs`, { timeout: 3_600_000 }, async () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const commands: string[] = []
    try {
      await run(seed, commands)
    } catch (error) {
      throw new Error(`seed ${seed}: ${commands.join(", ")}`, { cause: error })
    }
  }
  console.log([...counts].map(([what, count]) => `${what}: ${count}`).join(", "))
  for (const what of ["ends a composition", "undo", "redo", "deletes a run", "disconnects", "differs"]) {
    expect(counts.get(what) ?? 0, what).toBeGreaterThan(RUNS / 4)
  }
})

async function run(seed: number, commands: string[]): Promise<void> {
  const random = dice(seed)
  const mayUndo = seed % 2 === 0
  const { id } = await devices[0]!.notes.create({ body: PARAGRAPH })
  await until(() => devices[1]!.notes.get(id) !== undefined, ...devices)
  const handles = await Promise.all(devices.map((ws) => ws.notes.open(id)))
  const texts = handles.map((handle) => handle.text("body"))
  const people = ["a", "b"].map((letter) => new Person(letter, random, mayUndo))
  const stops = people.map(({ element }, i) => bindText(element, texts[i]!))
  const note = (what: string, who = "") => {
    commands.push(who + what)
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  const same = () => until(() => texts[0]!.value === texts[1]!.value) // texts change after the commits of a workspace

  let isOffline = false
  for (let n = 0; n < COMMANDS || people.some(({ rest }) => rest !== ""); n++) {
    const die = random()
    if (n >= COMMANDS || die < 0.9) {
      const who = random() < 0.5 ? 0 : 1
      if (n >= COMMANDS && people[who]!.rest === "") continue
      note(people[who]!.act(people[1 - who]!), `${people[who]!.letter} `)
    } else if (die < 0.93) {
      if (isOffline) devices[0]!.connect()
      else devices[0]!.disconnect()
      isOffline = !isOffline
      note(isOffline ? "disconnects" : "connects")
    } else if (!isOffline) {
      if (texts[0]!.value !== texts[1]!.value) note("differs")
      await same()
    }
  }
  if (isOffline) devices[0]!.connect()
  await Promise.all(handles.map((handle) => handle.saved()))
  await same()

  const { value } = texts[0]!
  const shown = value.replace(/\r\n?/g, "\n")
  expect(people.map(({ element }) => element.value)).toEqual([shown, shown])
  const typed = people.flatMap((person) => person.typed)
  const seen = typed.map((whole) => value.split(whole).length - 1)
  expect(typed.reduce((left, whole) => left.replace(whole, ""), value)).toBe(PARAGRAPH)
  for (const times of seen) expect(times).toBeLessThanOrEqual(1)
  if (!mayUndo) expect(seen).toEqual(typed.map(() => 1))
  for (const stop of stops) stop()
  await Promise.all(handles.map((handle) => handle.close()))
}
