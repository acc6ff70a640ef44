/** Files that take long, which are begun first, so that none of them is left alone at the end. */
const LONG = [
  'radius-lenet',
  'radius-lenet-regularised',
  'radius',
  'service-soak',
  'queue-soak',
  'queue',
  'soak',
  'reference-data',
  'report-looks',
  'examples',
  'docs',
]

const rank = (file) => {
  const place = LONG.findIndex((name) => file.endsWith(`/${name}.test.ts`))
  return place < 0 ? LONG.length : place
}

export default {
  files: ['__test__/**/*.test.ts'],
  extensions: { ts: 'module' },
  nodeArguments: ['--import=@oxc-node/core/register'],
  sortTestFiles: (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1),
  timeout: '10m',
}
