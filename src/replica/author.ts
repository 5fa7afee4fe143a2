/** What the user of this device does to entities: each write as one step, its changes held, owed and shown by one commit. */

import { HeadwaterError } from "../base/errors.ts"
import { Entity } from "../document/entity.ts"
import type { Edited } from "../schema/draft.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Change } from "../wire/chunk.ts"
import { Live } from "./live.ts"
import { owedOf, type Replica } from "./replica.ts"
import type { Transaction } from "./transaction.ts"

export async function create(replica: Replica, def: AnyDef, id: string, content: Edited): Promise<void> {
  await replica.step([id], async (tx) => {
    mustWrite(tx)
    if (replica.exists(id, tx))
      throw new HeadwaterError("ENTITY_EXISTS", `there is an entity ${id} already`, { entity: id })
    await replica.loadAutomerge()
    const entity = Entity.create(id, def.name, replica.actor)
    let made: Change[]
    try {
      made = entity.write(def, content.changes, replica.seconds())
      if (entity.facts.createdIn === undefined) made.push(...entity.sign(replica.seconds()))
    } catch (error) {
      entity.free()
      throw error
    }
    mint(replica, tx, replica.documents.add(new Live(entity)), [entity.genesis, ...made], fieldsOf(content))
  })
}

/** `edit` is told what the entity is when its turn comes. */
export async function update(
  replica: Replica,
  def: AnyDef,
  id: string,
  edit: (before: Record<string, unknown>) => Edited,
): Promise<void> {
  await replica.step([id], async (tx) => {
    const live = await writable(replica, def, id, tx)
    if (live.entity.deleted)
      throw new HeadwaterError("ENTITY_DELETED", `${id} is deleted; restore it first`, { entity: id })
    const content = edit(live.entity.whole(def))
    mint(replica, tx, live, live.entity.write(def, content.changes, replica.seconds()), fieldsOf(content))
  })
}

export async function remove(replica: Replica, def: AnyDef, id: string): Promise<void> {
  await replica.step([id], async (tx) => {
    const live = await writable(replica, def, id, tx)
    if (!live.entity.deleted) mint(replica, tx, live, live.entity.remove(replica.seconds()), [])
  })
}

export async function restore(replica: Replica, def: AnyDef, id: string): Promise<void> {
  await replica.step([id], async (tx) => {
    const live = await writable(replica, def, id, tx)
    if (live.entity.deleted) mint(replica, tx, live, live.entity.restore(replica.seconds()), [])
  })
}

function mustWrite({ state }: Transaction): void {
  if (state.access === "read") throw new HeadwaterError("READ_ONLY", "this principal may read only")
}

async function writable(replica: Replica, def: AnyDef, id: string, tx: Transaction): Promise<Live> {
  mustWrite(tx)
  const live = replica.exists(id, tx) ? await replica.live(id, tx) : undefined
  if (live === undefined || live.entity.collection !== def.name) {
    throw new HeadwaterError("ENTITY_NOT_FOUND", `no ${def.name} ${id}`, { entity: id })
  }
  return live
}

/** Changes made here: held, owed to the relay and shown, all in one commit. */
function mint(
  replica: Replica,
  tx: Transaction,
  live: Live,
  changes: readonly Change[],
  fields: readonly string[],
): void {
  const { id: entity, collection } = live.entity
  const { principal } = tx.state
  for (const change of changes) {
    tx.hold(entity, { change, collection, by: principal ?? undefined })
    tx.owe({ ...owedOf(entity, change), how: "own", principal, fields })
    live.add(change, principal)
    replica.made.add(change.hash)
  }
  if (changes.length > 0) tx.write(entity)
}

/** The fields that an edit touches, sorted. */
function fieldsOf({ changes: { set, remove, text, splices } }: Edited): readonly string[] {
  return [...new Set([...set.keys(), ...remove, ...text.keys(), ...splices.map(({ key }) => key)])].sort()
}
