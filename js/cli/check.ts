/** `lipbound check`: whether certificates are right; and their files. */
import { readFile, writeFile } from 'node:fs/promises'

import type { Command } from 'commander'

import type { Certificate, CheckOptions } from '../certificate.js'
import { InputError, LipboundError } from '../errors.js'
import type { BoundResult, CheckResult } from '../results.js'
import { addJsonOption, addModelOptions, guaranteeOption, openModel, toNumber } from './arguments.js'
import type { Context, ModelWords } from './arguments.js'
import { print, printJson, roundOutward, showGuarantee } from './output.js'
import { withProgress } from './progress.js'

interface Words extends ModelWords, Omit<CheckOptions, 'signal' | 'onProgress'> {
  json?: boolean
}

/** Exit status where a certificate is refused. */
const REFUSED = 1

/** Adds the command to the program. */
export function addCheckCommand(program: Command, context: Context): void {
  const command = program.command('check').description('check certificates, which bound and global write')
  addModelOptions(command)
    .argument('<certificate>', 'a file that --certificate wrote')
    .option('--failure-probability <number>', 'largest probability that a wrong bound is accepted', toNumber)
    .option('--max-steps <number>', 'most steps to spend on one norm', toNumber)
    .option('--seed <number>', 'seed of the random choices; default: drawn anew', toNumber)
    .addOption(guaranteeOption())
    .option('--time-limit <seconds>', 'seconds for each norm, after which it counts as not verified', toNumber)
  addJsonOption(command)
  command.action((model: string, file: string, words: Words) => check(model, file, words, context))
}

async function check(model: string, file: string, words: Words, context: Context): Promise<void> {
  const { failureProbability, maxSteps, seed, guarantee, timeLimit } = words
  using network = await openModel(model, words, context)
  const results: CheckResult[] = []
  for (const { certificate, source } of await readCertificates(file)) {
    try {
      results.push(
        await withProgress((onProgress) =>
          network.check(certificate, {
            failureProbability,
            maxSteps,
            seed,
            guarantee,
            timeLimit,
            signal: context.signal,
            onProgress,
          }),
        ),
      )
    } catch (error) {
      if (error instanceof LipboundError && error.code === 'ERR_LIPBOUND_CERTIFICATE') {
        throw new InputError(error.code, `${source}: ${error.message}`, { cause: error })
      }
      throw error
    }
  }
  if (results.some(({ accepted }) => !accepted)) process.exitCode = REFUSED
  const [first] = results
  if (words.json) printJson(results.length === 1 && first !== undefined ? first : { results })
  else print(results.map(asText).join('\n'))
}

function asText(result: CheckResult): string {
  const { accepted, reason = '', kind, epsilon, upper } = result
  const ball = kind === 'global' ? '' : `, epsilon ${epsilon} around the centre in the file`
  const claim = `${kind} Lipschitz constant, l2${ball}: at most ${roundOutward(upper, 'upper')}`
  return accepted
    ? `accepted: ${claim}\n  guarantee: ${showGuarantee(result)}; seed: ${result.seed}`
    : `refused: ${claim}\n  ${reason}`
}

/** Writes the certificates of some bounds: that of a single one as an object, several as an array. */
export async function writeCertificates(file: string, results: readonly BoundResult[]): Promise<void> {
  const texts = results.flatMap(({ certificate }) => (certificate === undefined ? [] : [JSON.stringify(certificate)]))
  const text = texts.length === 1 ? texts.join('') : `[\n${texts.join(',\n')}\n]`
  try {
    await writeFile(file, `${text}\n`)
  } catch (error) {
    throw new InputError('ERR_LIPBOUND_FILE', `${file}: cannot write the certificate: ${reasonOf(error)}`, {
      cause: error,
    })
  }
}

/** What a file of certificates holds, and what messages call it. */
async function readCertificates(file: string): Promise<{ certificate: Certificate; source: string }[]> {
  const fail = (what: string, cause?: unknown): InputError =>
    new InputError('ERR_LIPBOUND_FILE', `${file}: ${what}`, { cause })
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    throw fail(`cannot read the certificate: ${reasonOf(error)}`, error)
  }
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch (error) {
    throw fail(`the certificate is not JSON: ${reasonOf(error)}`, error)
  }
  const entries: readonly unknown[] = Array.isArray(content) ? content : [content]
  const several = Array.isArray(content)
  if (entries.length === 0) throw fail('an array of certificates must have at least one, got none')
  return entries.map((entry, index) => {
    const source = several ? `${file}, certificate ${index}` : file
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) {
      throw fail(`${several ? `entry ${index} of the array` : 'the content'} must be a certificate, an object`)
    }
    // What it really is, is for the library to say.
    return { certificate: entry as Certificate, source }
  })
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
