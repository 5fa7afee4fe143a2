/** Counts from now on how often this process compiles WebAssembly; returns the function that reads the count. */
export function countCompilations() {
  let count = 0
  for (const name of ["compile", "instantiate"]) {
    const original = WebAssembly[name]
    WebAssembly[name] = (...all) => {
      count++
      return original.apply(WebAssembly, all)
    }
  }
  WebAssembly.Module = new Proxy(WebAssembly.Module, {
    construct(Module, all) {
      count++
      return new Module(...all)
    },
  })
  return () => count
}
