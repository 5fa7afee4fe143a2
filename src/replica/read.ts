/** Reads all fields of an entity, including fields that are too long for its row. */
import { accepted, readSound } from "../document/reader/read-row.ts"
import type { Fields } from "../schema/draft.ts"
import type { AnyDef } from "../schema/schema.ts"
import type { Replica } from "./replica.ts"

/**
 * Reads an entity; undefined when there is no such entity in the collection. No document is made if the fields can be
 * read from the changes. Idle work then makes the document, unless another entity is read soon: a person who has opened
 * an entity will probably edit it, whereas an export or a search reads one entity after the other.
 */
export async function read(replica: Replica, def: AnyDef, id: string): Promise<Fields | undefined> {
  const { documents, sizes } = replica
  let isClosed = false
  const fields = await replica.step([], async (tx) => {
    if (!tx.exists(id)) return undefined
    // The verdict on a change of a stale entity may be open. So its fields are read from its document: `live` judges
    // its changes before it makes the document.
    const isSound = () => tx.staleOf(id) === undefined
    const held = sizes.readRows && !documents.has(id) && isSound() ? await documents.saved.held(id, tx) : undefined
    // If `held` has found a damaged change, the entity is stale now. Then the document is used, and the row is made
    // again.
    const changes = held && isSound() ? Array.from(held.values(), ({ change }) => change) : undefined
    const closed = changes && readSound(id, changes)
    const read = closed && accepted(() => closed.whole(def))
    isClosed = read !== undefined
    const entity = isClosed ? closed : (await documents.live(id, tx, held))?.entity
    return entity?.collection === def.name ? structuredClone(read ?? entity.whole(def)) : undefined
  })
  if (isClosed) replica.wasRead(id)
  return fields
}
