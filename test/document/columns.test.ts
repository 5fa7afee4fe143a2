import * as Automerge from "@automerge/automerge"
import fc from "fast-check"
import { beforeAll, describe, expect, test } from "vitest"
import { Operations } from "../../src/document/columns.ts"
import { loadAutomerge } from "../../src/document/entity.ts"
import { fault } from "../../src/document/operation-faults.ts"
import { onlyString, rootKeys, setsOnly } from "../../src/document/root-operations.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"
import { forge, sleb, uleb } from "../support/forged-chunk.ts"
import { runs } from "../support/histories.ts"
import { forged, honestHistory, mutant, put } from "../support/hostile.ts"

beforeAll(() => loadAutomerge())

/** Converts an operation that Automerge has decoded into the fields that `walked` returns. */
function told(op: Record<string, unknown>, counter: number) {
  const { action, obj, key, elemId, insert = false, pred } = op
  const actions = ["makeMap", "set", "makeList", "del", "makeText", "inc", "makeTable"]
  const mark = action === "markBegin" || action === "markEnd"
  return {
    counter,
    action: mark ? 7 : actions.indexOf(action as string),
    markName: action === "markBegin" ? op["name"] : undefined,
    obj,
    key,
    elemId,
    insert,
    pred: [...(pred as string[])].sort(),
  }
}

/** Reads the operations of a change with `Operations`, which walks the columns. */
function walked(change: Change) {
  const op = new Operations(change)
  const id = (counter: { value: number }, actor: { value: number }) => `${counter.value}@${op.actor(actor.value)}`
  const all: unknown[] = []
  while (op.next()) {
    const pred: string[] = []
    for (let i = 0; i < op.predecessors; i++) {
      op.predecessorCounter.next()
      op.predecessorActor.next()
      pred.push(id(op.predecessorCounter, op.predecessorActor))
    }
    const element = op.atHead ? "_head" : op.onElement ? id(op.elementCounter, op.elementActor) : undefined
    all.push({
      counter: op.counter,
      action: op.action,
      markName: op.markName.there ? op.markName.text : undefined,
      obj: op.inRoot ? "_root" : id(op.objectCounter, op.objectActor),
      key: op.inMap ? op.key.text : undefined,
      elemId: element,
      insert: op.insert,
      pred: pred.sort(),
    })
  }
  return all
}

test("every operation of an honest change or of a mutant that is not refused is read as Automerge reads it", () => {
  const seen = { operations: 0, marks: 0, foreign: 0, insertions: 0 }
  const property = fc.property(fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed) => {
    const honest = honestHistory(seed)
    const mutants = Array.from({ length: 30 }, (_, n) => mutant(honest, seed + n)).filter((made) => made !== undefined)
    for (const change of [...honest, ...mutants]) {
      if (fault(change, () => true) === "CHUNK_BAD" && !honest.includes(change)) continue
      let ops: Record<string, unknown>[]
      try {
        ops = Automerge.decodeChange(change.chunk).ops as Record<string, unknown>[]
      } catch {
        continue // Automerge cannot decode this mutant
      }
      const expected = ops.map((op, i) => told(op, change.startOp + i))
      expect(walked(change)).toEqual(expected)
      const root = ops.filter(({ obj, key }) => obj === "_root" && key !== undefined).map(({ key }) => key)
      expect([...rootKeys(change)]).toEqual(expect.arrayContaining(root))
      seen.operations += ops.length
      for (const { markName, insert, pred } of expected) {
        if (markName !== undefined) seen.marks++
        if (insert) seen.insertions++
        if (pred.some((id) => !id.endsWith(change.actor))) seen.foreign++
      }
    }
  })
  fc.assert(property, { numRuns: runs(30, 1000) })
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(runs(30, 1000))
})

test("setsOnly is true only for a change that does nothing but set this key", () => {
  const before = { deps: [], startOp: 5 }
  const sets = (ops: Record<string, unknown>[]) => setsOnly(forged({ ...before, ops }), "z")
  expect(sets([put()])).toBe(true)
  expect(sets([put(), put()])).toBe(true)
  expect(sets([put(), put({ key: "y" })])).toBe(false)
  expect(sets([put({ obj: `1@${"a".repeat(32)}` })])).toBe(false)
  expect(sets([{ action: "del", obj: "_root", key: "z", pred: [`1@${"a".repeat(32)}`] }])).toBe(false)
  expect(sets([{ action: "makeText", obj: "_root", key: "z", pred: [] }])).toBe(false)
})

