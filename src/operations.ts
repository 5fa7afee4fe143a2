/** What stands inside a change, as far as it says whether the change is honest. */
import { automerge } from "./automerge.ts"
import type { Change } from "./chunk.ts"
import type { Code } from "./errors.ts"
import type { Actor } from "./protocol.ts"

/** Whether this operation stands in the change's ancestors. */
export type Exists = (counter: number, actor: Actor) => boolean

interface Op {
  readonly action: string
  readonly obj: string
  readonly key?: string
  readonly elemId?: string
  readonly insert?: boolean
  readonly pred?: readonly string[]
}

function read(change: Change): readonly Op[] | undefined {
  try {
    return automerge().decodeChange(change.chunk).ops
  } catch {
    return undefined
  }
}

export function fault(change: Change, exists: Exists): Code | undefined {
  const ops = read(change)
  if (ops === undefined || !ops.every((op, i) => honest(op, ops[i - 1], ops[i + 1]))) return "CHUNK_BAD"
  const named = (id: string | undefined, before: number) => {
    if (id === undefined || id === "_root" || id === "_head") return true
    const [counter, actor = ""] = id.split("@")
    const own = actor === change.actor && Number(counter) >= change.startOp
    return own ? Number(counter) < before : exists(Number(counter), actor)
  }
  const ok = ops.every(({ obj, elemId, pred }, i) => {
    const at = change.startOp + i
    return named(obj, at) && named(elemId, at) && (pred ?? []).every((id) => named(id, at))
  })
  return ok ? undefined : "OP_REFERENCE"
}

function honest(
  { action, obj, key, elemId, insert, pred }: Op,
  before: Op | undefined,
  after: Op | undefined,
): boolean {
  const puts = action.startsWith("make") || action === "set"
  const replaces = (pred?.length ?? 0) > 0
  if (action === "markBegin") return insert === true && after?.action === "markEnd" && after.obj === obj
  if (action === "markEnd") return insert === true && before?.action === "markBegin"
  if (key !== undefined) return key !== "__proto__" && !insert && (puts || (replaces && isUpdate(action)))
  return insert ? puts && !replaces : elemId !== "_head" && replaces && (puts || isUpdate(action))
}

const isUpdate = (action: string) => action === "del" || action === "inc"

/** Whether all that the change does is to set this key of the root. */
export function setsOnly(change: Change, key: string): boolean {
  return read(change)?.every((op) => op.obj === "_root" && op.key === key && op.action === "set") ?? false
}
