/** Makes Automerge fail as it does when WebAssembly has no memory left. */
import { type Handle, newHandle } from "../../src/document/automerge.ts"

/**
 * Makes the `nth` call of a document method throw, and with `on` also all later calls. `calls`: how many calls there
 * were.
 */
export function failAt(nth: number, on: boolean) {
  const prototype = Object.getPrototypeOf(newHandle()) as Record<string, unknown>
  const real = new Map<string, unknown>()
  let calls = 0
  for (const name of Object.getOwnPropertyNames(prototype)) {
    const method = Object.getOwnPropertyDescriptor(prototype, name)?.value
    if (typeof method !== "function" || name === "constructor" || name === "free" || name.startsWith("__")) continue
    real.set(name, method)
    prototype[name] = function (this: Handle, ...args: unknown[]) {
      calls++
      if (calls === nth || (on && calls > nth)) throw new WebAssembly.RuntimeError("unreachable")
      return Reflect.apply(method, this, args)
    }
  }
  return {
    get calls() {
      return calls
    },
    restore: () => void Object.assign(prototype, Object.fromEntries(real)),
  }
}
