/**
 * The outbox on a device's disk, read without the library, so that a fault of the library cannot hide itself. It has
 * records of single changes, and pages of many changes (`docs/architecture.md`, "On disk"). A single record replaces
 * the record of the same change in a page. A single record `null` says that the change is not in the outbox any more.
 */

import type { Key, Value } from "../../../src/store/store.ts"
import type { Hash } from "../../../src/wire/protocol.ts"
import { jsonIn } from "../../support/record.ts"

export interface Owed {
  readonly entity: string
  readonly how: "own" | "again" | "adopt"
  readonly principal: string | null
}

interface Page {
  readonly kinds: readonly (readonly [principal: string | null, how: Owed["how"], ...rest: unknown[]])[]
  /**
   * One line for each entity and kind: the entity, the kind, a flag, and `hash,startOp,bytes` of each change, separated
   * by spaces.
   */
  readonly lines: string
}

export class OwedOnDisk {
  readonly #pages = new Map<string, ReadonlyMap<Hash, Owed>>()
  /** The single records. `null`: this change is not in the outbox any more, even if a page has it. */
  readonly #records = new Map<Hash, Owed | null>()

  /** Whether this is the key of an outbox record. */
  static concerns([, kind]: Key): boolean {
    return kind === "out" || kind === "outpage"
  }

  write(key: Key, value: Value | undefined): void {
    const [, kind, first = "", hash = ""] = key
    if (kind === "outpage") {
      if (value === undefined) this.#pages.delete(first)
      else this.#pages.set(first, readPage(jsonIn(value)))
    } else if (value === undefined) this.#records.delete(hash)
    else {
      const record: Omit<Owed, "entity"> | null = jsonIn(value)
      this.#records.set(hash, record && { entity: first, ...record })
    }
  }

  get(hash: Hash): Owed | undefined {
    const record = this.#records.get(hash)
    if (record !== undefined) return record ?? undefined
    for (const page of this.#pages.values()) if (page.has(hash)) return page.get(hash)
    return undefined
  }

  /** All changes in the outbox. */
  all(): Map<Hash, Owed> {
    const all = new Map<Hash, Owed>()
    for (const page of this.#pages.values()) for (const [hash, owed] of page) all.set(hash, owed)
    for (const [hash, owed] of this.#records) {
      if (owed === null) all.delete(hash)
      else all.set(hash, owed)
    }
    return all
  }
}

function readPage({ kinds, lines }: Page): ReadonlyMap<Hash, Owed> {
  const page = new Map<Hash, Owed>()
  for (const line of lines.split("\n")) {
    const [entity = "", index, _flag, ...changes] = line.split(" ")
    const [principal, how] = kinds[Number(index)]!
    for (const change of changes) page.set(change.slice(0, change.indexOf(",")), { entity, how, principal })
  }
  return page
}
