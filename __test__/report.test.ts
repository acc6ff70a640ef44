/** Pictures and reports: what they say, whatever the results are. How they look is tested in `report-looks.test.ts`. */
import test from 'ava'
import { PNG } from 'pngjs'

import { InputError, conv2d, flatten, linear, maxPool2d, relu, sequential, tensor } from '../dist/index.js'
import type { BoundResult, Network, RadiusResult, SweepResult, Tensor } from '../dist/index.js'
import { layersPicture, marginsPicture, radiiPicture, report, sweepPicture, toPng } from '../dist/report/index.js'
import { boundResult, layerReports, radiusResult, radiusResults, summary, sweepResult } from './helpers/results.js'
import { repositoryFile, runNode } from './helpers/process.js'

/** The texts of an SVG picture, without its name and description. */
function texts(svg: string): string[] {
  return Array.from(svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g), ([, text = '']) => text)
}

/** Every number that is part of a place or a path. */
function broken(svg: string): string[] {
  return Array.from(svg.matchAll(/[^"]*(?:NaN|Infinity|undefined)[^"]*/g), ([found]) => found.slice(0, 80))
}

const pictures: Record<string, (options?: object) => Promise<string>> = {
  sweepPicture: (options) => sweepPicture(sweepResult(), options),
  layersPicture: (options) => layersPicture(boundResult(), options),
  radiiPicture: (options) => radiiPicture(radiusResults(), options),
  marginsPicture: (options) => marginsPicture(radiusResult(), options),
}

