/**
 * Has the method that `await using` needs, if the app's TypeScript knows `Symbol.asyncDispose`. If this type named the
 * symbol directly, every app would have to add `esnext.disposable` to its `lib`.
 */
export type Disposed = typeof Symbol extends { readonly asyncDispose: infer S extends symbol }
  ? { readonly [K in S]: () => Promise<void> }
  : unknown
