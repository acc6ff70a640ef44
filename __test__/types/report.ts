/** Uses of `lipbound/report` that must compile, and wrong uses that must not; nothing here is run. */
import type { BoundResult, Network, SweepResult } from 'lipbound'
import { layersPicture, report, sweepPicture, toPng } from 'lipbound/report'

export async function uses(net: Network, bound: BoundResult, sweep: SweepResult): Promise<[Uint8Array, string]> {
  const picture: string = await layersPicture(bound, { theme: 'dark' })
  const page: string = await report({ summary: net.summary, bounds: [bound] })
  // @ts-expect-error there is no such theme
  await layersPicture(bound, { theme: 'purple' })
  // @ts-expect-error a bound is no sweep
  await sweepPicture(bound)
  // @ts-expect-error a report is of a network
  await report({ bounds: [bound] })
  // @ts-expect-error a picture is text when it is made into pixels
  await toPng(sweepPicture(sweep))
  return [await toPng(picture, { scale: 2 }), page]
}
