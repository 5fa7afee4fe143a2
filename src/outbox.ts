/**
 * What the relay is still owed, in memory: one record a change, written in the same commit as the change and removed in
 * the commit that takes its ack.
 */
import type { Hash } from "./protocol.ts"
import { keys, type OutRecord, readJson } from "./records.ts"
import type { Store } from "./store/store.ts"

export interface Owed extends OutRecord {
  readonly entity: string
  readonly hash: Hash
}

export class Outbox {
  private readonly byEntity = new Map<string, Map<Hash, Owed>>()
  private total = 0
  private readonly byPrincipal = new Map<string | null, number>()

  async load(store: Store, workspace: string): Promise<void> {
    for (const [key, value] of await store.list(keys.outbox(workspace))) {
      const [, , entity = "", hash = ""] = key
      this.add({ entity, hash, ...readJson<OutRecord>(value, key) })
    }
  }

  get size(): number {
    return this.total
  }

  get(entity: string, hash: Hash): Owed | undefined {
    return this.byEntity.get(entity)?.get(hash)
  }

  add(owed: Owed): void {
    let owedOf = this.byEntity.get(owed.entity)
    if (owedOf === undefined) this.byEntity.set(owed.entity, (owedOf = new Map()))
    this.count(owedOf.get(owed.hash), -1)
    owedOf.set(owed.hash, owed)
    this.count(owed, 1)
  }

  remove(entity: string, hash: Hash): void {
    const owedOf = this.byEntity.get(entity)
    this.count(owedOf?.get(hash), -1)
    owedOf?.delete(hash)
    if (owedOf?.size === 0) this.byEntity.delete(entity)
  }

  /** Of one entity, in an order in which it can be pushed. */
  of(entity: string): Owed[] {
    const owed = [...(this.byEntity.get(entity)?.values() ?? [])]
    return owed.sort((a, b) => a.startOp - b.startOp || (a.hash < b.hash ? -1 : 1))
  }

  entities(): Iterable<string> {
    return this.byEntity.keys()
  }

  *[Symbol.iterator](): Iterator<Owed> {
    for (const owedOf of this.byEntity.values()) yield* owedOf.values()
  }

  /** What was made under other principals than the present one. */
  others(principal: string | null, first: string | null): { principal: string; pending: number }[] {
    const counts = new Map<string, number>()
    for (const [made, pending] of this.byPrincipal) {
      const maker = made ?? first
      if (pending > 0 && maker !== null && principal !== null && maker !== principal) {
        counts.set(maker, (counts.get(maker) ?? 0) + pending)
      }
    }
    return [...counts].map(([of, pending]) => ({ principal: of, pending }))
  }

  private count(owed: Owed | undefined, by: 1 | -1): void {
    if (owed === undefined) return
    this.total += by
    this.byPrincipal.set(owed.principal, (this.byPrincipal.get(owed.principal) ?? 0) + by)
  }

  /** What a row shows of it. */
  pending(entity: string): { fields: readonly string[]; creation: boolean } | undefined {
    const owedOf = this.byEntity.get(entity)
    if (owedOf === undefined) return undefined
    const fields = new Set<string>()
    let creation = false
    for (const owed of owedOf.values()) {
      for (const field of owed.fields) fields.add(field)
      if (owed.startOp === 1) creation = true
    }
    return { fields: Object.freeze([...fields].sort()), creation }
  }
}
