/** Each fails as long as its draw is switched off in known-faults.ts. */
import { test } from "vitest"
import { play, sample, warmUp } from "./property.ts"

test.fails("all agree in the end (seed 2, path 19; not mended: damaged changes and outbox records)", async () => {
  await warmUp()
  const { options, commands } = sample(20, 2)[19]!
  await play({ options: { ...options, everyRecord: true }, commands }).catch((error: Error) => {
    if (error.message.startsWith("other rows")) throw error
  })
})
