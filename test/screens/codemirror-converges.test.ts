// @vitest-environment jsdom
/** Random edits of editors that are bound to one text. Every editor shows the text in the end. */

import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import path from "node:path"
import { redo, undo } from "@codemirror/commands"
import type { EditorView } from "@codemirror/view"
import type { LiveText } from "headwater"
import { openWorkspace } from "headwater"
import { memoryStore } from "headwater/memory"
import { createRelay } from "headwater-relay"
import { afterAll, beforeAll, expect, test } from "vitest"
import { loadAutomerge } from "../../src/document/entity.ts"
import { dice } from "../support/dice.ts"
import { asShown, compose, editorOf, endComposition, noteOf, notes, settled, type } from "../support/editors.ts"
import { until, untilPasses } from "../support/until.ts"

const RUNS = process.env["HEADWATER_LONG"] === "1" ? 2000 : 60
const COMMANDS = 40
const DEVICE_RUNS = RUNS / 5

const folder = mkdtempSync(path.join(tmpdir(), "headwater-editors-"))
let relay: Awaited<ReturnType<typeof createRelay>>
beforeAll(async () => {
  await loadAutomerge()
  relay = await createRelay({ host: "127.0.0.1", port: 0, data: folder })
})
afterAll(async () => {
  await relay.close()
  rmSync(folder, { recursive: true, force: true })
})

const pieces = ["a", "b", "cd", "\n", "\r", "\r\n", "😀", "x\ny", ""]

/** Every text of a property is edited through this: some edits are refused, as by a full document or a lost access. */
function refusing(text: LiveText, refuses: () => boolean): LiveText {
  return {
    get value() {
      return text.value
    },
    splice(at, remove, insert) {
      if (refuses()) throw new Error("refused")
      text.splice(at, remove, insert)
    },
    subscribe: text.subscribe,
  }
}

test(`editors of one page show the text, whoever edits it and whenever (${RUNS} seeds)`, async () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const random = dice(seed)
    const below = (n: number) => Math.floor(random() * n)
    const pick = <T>(all: readonly T[]): T => all[below(all.length)]!
    const commands: string[] = []
    const { ws, handle, body } = await noteOf(pick(["", "one two", "one\r\ntwo\r\n", "a\rb\nc\r\n😀"]))
    const refused = seed % 3 === 0
    const bound = refusing(body, () => refused && below(8) === 0)

    /** Edits inside a subscriber, for as long as `nested` is not 0. */
    let nested = 0
    const answer = () => {
      if (nested === 0) return
      nested--
      pick([splice, dispatch, dispatch])()
    }
    body.subscribe(answer)
    const editors = [editorOf(bound), editorOf(bound)]
    body.subscribe(answer)
    const updating = new Set<EditorView>() // no transaction may be made of a view that updates

    /** Two offsets, neither of them inside a character. */
    function range(text: string): [number, number] {
      const whole = (at: number) => ((text.codePointAt(at - 1) ?? 0) > 0xffff && at > 0 ? at + 1 : at)
      const [from, to] = [below(text.length + 1), below(text.length + 1)].sort((a, b) => a - b) as [number, number]
      return [whole(from), whole(to)]
    }
    function splice() {
      const [from, to] = range(body.value)
      const insert = pick(pieces)
      commands.push(`splice ${from} ${to - from} ${JSON.stringify(insert)}`)
      body.splice(from, to - from, insert)
    }
    function dispatch() {
      const at = below(2)
      const { view } = editors[at]!
      if (updating.has(view)) return
      const shown = view.state.doc.toString()
      const ranges = Array.from({ length: 1 + below(3) }, () => {
        const [from, to] = range(shown)
        return { from, to: below(4) === 0 ? to : from }
      })
      const insert = pick(pieces)
      const places = ranges.map(({ from, to }) => `${from}-${to}`)
      commands.push(`editor ${at}: ${places} ${JSON.stringify(insert)}`)
      const sorted = ranges.toSorted((a, b) => a.from - b.from)
      const apart = sorted.filter(({ from }, i) => sorted.slice(0, i).every(({ to }) => to < from))
      updating.add(view)
      view.dispatch({ changes: apart.map(({ from, to }) => ({ from, to, insert: view.state.toText(insert) })) })
      updating.delete(view)
    }

    for (let i = 0; i < COMMANDS; i++) {
      const { view } = pick(editors)
      switch (below(8)) {
        case 0:
        case 1:
          splice()
          break
        case 2:
          commands.push(`undo in editor ${editors.findIndex((one) => one.view === view)}`)
          updating.add(view)
          pick([undo, undo, redo])(view)
          updating.delete(view)
          break
        case 3:
          nested = 1 + below(3)
          commands.push(`answer the next ${nested}`)
          break
        case 4:
          commands.push("settle")
          await settled()
          break
        default:
          dispatch()
      }
    }
    nested = 0
    await settled()
    const told = `seed ${seed}\n${commands.join("\n")}`
    for (const { view } of editors) {
      expect(view.state.doc.toString(), told).toBe(asShown(body.value))
      view.destroy()
    }
    if (!refused)
      expect(
        editors.flatMap(({ errors }) => errors),
        told,
      ).toEqual([])
    await handle.close()
    await ws.close()
  }
})

