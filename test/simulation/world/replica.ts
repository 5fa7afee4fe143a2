/** One device, and while it runs the program on it: the real library on the simulated network, clock and disk. */

import * as A from "@automerge/automerge"
import { openWorkspace } from "../../../src/app/workspace.ts"
import type { Env } from "../../../src/base/env.ts"
import { HeadwaterError } from "../../../src/base/errors.ts"
import type { Sizes } from "../../../src/base/replica-sizes.ts"
import type { State } from "../../../src/replica/disk/records.ts"
import { collection, shape, text } from "../../../src/schema/schema.ts"
import type { Store } from "../../../src/store/store.ts"
import { type Relay, type RelayOptions, relayConnection } from "../../../src/sync/connection/relay-connection.ts"
import type { Access } from "../../../src/wire/protocol.ts"
import { jsonIn } from "../../support/record.ts"
import { describe, type EditMade, type Kind } from "../oracle/edits.ts"
import type { Oracle } from "../oracle/oracle.ts"
import { type Latency, Process, type Scheduler } from "./clock.ts"
import type { Connection, Network } from "./network.ts"
import type { Random } from "./random.ts"
import { Device, HOME, type Records, WORKSPACE } from "./store.ts"

const content = shape<{ title?: string; body?: string; tags?: string[]; extra?: string; n?: number }>()
const first = { fields: { body: text() } } as const
export const notes = collection("notes", content, first)
const tasks = collection("tasks", content, first)
/** The schema of the second version of the app: one more text, and a default. */
const next = { fields: { body: text(), extra: text() }, defaults: { n: 7 } } as const
/** The two versions of the app. Only the second one writes `extra`. */
const versions = {
  1: { notes, tasks },
  2: { notes: collection("notes", content, next), tasks: collection("tasks", content, next) } as unknown as {
    notes: typeof notes
    tasks: typeof tasks
  },
} as const
export type Version = keyof typeof versions
/** One entity in four is a task. */
export const collectionOf = (entity: string): "notes" | "tasks" =>
  entity.charCodeAt(entity.length - 1) % 4 === 1 ? "tasks" : "notes"
export const rowsOf = ({ notes, tasks }: Workspace) => [...notes.all(), ...tasks.all()]
export const RELAY = { url: "ws://relay" } as const
const open = (id: string, store: Store, env: Env, relay: Relay | RelayOptions | undefined, version: Version) =>
  openWorkspace({ id, collections: versions[version], store, env, relay })
export type Workspace = Awaited<ReturnType<typeof open>>

/** Characters of a token. A token stands for one edit. A text is a row of tokens, and a search for bytes finds each. */
export const TOKEN = 4
export const EDITS = ["title", "splice", "cut", "tags", "both", "assign", "delete", "restore"] as const
export type EditKind = (typeof EDITS)[number]

export interface ReplicaOptions {
  readonly name: string
  readonly scheduler: Scheduler
  readonly network: Network
  readonly oracle: Oracle
  /** How long operations of its disk take. */
  readonly latency: Latency
  readonly sizes: Sizes
}

export class Replica {
  readonly name: string
  readonly device: Device
  /** The principal that the relay sees behind this device. */
  principal: string
  ws: Workspace | undefined
  process: Process | undefined
  /** Whether its workspace connects when it opens. */
  dials = true
  /** Whether its program has a second workspace (`home`), and one connection for both. */
  shares = false
  /** Whether entities are edited through handles. */
  onScreens = false
  /** The handles of this life of the program, by entity. */
  #screens = new Map<string, Promise<Screen>>()
  home: Workspace | undefined
  relay: Relay | RelayOptions = RELAY
  /** The version of the app on this device. */
  version: Version = 1
  /** `next`: what its token function does in its next calls. `failed`: how often the function has failed. */
  tokens: { readonly next: ("rejects" | "hangs")[]; failed: number } = { next: [], failed: 0 }
  /**
   * `next`: how many of the next `entries` messages to its workspace come from a relay that is newer than the library.
   * `met`: how many have come.
   */
  newer = { next: 0, met: 0 }
  /** The access that the relay grants to this device now. */
  access: Access = "write"
  /** How often the relay has withdrawn its right to write. */
  withdrawn = 0
  /** The connection that its workspace used when the workspace was told to disconnect. */
  left: Connection | undefined
  /** Whether the device has a network. */
  online = true
  /** Edits whose promises are not settled yet. */
  open = new Set<EditMade>()
  /** The rows that each collection's subscriber was given last. */
  told: Record<"notes" | "tasks", readonly unknown[]> = { notes: [], tasks: [] }
  /** How often another account has signed in on this device. */
  switches = 0
  /** How often its program could not open its workspace because the disk failed. */
  failedOpens = 0
  /** How often its status has named edits that another account left here. */
  othersTold = 0
  backup: { readonly records: Records; readonly principal: string } | undefined
  /** Called when its state record (cursor, reach, heal mark) is on the disk. */
  onState: (state: State) => void = () => {}
  readonly sizes: Sizes
  readonly #scheduler: Scheduler
  readonly #network: Network
  readonly #oracle: Oracle
  /** By how much its clock is ahead, ms. */
  readonly #skew: number
  #life = 0
  #woken = new Set<() => void>()
  /** Entities whose changes the present process has listed from its disk. */
  #listed = new Set<string>()

