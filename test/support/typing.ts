/** A person at an input or textarea of jsdom: edits with the events that a browser sends for them. */

export type Field = HTMLInputElement | HTMLTextAreaElement

/** Replaces the selection, or `remove` units before the caret, as a key, a paste or a cut does. */
export function type(element: Field, text: string, { remove = 0, inputType = "insertText", at = 0 } = {}): void {
  send(element, "InputEvent", "beforeinput", { inputType, data: text, cancelable: true }, at)
  put(element, text, remove)
  send(element, "InputEvent", "input", { inputType, data: text }, at)
}

export const backspace = (element: Field, at = 0): void =>
  type(element, "", {
    remove: element.selectionStart === element.selectionEnd ? 1 : 0,
    inputType: "deleteContentBackward",
    at,
  })

/** Begins a composition, or replaces what it has composed so far: the last `remove` units. */
export function compose(element: Field, text: string, remove?: number): void {
  if (remove === undefined) send(element, "CompositionEvent", "compositionstart", {})
  put(element, text, remove ?? 0)
  send(element, "InputEvent", "input", { inputType: "insertCompositionText", data: text, isComposing: true })
}

export const endComposition = (element: Field): void => send(element, "CompositionEvent", "compositionend", {})

/** Presses a key with Ctrl. Returns whether a listener has prevented what the browser does by default. */
export function control(element: Field, key: string, shiftKey = false): boolean {
  const { KeyboardEvent } = element.ownerDocument.defaultView as typeof globalThis & Window
  return !element.dispatchEvent(new KeyboardEvent("keydown", { key, ctrlKey: true, shiftKey, cancelable: true }))
}

export function select(element: Field, start: number, end = start): void {
  element.setSelectionRange(start, end)
}

function put(element: Field, text: string, remove: number): void {
  const { value } = element
  const start = (element.selectionStart ?? 0) - remove
  // React puts a setter of its own in front of the element's, and takes what is set through it for the app's doing.
  const { set } = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(element), "value") as PropertyDescriptor
  set?.call(element, value.slice(0, start) + text + value.slice(element.selectionEnd ?? 0))
  element.setSelectionRange(start + text.length, start + text.length)
}

/** `at`: the event's time, ms. */
function send(
  element: Field,
  kind: "InputEvent" | "CompositionEvent",
  name: string,
  init: EventInit & { readonly inputType?: string; readonly data?: string; readonly isComposing?: boolean },
  at = 0,
): void {
  const window = element.ownerDocument.defaultView as typeof globalThis & Window
  const event = new window[kind](name, { bubbles: true, ...init })
  Object.defineProperty(event, "timeStamp", { value: at })
  element.dispatchEvent(event)
}
