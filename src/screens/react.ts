/** React hooks: an open workspace, its rows, its status, and texts in inputs. */
import { useCallback, useEffect, useMemo, useSyncExternalStore } from "react"
import type { Collection } from "../app/collection.ts"
import type { Handle } from "../app/handle.ts"
import type { LiveText } from "../app/live-text.ts"
import type { Status } from "../app/status.ts"
import { openWorkspace, type Workspace, type WorkspaceOptions } from "../app/workspace.ts"
import { type Clock, systemClock } from "../base/env.ts"
import type { Def } from "../schema/schema.ts"
import type { Row } from "../schema/types.ts"
import { type Opening, shared, use } from "./shared.ts"
import { TextOnScreen } from "./text-on-screen.ts"

/** How long a workspace stays open after its last component has gone, ms. */
const LINGER_MS = 5_000

const nothing = () => {}
const never = () => nothing
const none: readonly never[] = Object.freeze([])
const noRow = () => undefined

/**
 * Opens a workspace once for equal options, whatever StrictMode, Suspense, hot replacement and unmounting do; null until
 * it is open, on a server, and for null options.
 *
 * Options are equal if they have the same `id` and their stores have the same data: two `indexedDBStore("notes")` do, two
 * `memoryStore()` do not, so make a `memoryStore` once and not while rendering. All components with equal options share
 * the workspace that was opened with the first ones, also those in a module that was hot replaced: open workspaces are
 * kept under a `Symbol.for` key of `globalThis`. A workspace is closed 5 s after the last of its components has gone.
 * Do not close it yourself. Throws the error of the opening (the codes of `openWorkspace`) to the nearest error boundary;
 * a component that is mounted again after that tries again.
 */
export function useWorkspace<const C extends Record<string, Def<any, any, any, any>>>(
  options: WorkspaceOptions<C> | null,
): Workspace<C> | null {
  const store = options?.store as { readonly place?: string } | undefined
  return useShared<Workspace<C>>(store?.place ?? store, options?.id, () => {
    const given = options as WorkspaceOptions<C>
    const clock = (given.env ?? systemClock) as Clock
    return {
      open: () => openWorkspace(given),
      close: (ws) => ws.close(),
      later: (f) => void clock.after(LINGER_MS, f, true),
    }
  })
}

/**
 * Returns all rows of a collection, ordered by id, as `collection.all` does; [] for null and on a server. Renders again
 * only when a row has changed, and returns the same array until then.
 */
export function useRows<S, F, D>(collection: Collection<S, F, D> | null): readonly Row<S, F, D>[] {
  const noRows = () => none
  return useSyncExternalStore<readonly Row<S, F, D>[]>(
    collection?.subscribe ?? never,
    collection?.all ?? noRows,
    noRows,
  )
}

/**
 * Returns one row, as `collection.get` does; undefined if there is none, for null and on a server. Renders again only when
 * this row has changed.
 */
export function useEntity<S, F, D>(
  collection: Collection<S, F, D> | null,
  id: string | null | undefined,
): Row<S, F, D> | undefined {
  const row = () => (id == null ? undefined : collection?.get(id))
  return useSyncExternalStore(collection?.subscribe ?? never, row, noRow)
}

/**
 * Opens an entity on mount and closes it on unmount; null until it is open, on a server, and for null.
 *
 * Renders again when `row`, `deleted` or `unsaved` of the handle has changed. The handle itself stays the same object, so
 * pass `handle.row`, and not the handle, to a memoized component that shows the row. Components that open the same entity
 * share one handle; do not close it yourself. Throws the error of the opening (the codes of `collection.open`) to the
 * nearest error boundary. An error of the closing becomes an unhandled rejection.
 */
export function useHandle<S, F, D>(
  collection: Collection<S, F, D> | null,
  id: string | null | undefined,
): Handle<S, F, D> | null {
  const handle = useShared<Handle<S, F, D>>(collection, id, () => ({
    open: () => (collection as Collection<S, F, D>).open(id as string),
    close: (opened) => opened.close(),
    later: (f) => queueMicrotask(f), // after React's next effects, which may need the handle again
  }))
  useSyncExternalStore(handle?.subscribe ?? never, () => handle?.row, noRow)
  return handle
}

/** How `useText` deals with errors. */
export interface UseTextOptions {
  /**
   * Called when the text has refused what a person typed (`READ_ONLY`, `ENTITY_DELETED`, `TOO_LARGE`, `CLOSED`): the
   * element shows the text without it. Without `onError`, the error is thrown in a microtask.
   */
  readonly onError?: ((error: unknown) => void) | undefined
}

/**
 * Makes a controlled input or textarea of a text, which loses no key and keeps its caret: `<textarea {...useText(text)} />`.
 *
 * `value` is what the element shows, with LF for each line break (an input shows no breaks), and may be rendered elsewhere
 * too. `ref` binds the element as `bindText` of `headwater/textarea` does: what others write moves no caret and waits while
 * an input method composes, and undo takes back only what was typed here. Pass all three to one element. Without `ref` no
 * key is lost either, but React moves the caret. While `text` is null, nothing can be typed and `value` is "".
 */
export function useText(
  text: LiveText | null | undefined,
  { onError }: UseTextOptions = {},
): {
  readonly value: string
  readonly onChange: (e: { target: { value: string; selectionStart: number | null } }) => void
  readonly ref: (e: HTMLInputElement | HTMLTextAreaElement | null) => void
} {
  const onScreen = useMemo(() => new TextOnScreen(text ?? undefined), [text])
  useEffect(() => {
    onScreen.onError = onError
  }, [onScreen, onError])
  const value = useSyncExternalStore(onScreen.subscribe, onScreen.value, () => "")
  const { onChange, ref } = onScreen
  return useMemo(() => ({ value, onChange, ref }), [value, onChange, ref])
}

/** Returns the status of a workspace. Renders again only when something in it has changed. */
export function useStatus(ws: { readonly status: Status; onStatus(f: (status: Status) => void): () => void }): Status {
  const status = () => ws.status
  return useSyncExternalStore(ws.onStatus, status, status)
}

/** Shares what `opening` opens with all components that name the same `owner` and `id`; null until it is open. */
function useShared<T>(owner: unknown, id: string | null | undefined, opening: () => Opening<T>): T | null {
  const isNamed = owner != null && id != null
  // Owner and id say what is opened; the other options of a later rendering have no effect.
  const subscribe = useCallback(
    (f: () => void) => (isNamed ? use(owner, id, opening(), f) : nothing),
    [isNamed, owner, id],
  )
  return useSyncExternalStore(
    subscribe,
    () => (isNamed ? shared<T>(owner, id) : null),
    () => null,
  )
}