test("onlyString returns the whole string that a change sets, and undefined for any other change", () => {
  const only = (ops: Record<string, unknown>[]) => onlyString(forged({ ops }), "z")
  for (const value of ["", "notes", "é😀", "x".repeat(5000)]) {
    expect(only([put({ value, datatype: undefined })])).toBe(value)
  }
  expect(only([put({ value: 5 })])).toBeUndefined()
  expect(only([put({ value: true, datatype: undefined })])).toBeUndefined()
  expect(only([put({ value: "x", datatype: undefined, key: "y" })])).toBeUndefined()
  expect(only([put({ value: "x", datatype: undefined }), put()])).toBeUndefined()
  expect(only([{ action: "makeText", obj: "_root", key: "z", pred: [] }])).toBeUndefined()
})

describe("columns that Automerge never writes are CHUNK_BAD:", () => {
  const key = [0x7f, 1, 122]
  const put1: [number, number[]][] = [
    [21, key],
    [52, [1]],
    [66, [0x7f, 1]],
    [112, [0x7f, 0]],
  ]
  /** Makes a change with one put at key "z" of the root, in which this column is added or replaced. */
  const withColumn = (name: number, bytes: number[]) => {
    const columns = [...put1.filter(([one]) => one !== name), [name, bytes] as [number, number[]]]
    return readChange(forge({ columns: columns.sort(([a], [b]) => a - b) }))
  }
  const judged = (change: Change) => fault(change, () => true)

  test("the put from which the cases are made is sound", () => {
    expect(judged(readChange(forge({ columns: put1 })))).toBeUndefined()
  })

  const wrong: [string, number, number[]][] = [
    ["an empty run of nulls", 2, [0, 0]],
    ["a number in a longer form than it needs", 2, [0x7f, 0x80, 0]],
    ["a run's length in a longer form than it needs", 2, [0x81, 0, 1]],
    ["a literal that ends early", 2, [0x7f]],
    ["an object's counter without its actor", 2, [0x7f, 1]],
    ["an object's actor without its counter", 1, [0x7f, 0]],
    ["an element besides a key", 19, [0x7f, 1]],
    ["an insertion at a key", 52, [0, 1]],
    ["an action that does not exist", 66, [0x7f, 8]],
    ["a predecessor without counter and actor", 112, [0x7f, 1]],
  ]
  test.each(wrong)("%s", (_, name, bytes) => {
    expect(judged(withColumn(name, bytes))).toBe("CHUNK_BAD")
  })

  test("a predecessor whose counter is too large for a JavaScript number", () => {
    const huge = readChange(
      forge({
        columns: [
          [21, key],
          [52, [1]],
          [66, [0x7f, 1]],
          [112, [0x7f, 1]],
          [113, [0x7f, 0]],
          [115, [0x7f, ...sleb(2 ** 52)]],
        ],
      }),
    )
    expect(judged(huge)).toBe("CHUNK_BAD")
  })

  test("a predecessor whose actor is in a column of another type, which Automerge would accept", () => {
    const columns: [number, number[]][] = [
      [21, key],
      [52, [1]],
      [66, [0x7f, 1]],
      [112, [0x7f, 1]],
      [114, [0x7f, 0]],
      [115, [0x7f, 1]],
    ]
    expect(judged(readChange(forge({ columns })))).toBe("CHUNK_BAD")
  })

  test("a predecessor of an actor that the change does not name is OP_REFERENCE", () => {
    const change = readChange(
      forge({
        columns: [
          [21, key],
          [52, [1]],
          [66, [0x7f, 1]],
          [112, [0x7f, 1]],
          [113, [0x7f, ...uleb(1)]],
          [115, [0x7f, 1]],
        ],
      }),
    )
    expect(judged(change)).toBe("OP_REFERENCE")
  })
})
