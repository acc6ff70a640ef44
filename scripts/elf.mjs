// What an ELF file asks of the machine that loads it. Used for addons: the one of the checkout, and those that are published.

import { run } from './run.mjs'

/** Parts of the C library, some of them files of their own before glibc 2.34, and of the compiler's runtime. */
const SYSTEM = /^(lib(c|m|dl|rt|pthread)\.so\.\d+|libgcc_s\.so\.1|ld-linux-(x86-64\.so\.2|aarch64\.so\.1))$/

/** Reads what `readelf --file-header --sections --dynamic --version-info --wide` prints. */
export function parseElf(output) {
  const dynamic = (tag) => Array.from(output.matchAll(new RegExp(`\\(${tag}\\).*\\[(.+)\\]`, 'g')), (match) => match[1])
  return {
    machine: /Machine:\s+(.*)/.exec(output)?.[1].trim(),
    needed: dynamic('NEEDED'),
    glibc: Array.from(output.matchAll(/\bName: GLIBC_(\d+(?:\.\d+)+)/g), (match) => match[1]).reduce(
      (highest, version) => (compare(version, highest) > 0 ? version : highest),
      '0',
    ),
    stays: /\(FLAGS_1\).*NODELETE/.test(output),
    debug: /\s\.debug_\w+\s/.test(output),
  }
}

/** Reads an ELF file; throws if it is none. */
export async function readElf(path) {
  const args = ['--file-header', '--sections', '--dynamic', '--version-info', '--wide', path]
  const { code, output } = await run('readelf', args, { show: false, env: { LC_ALL: 'C' } })
  const elf = parseElf(output)
  if (code !== 0 || elf.needed.length === 0) throw new Error(`cannot be read: ${output.trim().split('\n')[0]}`)
  return elf
}

/** Which of two versions such as `2.17` is higher: the sign of the answer says it. */
export function compare(a, b) {
  const [left, right] = [a, b].map((version) => version.split('.').map(Number))
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** What stands against loading the file anywhere; of `limits`, `glibc` is the oldest that has to do. */
export function objectionsToElf(elf, limits = {}) {
  const foreign = elf.needed.filter((name) => !SYSTEM.test(name))
  return [
    foreign.length > 0 && `needs ${foreign.join(', ')}, which another machine may not have`,
    !elf.stays && 'is not marked as not to be unloaded (-z nodelete)',
    limits.glibc &&
      compare(elf.glibc, limits.glibc) > 0 &&
      `wants GLIBC_${elf.glibc}; the limit is GLIBC_${limits.glibc}`,
    limits.machine && elf.machine !== limits.machine && `is for ${elf.machine}, not for ${limits.machine}`,
    limits.stripped && elf.debug && 'has debug information, which nobody gets anything of',
  ].filter(Boolean)
}