  constructor({ name, scheduler, network, oracle, latency, sizes }: ReplicaOptions) {
    this.name = name
    this.principal = name
    this.sizes = sizes
    this.#scheduler = scheduler
    this.#network = network
    this.#oracle = oracle
    this.#skew = scheduler.random(`skew ${name}`).below(20_000) - 10_000
    this.device = new Device(scheduler, name, latency)
    this.device.onList = (prefix) => oracle.sizes.listed(prefix, this.#listed)
    this.device.onAsked = (writes) => oracle.devices.asked(writes)
    this.device.onCommit = (writes) => {
      oracle.devices.committed(this.device, writes)
      oracle.sizes.committed(writes)
      for (const [key, value] of writes) if (key[1] === "state") this.onState(jsonIn(value) as State)
    }
  }

  get running(): boolean {
    return this.process !== undefined
  }

  /** Starts the program. Its workspace is open some events later. */
  start(): void {
    if (this.process) return
    const process = new Process(this.#scheduler, `${this.name}.${++this.#life}`, this.#skew)
    this.process = process
    this.open = new Set()
    this.#screens = new Map()
    this.#listed = new Set()
    this.#woken = new Set()
    const woken = this.#woken
    const failures = this.device.failures + this.device.readFailures
    const env: Env = {
      now: () => process.now(),
      after: (ms, f) => process.after(ms, f),
      random: (n) => process.random(n),
      sizes: this.sizes,
      dial: (url) => this.#network.dial(this.name, process, url),
      onWake: (f) => {
        woken.add(f)
        return () => void woken.delete(f)
      },
    }
    // Until a copy of a damaged change arrives, the status may name that change (CHUNK_BAD), or a change that depends
    // on it (DEPS_UNKNOWN).
    const harmed = (code: string) => this.#oracle.devices.anyHarmed && (code === "CHUNK_BAD" || code === "DEPS_UNKNOWN")
    const watch = (ws: Workspace) =>
      ws.onStatus(({ error, others }) => {
        if (others.length > 0) this.othersTold++
        if (!error || RELAYS.has(error.code) || harmed(error.code)) return
        if (error.code === "PROTOCOL_VERSION" && this.newer.met > 0) return
        if (error.code === "FORBIDDEN" && this.tokens.failed + this.withdrawn > 0) return
        if (error.code === "STORE_FAILED" && this.device.failures + this.device.readFailures > failures) return
        this.#oracle.fail("in trouble for no good reason", `${this.name}: ${String(error)}`)
      })
    this.#open(this.device.open(process), env, process).then(
      ({ ws, home }) => {
        if (process !== this.process) return
        this.ws = ws
        this.home = home
        if (home) watch(home)
        this.writeHome()
        for (const name of ["notes", "tasks"] as const) {
          const tell = (rows: ReturnType<Workspace["notes"]["all"]>) => {
            this.told[name] = rows
            this.#oracle.edits.shown(this.device, rows)
          }
          ws[name].subscribe(tell)
          tell(ws[name].all())
        }
        watch(ws)
      },
      (error) => this.#oracle.fail("does not open", `${this.name}: ${String(error)}`),
    )
  }

  /** Opens the second workspace first, so that the checked workspace comes to a socket that is open already. */
  async #open(store: Store, env: Env, process: Process) {
    const options = { ...RELAY, token: () => this.#token() }
    this.relay = this.shares ? relayConnection(options) : options
    const relay = this.dials ? this.relay : undefined
    const home = this.shares ? await open(HOME, store, env, relay, this.version) : undefined
    for (;;) {
      const failures = this.device.failures + this.device.readFailures
      try {
        return { home, ws: await open(WORKSPACE, store, env, relay, this.version) }
      } catch (error) {
        if (codeOf(error) !== "STORE_FAILED" || this.device.failures + this.device.readFailures === failures)
          throw error
      }
      this.failedOpens++
      await new Promise<void>((resolve) => process.after(1000, resolve))
    }
  }

  /** The app's token function: it returns the device's name, rejects, or never resolves. */
  #token(): string | Promise<string> {
    const next = this.tokens.next.shift()
    if (next === undefined) return this.name
    this.tokens.failed++
    return next === "rejects" ? Promise.reject(new Error("no token now")) : new Promise(() => {})
  }

