// The platforms: those that have a package, and how each is built. docs/platforms.md says the same to people.

/**
 * `name` is what napi-rs calls a platform, and the end of the name of its package. `glibc` is the oldest version that has to
 * do, `lapack` where Debian has its LAPACK; what has none is not built by these scripts. `state` says how far it has come: `run` (built and run), `emulated` (built, and
 * run under emulation), or `planned` (the loader and .github/workflows/platforms.yml know it, and nobody has built it).
 */
export const TARGETS = [
  {
    name: 'linux-x64-gnu',
    triple: 'x86_64-unknown-linux-gnu',
    os: 'linux',
    cpu: 'x64',
    libc: 'glibc',
    glibc: '2.17',
    machine: 'Advanced Micro Devices X86-64',
    lapack: '/usr/lib/x86_64-linux-gnu',
    state: 'run',
  },
  {
    name: 'linux-arm64-gnu',
    triple: 'aarch64-unknown-linux-gnu',
    os: 'linux',
    cpu: 'arm64',
    libc: 'glibc',
    glibc: '2.17',
    machine: 'AArch64',
    lapack: '/usr/lib/aarch64-linux-gnu',
    state: 'emulated',
  },
  {
    name: 'linux-x64-musl',
    triple: 'x86_64-unknown-linux-musl',
    os: 'linux',
    cpu: 'x64',
    libc: 'musl',
    state: 'planned',
  },
  { name: 'darwin-arm64', triple: 'aarch64-apple-darwin', os: 'darwin', cpu: 'arm64', state: 'planned' },
  { name: 'darwin-x64', triple: 'x86_64-apple-darwin', os: 'darwin', cpu: 'x64', state: 'planned' },
  { name: 'win32-x64-msvc', triple: 'x86_64-pc-windows-msvc', os: 'win32', cpu: 'x64', state: 'planned' },
]

/** The target of a name. */
export function targetOf(name) {
  const target = TARGETS.find((one) => one.name === name)
  if (target === undefined) {
    throw new Error(`no target '${name}'; the targets are ${TARGETS.map((one) => one.name).join(', ')}`)
  }
  return target
}

/** The target of the machine that this runs on. */
export const hereName = () => `${process.platform}-${process.arch}${process.platform === 'linux' ? '-gnu' : ''}`
