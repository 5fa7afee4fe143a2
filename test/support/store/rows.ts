import type { Store, Write } from "../../../src/store/store.ts"

export const idOf = (id: number): string => `${id}`.padStart(8, "0")

/** One commit as a replica makes it: a chunk, a row and an outbox record. */
export const rowsOfId = (id: number): Write[] => [
  [["w", "chunk", idOf(id)], new Uint8Array(120).fill(id)],
  [["w", "row"], `${id}`],
  [["w", "outbox", idOf(id)], `${id}`],
]

/** The ids of all commits in the store, ascending. Throws when only a part of a commit is there. */
export async function ids(store: Store): Promise<number[]> {
  const [chunks, entries] = [await store.list(["w", "chunk"]), await store.list(["w", "outbox"])]
  const found = entries.map(([, id]) => Number(id))
  if (`${chunks.map(([key]) => key[2])}` !== `${found.map(idOf)}`) throw new Error("only a part of a commit is there")
  if ((await store.get(["w", "row"])) !== found.at(-1)?.toString())
    throw new Error("the row is not the one of the last commit")
  return found
}

export const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code