/** A person at a device of their own, whose caret stands inside a word. What each person types has letters of its own. */
async function person(seed: number, letters: string, kana: string, caret: number) {
  const ws = await openWorkspace({
    id: `seed-${seed}`,
    collections: { notes },
    store: memoryStore(),
    relay: { url: relay.url },
  })
  if (caret === 0) await ws.notes.create({ body: "one word\nand more" }, { id: "a" })
  await until(() => ws.notes.get("a") !== undefined, ws)
  const handle = await ws.notes.open("a")
  const text = handle.text("body")
  const { view, errors } = editorOf(text)
  view.focus()
  view.dispatch({ selection: { anchor: "one w".length + (caret % 2) } })
  const own = new RegExp(`[${letters}${kana}]`, "g")
  const ownIn = (value: string) => (value.match(own) ?? []).join("")
  return { ws, handle, text, view, errors, letters, kana, ownIn, typed: "", isOnline: true }
}

test(`two people in one word, with input methods, undo and lost connections (${DEVICE_RUNS} seeds)`, async () => {
  for (let seed = 1; seed <= DEVICE_RUNS; seed++) {
    const random = dice(seed)
    const below = (n: number) => Math.floor(random() * n)
    const commands: string[] = []
    const people = [
      await person(seed, "ABCDEFGHIJ", "にほんご", 0),
      await person(seed, "0123456789", "한국어말", 1 + (seed % 2)),
    ]
    for (let i = 0; i < COMMANDS; i++) {
      const at = below(2)
      const one = people[at]!
      const { ws, view, letters, kana } = one
      switch (below(8)) {
        case 0:
          commands.push(`${at} ${one.isOnline ? "goes offline" : "comes back"}`)
          one.isOnline = !one.isOnline
          one.isOnline ? ws.connect() : ws.disconnect()
          break
        case 1: {
          commands.push(`${at} composes`)
          for (let n = 1 + below(3); n > 0; n--) {
            await compose(view, kana.slice(0, 1 + below(kana.length)))
            await settled()
          }
          if (below(2) === 0 && people.every(({ isOnline }) => isOnline)) await heardFrom(people[1 - at]!.ws, ws)
          endComposition(view)
          break
        }
        case 2:
          commands.push(`${at} takes back`)
          undo(view)
          goOn(view, one.ownIn, at)
          break
        case 3:
          commands.push("both hear what the relay has")
          if (people.every(({ isOnline }) => isOnline)) await heardFrom(...people.map(({ ws }) => ws))
          break
        default: {
          const burst = Array.from({ length: 1 + below(4) }, () => letters[below(letters.length)]!)
          commands.push(`${at} types ${burst.join("")}`)
          for (const letter of burst) type(view, letter)
        }
      }
      one.typed = one.ownIn(view.state.doc.toString())
    }
    for (const { ws } of people) ws.connect()
    const told = `seed ${seed}\n${commands.join("\n")}`
    for (const { handle } of people) await handle.saved()
    await heardFrom(...people.map(({ ws }) => ws))
    await untilPasses(() => {
      for (const { view } of people) expect(view.state.doc.toString(), told).toBe(people[0]!.text.value)
      expect(people[1]!.text.value, told).toBe(people[0]!.text.value)
    })
    for (const { text, ownIn, typed, errors } of people) {
      expect(ownIn(text.value), told).toBe(typed)
      expect(text.value, told).toContain(typed)
      expect(errors, told).toEqual([])
    }
    for (const { ws, view } of people) {
      view.destroy()
      await ws.close()
    }
  }
})

/**
 * Puts the caret behind what is left of one's own letters, or into another word for each of the two. Undo may leave it
 * inside or at the end of what the other person has typed, and that run would then be divided with good reason.
 */
function goOn(view: EditorView, ownIn: (value: string) => string, person: number): void {
  const shown = view.state.doc.toString()
  let last = shown.length - 1
  while (last >= 0 && ownIn(shown[last]!) === "") last--
  const other = person === 0 ? shown.indexOf("\nan") + "\nan".length : shown.length - "re".length
  view.dispatch({ selection: { anchor: last < 0 ? other : last + 1 } })
}

/** Resolves when everything that was written on these devices is at the relay, and they have everything from there. */
async function heardFrom(...all: readonly { whenStored(): Promise<void>; whenSynced(): Promise<void> }[]) {
  for (const ws of all) await ws.whenStored()
  for (const ws of all) await ws.whenSynced()
}