  /** Makes a note in the second workspace. The end of the run checks that all devices have it. */
  writeHome(): void {
    // The device may be a copy of a device that may only read.
    const wasReadOnly = this.home?.status.access === "read"
    this.home?.notes.create({ title: this.name, body: "" }).catch((error) => {
      if (codeOf(error) === "READ_ONLY" && (wasReadOnly || this.withdrawn > 0)) return
      this.#oracle.fail("refused for no good reason", `${this.name} at home: ${String(error)}`)
    })
  }

  wake(): void {
    this.online = true
    for (const f of [...this.#woken]) f()
  }

  /**
   * Ends the program by kill -9 or a power failure. What is not on the disk is lost. `delivered`: frames that it has
   * sent still arrive.
   */
  crash(delivered: boolean): void {
    if (!this.process) return
    this.process.kill()
    this.process = undefined
    this.ws = undefined
    this.home = undefined
    this.device.crash()
    for (const connection of this.#network.of(this.name)) connection.clientDied(delivered)
  }

  /** Closes the workspaces as an app does, and waits until they are closed. */
  async close(): Promise<void> {
    const { ws, home, process } = this
    if (!ws || !process) return
    this.ws = undefined
    this.home = undefined
    let closed = false
    void Promise.all([ws.close(), home?.close()]).then(() => {
      closed = true
    })
    for (let i = 0; i < 100 && !closed; i++) await this.#scheduler.pass(100)
    if (!closed) this.#oracle.fail("does not close", this.name)
    for (const edit of this.open) this.#oracle.fail("never answered", describe(edit))
    process.kill()
    this.process = undefined
  }

  /** Asks for an edit, which the oracle then follows. False when no workspace is open, or the edit does not apply. */
  edit(kind: EditKind, entity: string, token: string, chance: Random): boolean {
    const { ws } = this
    if (!ws) return false
    const turn = this.#scheduler.count
    const [fields, does] = [FIELDS[kind], DOES[kind]]
    const made: EditMade = { token, replica: this.name, entity, turn, fields, does, state: "asked" }
    const row = ws[collectionOf(entity)].get(entity)
    const answer = row ? this.#write(ws, kind, made, chance) : this.#make(ws, kind, made)
    if (!answer) return false
    this.#oracle.edits.follow(this.device, made, this.open, answer)
    return true
  }

  #write(ws: Workspace, kind: EditKind, made: EditMade, chance: Random): Promise<unknown> | undefined {
    const { entity: id, token } = made
    const all = this.onScreens ? this.#screensOf(ws, made, kind) : ws[collectionOf(id)]
    switch (kind) {
      case "title":
        return all.update(id, (draft) => void (draft.title = token))
      case "tags":
        return all.update(id, (draft) => void (draft.tags = [...(draft.tags ?? []).slice(-2), token]))
      case "splice":
        return all.update(id, (draft, edit) => {
          edit.splice("body", place(draft.body, chance), 0, token)
          if (this.version === 2) (edit as AnyEdit).splice("extra", 0, 0, token)
        })
      case "both":
        return all.update(id, (draft, edit) => {
          draft.title = token
          edit.splice("body", place(draft.body, chance), 0, token)
        })
      case "assign":
        return all.update(id, (draft) => {
          draft.body += token
          if (this.version === 2) draft.extra = `${token}${draft.extra ?? ""}`
        })
      case "cut":
        return all.update(id, (draft, edit) => {
          const at = place(draft.body, chance)
          const n = Math.min(draft.body.length - at, TOKEN * (1 + chance.below(2)))
          for (const cut of tokensOf(draft.body.slice(at, at + n))) this.#oracle.edits.removed.add(cut)
          if (n > 0) made.cuts = true
          edit.splice("body", at, n)
        })
      case "delete":
        return all.delete(id)
      case "restore":
        return undefined
    }
  }

  /**
   * Updates through a handle: the promise is that of its `saved`. Half of the edits change Automerge's object, as the
   * bindings of others do. They cannot assign a text.
   */
  #screensOf(
    ws: Workspace,
    made: EditMade,
    kind: EditKind,
  ): Pick<Workspace["notes"], "delete"> & { update(id: string, f: Update): Promise<unknown> } {
    const screenOf = (id: string) => {
      const known = this.#screens.get(id)
      if (known !== undefined) return known
      const opening = ws[collectionOf(id)].open(id)
      this.#screens.set(id, opening)
      opening.catch(() => this.#screens.delete(id))
      return opening
    }
    return {
      delete: (id) => ws[collectionOf(id)].delete(id),
      update: async (id, f) => {
        const screen = await screenOf(id)
        if (this.ws !== ws) made.late = true // the program has begun to close meanwhile
        if (kind === "assign" || made.turn % 2 === 0) screen.update(f)
        else screen.change((doc) => f(doc, spliceIn(doc)))
        await savedOnScreen(screen, made.token, () => this.ws === ws)
        const shown = screen.text("body").value
        if (shown !== screen.row.body) this.#oracle.fail("shown in two ways", `${this.name} ${id}: ${shown}`)
      },
    }
  }

  /** Creates the entity, which has no row, or asks to restore it; `kind` decides. */
  #make(ws: Workspace, kind: EditKind, made: EditMade): Promise<unknown> {
    const { entity: id, token } = made
    const all = ws[collectionOf(id)]
    if (kind !== "splice" && kind !== "both") {
      made.fields = []
      made.does = ["restore"]
      return all.restore(id)
    }
    made.fields = ["title", "body"]
    made.does = ["create"]
    return all.create({ title: token, body: token }, { id })
  }
}

/**
 * Resolves when the edit with this token is saved. `saved` rejects, too, when an earlier edit is refused, which says
 * nothing of this one: it is still shown then, unless the workspace is closed before it can be taken off the screen.
 */
async function savedOnScreen(screen: Screen, token: string, isOpen: () => boolean): Promise<void> {
  for (;;) {
    try {
      return await screen.saved()
    } catch (error) {
      const isRefused = codeOf(error) === "READ_ONLY"
      if (!isRefused || !isOpen() || !JSON.stringify(screen.row).includes(token)) throw error
    }
  }
}

/** The `edit` of an update, for a function that changes Automerge's object. */
function spliceIn(doc: A.Doc<unknown>): Parameters<Update>[1] {
  const splice = (key: string, at: number, remove: number, insert = "") => A.splice(doc, [key], at, remove, insert)
  return { splice } as Parameters<Update>[1]
}

type Screen = Awaited<ReturnType<Workspace["notes"]["open"]>>
type Update = Parameters<Screen["update"]>[0]

interface AnyEdit {
  splice(field: string, at: number, remove: number, insert: string): void
}

/** Errors that the relay or the network may cause. The end of the run checks that no change is still refused. */
const RELAYS: ReadonlySet<string> = new Set(["RELAY_UNREACHABLE", "LOG_FAILED", "REJECTED"])

const FIELDS: Record<EditKind, readonly string[]> = {
  title: ["title"],
  splice: ["body"],
  cut: [],
  tags: ["tags"],
  both: ["title", "body"],
  assign: ["body"],
  delete: [],
  restore: [],
}

const DOES: Record<EditKind, readonly Kind[]> = {
  title: ["field"],
  splice: ["splice"],
  cut: ["splice"],
  tags: ["array register"],
  both: ["field", "splice"],
  assign: ["text assigned"],
  delete: ["delete"],
  restore: ["restore"],
}

/** A random place in a text, between two tokens. */
const place = (body: string, chance: Random): number => TOKEN * chance.below(body.length / TOKEN + 1)

export function tokensOf(body: string): string[] {
  const tokens: string[] = []
  for (let i = 0; i < body.length; i += TOKEN) tokens.push(body.slice(i, i + TOKEN))
  return tokens
}

export const codeOf = (error: unknown): string => (error instanceof HeadwaterError ? error.code : String(error))
