/** Makes the notes for all sides: the same notes in every run, about as compressible as prose. */

/** Returns a generator of numbers in [0, 1), the same numbers for the same seed (mulberry32). */
export function random(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let x = Math.imul(state ^ (state >>> 15), state | 1)
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61)
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32
  }
}

const syllables = "ba co de fi gu ha je ki lo mu na or pe qui ro sa ti un ve wo xe ya zo en ar is al".split(" ")
/**
 * 2,000 words of one to four syllables. They have no capital letters, because works mark what they write with capital
 * letters. With few different words, these notes would compress far better than the notes of users.
 */
const words = (() => {
  const next = random(7)
  const pick = () => syllables[Math.floor(next() * syllables.length)]
  return Array.from({ length: 2000 }, () => Array.from({ length: 1 + Math.floor(next() * 4) }, pick).join(""))
})()

/** Returns a word; a few words are frequent and most are rare, as in a language. */
export const word = (next) => words[Math.floor(words.length * next() ** 2.5)]

const tags = words.slice(0, 40)

/** Returns note `i`: a title, three tags and a text of `length` characters. */
function note(i, length) {
  const next = random(1000 + i)
  let body = word(next)
  while (body.length < length) body += ` ${word(next)}`
  return {
    title: `${word(next)} ${word(next)} ${i}`,
    tags: Array.from({ length: 3 }, () => tags[Math.floor(next() * tags.length)]),
    body: body.slice(0, length),
  }
}

export const notes = (count, length = 1000) => Array.from({ length: count }, (_, i) => note(i, length))
