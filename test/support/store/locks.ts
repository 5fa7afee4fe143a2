/** The part of Web Locks that the store uses: exclusive, `ifAvailable`, held until the callback's promise settles. */
export class FakeLocks {
  readonly held = new Set<string>()

  async request(name: string, _: { ifAvailable: true }, callback: (lock: object | null) => unknown): Promise<unknown> {
    await null
    if (this.held.has(name)) return callback(null)
    this.held.add(name)
    try {
      return await callback({ name })
    } finally {
      this.held.delete(name)
    }
  }
}
