/** Outcomes of batches, made comparable. */

/** All that an iterator has, with the properties of every kind of outcome. */
export async function collect<Result>(
  outcomes: AsyncIterable<Outcome<Result>>,
): Promise<(Outcome<Result> & { readonly result?: Result; readonly error?: Error })[]> {
  const all: Outcome<Result>[] = []
  for await (const outcome of outcomes) all.push(outcome)
  return all
}

type Outcome<Result> =
  | { readonly index: number; readonly id?: unknown; readonly ok: true; readonly result: Result }
  | { readonly index: number; readonly id?: unknown; readonly ok: false; readonly error: Error }

/** In the order of the items. */
export function byIndex<Value extends { readonly index: number }>(outcomes: readonly Value[]): Value[] {
  return [...outcomes].sort((a, b) => a.index - b.index)
}

/** The same as JSON has it, without the times that it took. */
export function untimed<Value>(values: readonly Value[]): Value[] {
  return JSON.parse(JSON.stringify(values, (key, entry: unknown) => (key === 'seconds' ? undefined : entry))) as Value[]
}
