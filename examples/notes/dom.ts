/** Returns the element with this id and class. Throws when the page has none. */
export function element<T extends HTMLElement>(id: string, type: abstract new () => T): T {
  const found = document.getElementById(id)
  if (!(found instanceof type)) throw new Error(`#${id} is missing`)
  return found
}

/** Returns the first element inside `parent` that matches the selector. Throws when there is none. */
export function child<T extends Element>(parent: Element, selector: string): T {
  const found = parent.querySelector<T>(selector)
  if (found === null) throw new Error(`${selector} is missing`)
  return found
}