for (const [name, draw] of Object.entries(pictures)) {
  test(`${name}: the same bytes for the same results, together and one after the other`, async (t) => {
    const first = await draw()
    const others = await Promise.all([draw(), ...Object.values(pictures).map((other) => other()), draw()])
    t.is(others.at(0), first)
    t.is(others.at(-1), first)
  })

  test(`${name}: has a name, a description, and nothing from elsewhere`, async (t) => {
    const svg = await draw({ title: 'A <title> & "more"' })
    t.regex(
      svg,
      /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg"[^>]* role="img" aria-label="A &lt;title&gt; &amp; &quot;more&quot;"><title>/,
    )
    t.regex(svg, /<desc>[^<]{20,}<\/desc>/)
    t.true(texts(svg).includes('A &lt;title&gt; &amp; "more"'))
    t.false(/<script|<image|<style|href=|url\(|style=| id=/.test(svg))
    t.deepEqual(broken(svg), [])
  })

  test(`${name}: width and theme`, async (t) => {
    t.regex(await draw(), /width="720".*fill="#ffffff"/)
    t.regex(await draw({ width: 360, theme: 'dark' }), /width="360".*fill="#14171c"/)
    for (const options of [{ width: 100 }, { theme: 'blue' }, { colour: 1 }, { title: '' }]) {
      await t.throwsAsync(draw(options), { instanceOf: InputError, code: 'ERR_LIPBOUND_ARGUMENT' })
    }
  })
}

test('a sweep: axes with units, a legend of all curves and bands', async (t) => {
  const found = texts(await sweepPicture(sweepResult()))
  for (const text of [
    'layerwise bound',
    'certificate',
    'attained',
    'global bound',
    'the constant is in here',
    "brackets of the layers' norms",
    'radius ε of the ball (l2, units of the input)',
    'largest change of output per change of input (l2)',
    'centred constant, l2; each bound wrong with probability at most 10⁻⁹',
    // The ends of both axes.
    '0.001',
    '1',
    '10',
    '3000',
  ]) {
    t.true(found.includes(text), text)
  }
})

test('a sweep without certificates has no curve of them', async (t) => {
  const found = texts(
    await sweepPicture(sweepResult(({ epsilon, lower, layerwise }) => ({ epsilon, lower, layerwise }))),
  )
  t.false(found.includes('certificate'))
  t.true(found.includes('layerwise bound'))
})

test('a sweep over epsilons that are near each other, or begin at 0, has a linear axis', async (t) => {
  const found = texts(await sweepPicture(sweepResult((point, index) => ({ ...point, epsilon: index / 8 }))))
  t.deepEqual(
    ['0', '0.2', '0.4', '0.6', '0.8', '1'].filter((text) => !found.includes(text)),
    [],
  )
})

test('a sweep: what is 0 or infinite is counted, and breaks nothing', async (t) => {
  const some = await sweepPicture(sweepResult((point, index) => (index < 4 ? { ...point, lower: 0 } : point)))
  t.deepEqual(broken(some), [])
  t.true(texts(some).includes('Not on the axis: attained: none found at 4 of 9 radii.'))
  const nothing = (bound: BoundResult): BoundResult => ({
    ...bound,
    upper: 0,
    lower: 0,
    product: { lower: 0, upper: 0 },
  })
  const zeros: SweepResult = {
    ...sweepResult((point) => ({
      ...point,
      lower: 0,
      layerwise: nothing(point.layerwise),
      certificate: nothing(point.layerwise),
    })),
    global: nothing(boundResult()),
  }
  const none = await sweepPicture(zeros)
  t.deepEqual(broken(none), [])
  t.regex(
    texts(none).join(' '),
    /layerwise bound: 0 at 9 of 9 radii; certificate: 0 at 9 of 9 radii;.* global bound: 0/,
  )
  const endless = await sweepPicture(
    sweepResult((point, index) =>
      index > 6 ? { ...point, layerwise: { ...point.layerwise, upper: Infinity } } : point,
    ),
  )
  t.deepEqual(broken(endless), [])
  t.true(texts(endless).includes('Not on the axis: layerwise bound: infinite at 2 of 9 radii.'))
})

test('layers: every step with its bound so far, rounded up, and its units', async (t) => {
  const found = texts(await layersPicture(boundResult()))
  for (const text of ['conv1', 'pool1', 'conv2', 'fc1', 'fc2', '14.2', '12.8', '24.9', '35.1', '30.1', '862', '–']) {
    t.true(found.includes(text), text)
  }
  for (const text of [
    'Bound so far',
    'Constant of the step',
    'Units',
    'grows',
    'shrinks',
    'product of steps',
    'attained',
  ]) {
    t.true(found.includes(text), text)
  }
  t.regex(found.join(' '), /The bound is 1\.67 times the largest ratio/)
})

test('layers: branches, zeros, infinities, one step, many steps, long names', async (t) => {
  const branches = await layersPicture(boundResult({ product: { lower: 1000, upper: 1100 } }))
  t.false(texts(branches).includes('product of steps'))
  const steps = (count: number, change: Partial<{ norm: number; gain: number }> = {}): BoundResult =>
    boundResult({
      layers: layerReports(
        0.01,
        Array.from({ length: count }, (_, index) => ({
          name: `features.${'deep.'.repeat(12)}${index}`,
          norm: 1.5,
          gain: 1.5,
          ...change,
        })),
      ),
    })
  for (const bound of [
    branches,
    await layersPicture(boundResult({ lower: 0, upper: Infinity, product: { lower: 0, upper: Infinity } })),
    await layersPicture(boundResult({ epsilon: Infinity, kind: 'global' })),
    await layersPicture(steps(1)),
    await layersPicture(steps(3, { norm: 0, gain: 0 })),
    await layersPicture(steps(150)),
  ]) {
    t.deepEqual(broken(bound), [])
  }
  const long = texts(await layersPicture(steps(3)))
  t.is(long.filter((text) => /^feat.*….*\.\d$/.test(text)).length, 3, 'names are shortened in the middle')
})

test('radii: zeros and attacks that found nothing are counted', async (t) => {
  const radii = radiusResults()
  const zeros = radii.filter(({ radius }) => radius === 0).length
  const endless = radii.filter(({ attackRadius }) => attackRadius === Infinity).length
  t.true(zeros > 1 && endless > 1)
  const svg = await radiiPicture(radii)
  const found = texts(svg)
  for (const text of [
    String(zeros),
    String(endless),
    '0',
    'none',
    'certified radius',
    'distance of a successful attack',
    'median',
  ]) {
    t.true(found.includes(text), text)
  }
  t.regex(found.join(' '), new RegExp(`Radius 0: ${zeros} \\(\\d misclassified, \\d tied\\)`))
  t.regex(found.join(' '), new RegExp(`No attack succeeded: ${endless}\\.`))
  t.true(found.includes('distance from the input (l2, units of the input)'))
})

test('radii: the bars are the values', async (t) => {
  const radii = [1, 1, 1, 2, 3].map((radius) => radiusResult({ radius, attackRadius: Infinity }))
  const svg = await radiiPicture(radii)
  // Linear: the axis begins at 0, and the heights of bars are as 3 to 1 to 1.
  const heights = Array.from(
    svg.matchAll(/<path d="M[^"]*?h[\d.]+v([\d.]+)h-[\d.]+Z"[^>]* fill="#0072b2"/g),
    ([, height]) => Number(height),
  ).filter((height) => height > 15)
  t.is(heights.length, 3)
  const [first = 0, second = 0, third = 0] = heights
  t.true(Math.abs(first - 3 * second) < 0.01 && Math.abs(second - third) < 0.01, heights.join())
})

test('radii: one, all zero, all without an attack, without limit, none', async (t) => {
  const batches: RadiusResult[][] = [
    [radiusResult()],
    [radiusResult({ radius: 0 }), radiusResult({ radius: 0 })],
    [radiusResult({ attackRadius: Infinity })],
    [radiusResult({ radius: Infinity, attackRadius: Infinity, margins: [] }), radiusResult()],
    Array.from({ length: 300 }, (_, index) => radiusResult({ radius: 1 + index / 1000 })),
  ]
  for (const radii of batches) t.deepEqual(broken(await radiiPicture(radii)), [])
  await t.throwsAsync(radiiPicture([]), { code: 'ERR_LIPBOUND_ARGUMENT', message: /radii must be/ })
})

test('margins: classes by name, quotients rounded down', async (t) => {
  const margins = [
    { class: 3, margin: 1, lipschitz: 3, method: 'certificate' },
    { class: 5, margin: 2, lipschitz: 3, method: 'layerwise' },
    { class: 1, margin: 2, lipschitz: 0, method: 'layerwise' },
  ] as const
  const radius = radiusResult({ radius: 1 / 3, margins })
  const named = texts(await marginsPicture(radius, { classes: ['0', '1', '2', 'three', '4', 'five'] }))
  for (const text of ['three', 'five', '0.333', '0.666', '∞', 'margin ÷ constant', 'certified radius']) {
    t.true(named.includes(text), text)
  }
  t.true(texts(await marginsPicture(radius)).includes('class 3'))
  const thousand = Array.from({ length: 999 }, (_, index) => ({ ...margins[0], class: index }))
  t.true(
    texts(await marginsPicture(radiusResult({ margins: thousand }))).includes(
      '979 more classes carry at least as far.',
    ),
  )
  const zero = await marginsPicture(radiusResult({ radius: 0 }))
  t.deepEqual(broken(zero), [])
  t.true(texts(zero).includes('The radius is 0: misclassified.'))
})

const hostile = `<script>alert('1')</script> & "quoted" --> ]]> \u0000\u001b\ud800 \${x} <img src=x onerror=y>`

test('hostile names stay text', async (t) => {
  const bound = boundResult({
    layers: layerReports(0.01, [{ name: hostile, norm: 2, gain: 2, units: [1, 1, 1] }]),
    notes: [hostile],
  })
  const html = await report({
    title: hostile,
    summary: {
      ...summary,
      name: hostile,
      notes: [hostile],
      classes: Array<string>(10).fill(hostile),
      onnx: { producer: hostile, opset: 13, input: hostile, output: hostile, folded: 0, unused: 0 },
      layers: summary.layers.map((layer) => ({ ...layer, name: hostile, inputs: [hostile] })),
    },
    file: hostile,
    digest: hostile,
    bounds: [{ ...bound, input: hostile }],
    sweeps: [{ ...sweepResult(), input: hostile }],
    radii: [
      { ...radiusResult(), input: hostile },
      { ...radiusResult(), input: hostile },
    ],
    command: hostile,
    remarks: [hostile],
  })
  t.false(/<script|<img/.test(html))
  t.false(/(?!\n)\p{Cc}|\p{Surrogate}/u.test(html))
  // Every tag and every attribute is one that is written here.
  const tags = new Set(Array.from(html.matchAll(/<\/?([a-z0-9]+)/gi), ([, tag = '']) => tag))
  t.deepEqual(
    [...tags].filter((tag) => !known.has(tag)),
    [],
  )
  t.false(/<[^>]*\son\w+=/.test(html.replace(/"[^"]*"/g, '""')))
  const svg = await layersPicture(bound)
  t.false(/<script|<img|(?!\n)\p{Cc}|\p{Surrogate}/u.test(svg))
  await t.notThrowsAsync(toPng(svg))
})

const known = new Set(
  'html head meta title style body header h1 h2 h3 p main section dl div dt dd table caption span thead tbody tr th td figure svg desc rect g path text line tspan ul li pre code footer'.split(
    ' ',
  ),
)

test('a report says what it is about and what it rests on', async (t) => {
  const html = await report({
    summary,
    file: 'models/lenet.json',
    digest: 'abc123',
    bounds: [
      { ...boundResult({ functionals: [{ ...boundResult(), upper: 3.14159265, lower: 0 }] }), input: 'eight.npy' },
      boundResult({ kind: 'global', epsilon: Infinity, upper: 1114.2300001 }),
    ],
    sweeps: [sweepResult()],
    radii: radiusResults(5),
  })
  const { version } = (await import('../package.json', { with: { type: 'json' } })).default
  for (const text of [
    '<title>Lipschitz bounds of lenet</title>',
    '<h1>Lipschitz bounds of lenet</h1>',
    'models/lenet.json: 1x28x28 to 10, 61706 weights, 8084 units',
    'SHA-256 of the network: abc123',
    'note: the final softmax was cut',
    `lipbound ${version}`,
    '<td class="right">30.0312</td>',
    // Rounded up, not to the nearest.
    '<td class="right">1114.24</td>',
    '<td class="right">3.1416</td>',
    '<td class="right">1e-9</td>',
    'wrong with probability at most 1e-9',
    'await loadModel(&quot;models/lenet.json&quot;)',
    'await net.bound(await loadTensor(&quot;eight.npy&quot;), { epsilon: 0.01, kind: &#39;centred&#39;, seed: 42 })',
    'await net.globalBound({ seed: 42 })',
    'await net.sweep(x, { from: 0.001, to: 1, points: 9, kind: &#39;centred&#39;, seed: 42 })',
    'await net.certifiedRadius(x, { label: 8, seed: 42 })',
    '<html lang="en">',
    'name="viewport"',
  ]) {
    t.true(html.includes(text), text)
  }
  t.false(/<script|<link|https?:\/\/(?!www\.w3\.org\/)/.test(html))
  const count = (pattern: RegExp): number => Array.from(html.matchAll(pattern)).length
  t.is(count(/<table>/g), count(/<caption>/g))
  t.is(count(/<h1>/g), 1)
  t.is(count(/<svg /g), count(/<svg [^>]* role="img" aria-label="[^"]+"><title>/g))
})

test('a report of a command says the command; one of proofs says that', async (t) => {
  const certain = { guarantee: 'deterministic', failureProbability: 0 } as const
  const html = await report({ summary, bounds: [boundResult(certain)], command: "lipbound bound 'a&b'" })
  t.true(html.includes('<pre tabindex="0"><code>lipbound bound &#39;a&amp;b&#39;\n</code></pre>'))
  t.true(html.includes('Guarantee: deterministic.'))
  t.false(html.includes('loadModel'))
})

test('a report is the same for the same results, and may have no results', async (t) => {
  t.is(await report({ summary, bounds: [boundResult()] }), await report({ summary, bounds: [boundResult()] }))
  t.regex(await report({ summary }), /<h2>Model<\/h2>/)
})

test('a report refuses what it cannot show', async (t) => {
  const wrong: Record<string, unknown>[] = [
    {},
    { summary: null },
    { summary, bounds: {} },
    { summary, bounds: [null] },
    { summary, sweeps: [boundResult()] },
    { summary, radii: [{}] },
    { summary, remarks: [1] },
    { summary, sub: 'title' },
  ]
  for (const options of wrong) {
    await t.throwsAsync(report(options as never), { instanceOf: InputError, code: 'ERR_LIPBOUND_ARGUMENT' })
  }
})

test('PNG files have the size that was asked for', async (t) => {
  const svg = await sweepPicture(sweepResult(), { width: 400 })
  const height = Number(/height="(\d+)"/.exec(svg)?.[1])
  const size = async (options?: object): Promise<number[]> => {
    const { width, height } = PNG.sync.read(Buffer.from(await toPng(svg, options)))
    return [width, height]
  }
  t.deepEqual(await size(), [800, 2 * height])
  t.deepEqual(await size({ scale: 1 }), [400, height])
  t.deepEqual(await size({ width: 1000 }), [1000, Math.ceil(height * 2.5)])
  for (const options of [{ width: 0 }, { scale: -1 }, { scale: 1, width: 10 }, { height: 1 }]) {
    await t.throwsAsync(toPng(svg, options), { instanceOf: InputError, code: 'ERR_LIPBOUND_ARGUMENT' })
  }
  await t.throwsAsync(toPng('no picture'), { instanceOf: InputError, code: 'ERR_LIPBOUND_ARGUMENT' })
  await t.throwsAsync(toPng(1 as never), { instanceOf: InputError, code: 'ERR_LIPBOUND_ARGUMENT' })
})

test('PNG files have their text where the machine has no fonts, and are the same there', async (t) => {
  const script = `
    import { createHash } from 'node:crypto'
    const { marginsPicture, toPng } = await import('./dist/report/index.js')
    const radius = JSON.parse(process.env.RADIUS)
    const png = await toPng(await marginsPicture(radius))
    console.log(createHash('sha256').update(png).digest('hex'), png.length)
  `
  const env = {
    RADIUS: JSON.stringify(radiusResult()),
    FONTCONFIG_FILE: '/dev/null',
    FONTCONFIG_PATH: '/nonexistent',
    HOME: '/nonexistent',
  }
  const { stdout, stderr, status } = await runNode(['--input-type=module', '--eval', script], env)
  t.is(status, 0, stderr)
  const png = await toPng(await marginsPicture(radiusResult()))
  const { createHash } = await import('node:crypto')
  t.is(stdout.trim(), `${createHash('sha256').update(png).digest('hex')} ${png.length}`)
  // There is ink where the title is.
  const { data, width } = PNG.sync.read(Buffer.from(png))
  let dark = 0
  for (let y = 30; y < 64; y += 1)
    for (let x = 32; x < 400; x += 1) if ((data[(y * width + x) * 4] ?? 255) < 100) dark += 1
  t.true(dark > 500, `${dark} dark pixels`)
})

test('nothing that draws is loaded before it is needed', async (t) => {
  // As if neither were installed.
  const hooks = `export const resolve = (name, context, next) => {
    if (name === 'vega' || name === '@resvg/resvg-js') throw new Error('no ' + name)
    return next(name, context)
  }`
  const script = `
    import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(process.env.HOOKS))
    await import('./dist/index.js')
    const { layersPicture, report, toPng } = await import('./dist/report/index.js')
    const failures = await Promise.allSettled([layersPicture(JSON.parse(process.env.BOUND)), toPng('<svg/>')])
    for (const { reason } of failures) console.log(reason.code, reason.message)
    console.log((await report({ summary: JSON.parse(process.env.SUMMARY) })).length > 1000)
  `
  const env = { HOOKS: hooks, BOUND: JSON.stringify(boundResult()), SUMMARY: JSON.stringify(summary) }
  const { stdout, stderr } = await runNode(['--input-type=module', '--eval', script], env)
  t.regex(
    stdout,
    /^ERR_LIPBOUND_DEPENDENCY .*npm install vega\nERR_LIPBOUND_DEPENDENCY .*npm install @resvg\/resvg-js\ntrue\n$/,
    stderr,
  )
})

test('the package gives the report under its own name', async (t) => {
  const script = `console.log(Object.keys(await import('lipbound/report')).sort().join())`
  const { stdout, stderr } = await runNode(['--input-type=module', '--eval', script])
  t.is(stdout.trim(), 'layersPicture,marginsPicture,radiiPicture,report,sweepPicture,toPng', stderr)
  t.truthy(repositoryFile('package.json'))
})

test('real results are drawn', async (t) => {
  const fill = (count: number): Float64Array => Float64Array.from({ length: count }, (_, index) => Math.sin(index + 1))
  using net: Network = sequential({ input: [1, 8, 8], name: 'real' }, [
    conv2d({ weight: tensor([2, 1, 3, 3], fill(18)) }),
    relu(),
    maxPool2d({ kernel: 2 }),
    flatten(),
    linear({ weight: tensor([3, 18], fill(54)) }),
  ])
  const x: Tensor = tensor([1, 8, 8], fill(64))
  const bound = await net.bound(x, { epsilon: 0.1, seed: 1 })
  const sweep = await net.sweep(x, { from: 0.01, to: 1, points: 4, seed: 1 })
  const radius = await net.certifiedRadius(x, { seed: 1 })
  const global = await net.globalBound({ seed: 1 })
  const html = await report({ summary: net.summary, bounds: [bound, global], sweeps: [sweep], radii: [radius] })
  for (const [svg] of html.matchAll(/<svg[^]*?<\/svg>/g)) t.deepEqual(broken(svg), [])
  for (const svg of [
    await sweepPicture(sweep),
    await layersPicture(bound),
    await layersPicture(global),
    await radiiPicture([radius, radius]),
    await marginsPicture(radius),
  ]) {
    t.deepEqual(broken(svg), [])
    t.true((await toPng(svg)).length > 1000)
  }
})
