import type { Clock } from "../base/env.ts"
import { hex } from "../base/hash.ts"

/**
 * Makes a UUID version 7: 48 bits of time in ms, then random bits, so that ids sort by the time of creation (RFC 9562,
 * section 5.7). `clockAheadMs`: how far the relay's clock is ahead of this device's. It is added to the time. Otherwise
 * the ids of a device whose clock is set to 2099 would sort last for ever.
 */
export function uuidv7(clock: Clock, clockAheadMs = 0): string {
  const bytes = clock.random(16)
  const now = Math.max(0, Math.floor(clock.now() + clockAheadMs))
  for (let i = 0; i < 6; i++) bytes[i] = Math.floor(now / 2 ** (40 - 8 * i)) & 0xff
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f)
  const digits = hex(bytes)
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join(
    "-",
  )
}
