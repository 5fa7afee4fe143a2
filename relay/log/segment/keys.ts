/**
 * The keys of indexes: keys of 16 bytes, and fingerprints of 32 bits. Two changes or actors may have the same key, and
 * two keys the same fingerprint, so a look-up compares the hash or actor of the change that it finds. An entity is
 * identified by its key alone.
 */
import { hash as digest } from "node:crypto"
import type { Actor, Hash } from "../../../src/wire/protocol.ts"
import type { Secret } from "./header.ts"

/** A key has 16 bytes. */
export type Key = Buffer

export const entityKey = (entity: string): Key => firstBytes(digest("sha256", entity, "hex"))

/** Returns the key as a string, for maps. */
export const keyName = (key: Key): string => key.toString("latin1")

/** Returns the key of a change within an entity: the first 16 bytes of the change's hash XOR the entity's key. */
export const changeKey = (entity: Key, hash: Hash): Key => within(entity, firstBytes(hash))

/** Returns the key of an actor within an entity: the actor's key (`ActorKeys`) XOR the entity's key. */
export const tailKey = (entity: Key, actor: Key): Key => within(entity, Buffer.from(actor))

function within(entity: Key, key: Key): Key {
  for (let i = 0; i < 16; i++) key[i]! ^= entity[i]!
  return key
}

function firstBytes(hex: string): Key {
  const key = Buffer.allocUnsafe(16)
  key.write(hex, 0, 16, "hex")
  return key
}

/** Writes a `changeKey` or `tailKey` to `to` at `at`. `from` has the change's hash or the actor's key at `fromAt`. */
export function writeKeyWithin(to: Buffer, at: number, entity: Buffer, entityAt: number, from: Buffer, fromAt: number) {
  for (let i = 0; i < 16; i++) to[at + i] = from[fromAt + i]! ^ entity[entityAt + i]!
}

/**
 * Computes the keys of actors: 16 bytes of sha256 over marker, salt and actor. Clients choose their actors freely.
 * Without the secret in the key, a client could search for actors whose keys begin with the same bytes, and every later
 * look-up would have to go through all of them.
 */
export class ActorKeys {
  readonly #salted = Buffer.alloc(24)
  readonly #recent = new Map<Actor, Key>()
  readonly #remembered: number

  /** `remembered`: the number of actors whose key is cached. */
  constructor({ marker, salt }: Secret, remembered: number) {
    this.#salted.writeUInt32BE(marker, 0)
    this.#salted.writeUInt32BE(salt, 4)
    this.#remembered = remembered
  }

  of(actor: Actor): Key {
    let key = this.#recent.get(actor)
    if (key) return key
    if (this.#recent.size >= this.#remembered) this.#recent.clear()
    this.#salted.write(actor, 8, 16, "hex")
    key = firstBytes(digest("sha256", this.#salted, "hex"))
    this.#recent.set(actor, key)
    return key
  }
}

/**
 * Returns a fingerprint of 32 bits for the key at `at`. If an attacker could choose all bits of keys, the salt would
 * not prevent collisions of their fingerprints. The salt is enough here: every key is a part of a hash, or the XOR of
 * two such parts, so nobody can choose all its bits.
 */
export function fingerprint(bytes: Buffer, at: number, salt: number): number {
  let h = salt
  for (let i = at; i < at + 16; i += 4) {
    const word = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24)
    h = Math.imul(h ^ word, 0x9e3779b1)
    h ^= h >>> 15
  }
  h = Math.imul(h, 0x85ebca6b)
  return (h ^ (h >>> 13)) >>> 0
}

/** Returns the fingerprint of the key that `writeKeyWithin` would write. */
export function fingerprintWithin(
  entity: Buffer,
  entityAt: number,
  from: Buffer,
  fromAt: number,
  salt: number,
): number {
  writeKeyWithin(scratch, 0, entity, entityAt, from, fromAt)
  return fingerprint(scratch, 0, salt)
}

const scratch = Buffer.alloc(16)
