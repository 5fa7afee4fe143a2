/**
 * Random numbers from a seed (sfc32). Each part of a run has its own stream of them. So a run without one of its
 * commands differs little from the whole run.
 */
export class Random {
  #a: number
  #b: number
  #c: number
  #d = 1

  constructor(seed: string) {
    this.#a = hash(seed, 0x811c9dc5)
    this.#b = hash(seed, 0x1b873593)
    this.#c = hash(seed, 0x2545f491)
    for (let i = 0; i < 12; i++) this.word()
  }

  /** A random whole number of 32 bits. */
  word(): number {
    const t = (((this.#a + this.#b) | 0) + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + t) | 0
    return t >>> 0
  }

  /** A random number in [0, 1). */
  unit(): number {
    return this.word() / 2 ** 32
  }

  /** A random whole number in [0, n). */
  below(n: number): number {
    return Math.floor(this.unit() * n)
  }

  chance(p: number): boolean {
    return this.unit() < p
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!
  }

  bytes(n: number): Uint8Array {
    const bytes = new Uint8Array(n)
    for (let i = 0; i < n; i++) bytes[i] = this.word() & 255
    return bytes
  }
}

/** Hash of a text: FNV-1a over its code units. */
export function hash(text: string, from = 0x811c9dc5): number {
  let h = from
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return h >>> 0
}

/** Hash of bytes: FNV-1a. */
export function hashBytes(bytes: Uint8Array, from = 0x811c9dc5): number {
  let h = from
  for (let i = 0; i < bytes.length; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193)
  return h >>> 0
}
