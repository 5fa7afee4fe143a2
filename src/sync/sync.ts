/**
 * Keeps a replica level with the relay's log. One object per workspace; one `Session` inside it per live connection, so that
 * nothing learned on a connection outlives it.
 */
import type { Env } from "../base/env.ts"
import type { HeadwaterError } from "../base/errors.ts"
import type { Replica } from "../replica/replica.ts"
import type { RelayMessage } from "../wire/protocol.ts"
import { Session, type SessionStatus } from "./session.ts"
import type { Channel, Link } from "./socket.ts"

export interface SyncStatus extends SessionStatus {
  readonly connection: "none" | "dialling" | "waiting" | "open"
  readonly retryAt: number | null
}

/** Nothing that a session says of itself outlives it. */
const unknown = { level: false, refusal: null, progress: null } as const
const idle: SyncStatus = { connection: "none", asOf: 0, retryAt: null, error: null, ...unknown }

export class Sync implements Channel {
  status: SyncStatus = idle
  #session: Session | undefined
  #checks = 0
  readonly #replica: Replica
  readonly #env: Env
  readonly #changed: () => void

  constructor(replica: Replica, env: Env, changed: () => void) {
    this.#replica = replica
    this.#env = env
    this.#changed = changed
    replica.onCommit(() => this.#session?.push())
  }

  opened(link: Link): void {
    this.#update({ connection: "open", retryAt: null, error: null, ...unknown })
    this.#session = new Session(
      this.#replica,
      this.#env,
      link,
      () => this.#checks,
      (patch) => this.#update(patch),
    )
  }

  /** What does the relay have now? Answered once `status` is level as of the number that this returns, or a later one. */
  check(): number {
    this.#checks++
    this.#session?.pullAgain()
    return this.#checks
  }

  received(message: RelayMessage, bytes: number): void {
    this.#session?.receive(message, bytes)
  }

  dialling(): void {
    this.#endSession()
    this.#update({ connection: "dialling", retryAt: null, ...unknown })
  }

  closed(error: HeadwaterError | null, retryAt: number | null): void {
    this.#endSession()
    this.#update({ connection: retryAt === null ? "none" : "waiting", retryAt, ...unknown, ...(error && { error }) })
  }

  /** The app hung up. */
  stop(): void {
    this.#endSession()
    this.#update(idle)
  }

  #endSession(): void {
    this.#session?.end()
    this.#session = undefined
  }

  #update(patch: Partial<SyncStatus>): void {
    this.status = { ...this.status, ...patch }
    this.#changed()
  }
}
