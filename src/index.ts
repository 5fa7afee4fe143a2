export type { Collection, Delta, RowOf } from "./app/collection.ts"
export { openWorkspace, type Status, type Workspace, type WorkspaceOptions } from "./app/workspace.ts"
export type { Clock, Env, Socket } from "./base/env.ts"
export { type Code, codes, HeadwaterError } from "./base/errors.ts"
export {
  collection,
  type Def,
  type Edit,
  type Meta,
  preview,
  type Row,
  shape,
  text,
  type Whole,
} from "./schema/schema.ts"
export type { Expect, Key, Store, Value, Write } from "./store/store.ts"
export { type Relay, type RelayOptions, relayConnection, type Token } from "./sync/socket.ts"
export type { Access } from "./wire/protocol.ts"
