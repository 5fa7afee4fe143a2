/** Random histories of one entity on several replicas, made by the library's own document code. */
import * as Automerge from "@automerge/automerge"
import fc from "fast-check"
import { HeadwaterError } from "../../src/base/errors.ts"
import { Entity } from "../../src/document/entity.ts"
import { created, edited } from "../../src/schema/draft.ts"
import { collection, shape, text } from "../../src/schema/schema.ts"
import { type Change, readChange } from "../../src/wire/chunk.ts"

export const runs = (share: number, all: number): number => (process.env["HEADWATER_LONG"] === "1" ? all : share)

export interface Note {
  title: string
  body: string
  summary?: string
  tags?: string[]
  meta?: { a?: number; b?: { deep: string }[] }
  n?: number
}
export const notes = collection("notes", shape<Note>(), { fields: { body: text(), summary: text() } })
export const ID = "0192-note"

export const actorOf = (n: number): string => (n + 1).toString(16).padStart(32, "a")
export const createdNote = (input: Partial<Note>) => created(notes, input).changes

export type Edit = { splice(key: string, at: number, remove: number, insert?: string): void }

const edits: Record<string, (draft: Note, edit: Edit, n: number) => void> = {
  title: (draft, _, n) => void (draft.title = `t${n}`),
  tags: (draft, _, n) => void (draft.tags = n % 5 === 0 ? [] : [`x${n % 7}`, `y${n}`]),
  meta: (draft, _, n) => void (draft.meta = { b: [{ deep: `d${n}` }], a: n / 4 }),
  untag: (draft) => void delete draft.tags,
  clear: (draft) => void (draft.body = ""),
  assign: (draft, _, n) => void (draft.summary = `${"s".repeat(n % 4)}é${n % 10}😀`),
  splice: ({ body }, edit, n) => {
    if (typeof body !== "string") return // another tool has replaced the text by something else
    const at = boundary(body, n % (body.length + 1))
    const end = boundary(body, Math.min(body.length, at + (n % 3)))
    edit.splice("body", at, end - at, ["", "a", "😀b"][n % 3])
  },
}

/** Edits that break this library's rules, as another Automerge tool may make them. */
const liberties: ((doc: Record<string, unknown>) => void)[] = [
  (doc) => void (doc["body"] = new Automerge.ImmutableString("scalar")),
  (doc) => void (doc["summary"] = "another text"),
  (doc) => void (doc["body"] = { an: "object" }),
  (doc) => void delete doc["summary"],
  (doc) => void (doc["title"] = "as text"),
  (doc) => void (doc["tags"] = [new Date(5), "text", Number.NaN, new Uint8Array([1])]),
]

export type Command =
  | { readonly do: "edit"; readonly r: number; readonly kind: string; readonly n: number }
  | { readonly do: "delete" | "restore"; readonly r: number }
  | { readonly do: "merge"; readonly r: number; readonly from: number }
  | { readonly do: "foreign"; readonly r: number; readonly n: number }

export function commands(replicas: number, maxLength: number, foreign = 0): fc.Arbitrary<Command[]> {
  const r = fc.nat(replicas - 1)
  const edit = fc.record({ do: fc.constant("edit"), r, kind: fc.constantFrom(...Object.keys(edits)), n: fc.nat(999) })
  const command = fc.oneof(
    { weight: 5, arbitrary: edit },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("delete", "restore"), r }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("merge"), r, from: r }) },
    { weight: foreign, arbitrary: fc.record({ do: fc.constant("foreign"), r, n: fc.nat(liberties.length - 1) }) },
  )
  return fc.array(command as fc.Arbitrary<Command>, { minLength: 2, maxLength })
}

/** One replica of the entity: its live document, and every change in it. */
export class Replica {
  readonly entity: Entity
  readonly changes = new Map<string, Change>()

  constructor(n: number) {
    this.entity = Entity.create(ID, "notes", actorOf(n))
    this.keep([this.entity.genesis])
  }

  keep(changes: readonly Change[]): readonly Change[] {
    for (const change of changes) this.changes.set(change.hash, change)
    return changes
  }

  update(f: (draft: Note, edit: Edit) => void, time: number): readonly Change[] {
    return this.keep(this.entity.write(notes, edited(notes, this.entity.whole(notes), f).changes, time))
  }

  pull(other: Replica): void {
    const fresh = [...other.changes.values()].filter(({ hash }) => !this.changes.has(hash))
    this.entity.apply(fresh)
    this.keep(fresh)
  }

  /** Returns the changes that the command made. There are none if the document refuses the edit. */
  run(command: Command, replicas: readonly Replica[], time: number): readonly Change[] {
    if (command.do === "merge") this.pull(replicas[command.from] as Replica)
    if (command.do === "delete") return this.keep(this.entity.remove(time))
    if (command.do === "restore") return this.keep(this.entity.restore(time))
    if (command.do === "foreign") return this.takeLiberty(liberties[command.n] ?? (() => {}), time)
    if (command.do !== "edit" || this.entity.deleted) return []
    try {
      return this.update((draft, edit) => edits[command.kind]?.(draft, edit, command.n), time)
    } catch (error) {
      if (error instanceof HeadwaterError && error.code === "FIELD_KIND") return []
      throw error
    }
  }

  private takeLiberty(write: (doc: Record<string, unknown>) => void, time: number): readonly Change[] {
    const actor = time.toString(16).padStart(32, "f")
    const chunks = [...this.changes.values()].map(({ chunk }) => chunk)
    const doc = Automerge.applyChanges(Automerge.init<Record<string, unknown>>({ actor }), chunks)[0]
    const made = Automerge.getLastLocalChange(Automerge.change(doc, { time }, write))
    Automerge.free(doc)
    if (made === undefined) return []
    this.entity.apply([readChange(made)])
    return this.keep([readChange(made)])
  }

  free(): void {
    this.entity.free()
  }
}

/** The nearest position at or before `at` that does not cut a surrogate pair. */
function boundary(value: string, at: number): number {
  const unit = value.charCodeAt(at)
  return at > 0 && unit >= 0xdc00 && unit <= 0xdfff ? at - 1 : at
}

/** Runs the commands. The time of each is one second after the time of the command before it. */
export function play(replicas: number, script: readonly Command[]): Replica[] {
  const all = Array.from({ length: replicas }, (_, n) => new Replica(n))
  for (const [i, command] of script.entries()) (all[command.r] as Replica).run(command, all, 1000 + i)
  return all
}
