/** `lipbound check`: whether certificates are right; and their files. */
import { readFile } from 'node:fs/promises'

import type { Command } from 'commander'

import type { Certificate, CheckOptions } from '../certificate.js'
import { InputError, LipboundError } from '../errors.js'
import type { BoundResult, CheckResult } from '../results.js'
import { addJsonOption, addModelOptions, guaranteeOption, openModel, toNumber } from './arguments.js'
import type { Context, ModelWords } from './arguments.js'
import { reasonOf, writeOutput } from './files.js'
import { examples } from './help.js'
import { oneOrSeveral, print, printJson, roundOutward, showGuarantee } from './output.js'
import { ProgressLine } from './progress.js'
import { FAILURE } from './status.js'

interface Words extends ModelWords, Omit<CheckOptions, 'signal' | 'onProgress'> {
  json?: boolean
}

/** Adds the command to the program. */
export function addCheckCommand(program: Command, context: Context): void {
  const command = program
    .command('check')
    .summary('check certificates, which bound and global write')
    .description(
      'Checks certificates without trusting anything in them; refused is one that is wrong or could not be verified. ' +
        'A local bound is one around the centre in the file.',
    )
  addModelOptions(command)
    .argument('<certificate>', 'a file that --certificate wrote')
    .option(
      '--failure-probability <number>',
      'largest probability that a wrong bound is accepted (default: 1e-9)',
      toNumber,
    )
    .option('--max-steps <number>', 'most steps to spend on one norm, up to 1000000 (default: 10000)', toNumber)
    .option('--seed <number>', 'seed of the random choices (default: drawn anew, as it should be)', toNumber)
    .addOption(guaranteeOption('proofs to accept'))
    .option(
      '--time-limit <seconds>',
      'seconds for each norm, after which it counts as not verified (default: none)',
      toNumber,
    )
  addJsonOption(command)
  examples(command, [
    ['bound model.onnx --input eight.npy --epsilon 0.01 --certificate eight.json', 'somebody writes a certificate'],
    ['check model.onnx eight.json', 'and somebody else checks it'],
  ])
  command.action((model: string, file: string, words: Words) => check(model, file, words, context))
}

async function check(model: string, file: string, words: Words, context: Context): Promise<void> {
  const { failureProbability, maxSteps, seed, guarantee, timeLimit } = words
  using network = await openModel(model, words, context)
  const results: CheckResult[] = []
  const certificates = await readCertificates(file)
  const line = new ProgressLine(certificates.length)
  for (const { certificate, source } of certificates) {
    try {
      results.push(
        await line.part(undefined, (onProgress) =>
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
  if (results.some(({ accepted }) => !accepted)) process.exitCode = FAILURE
  if (words.json) printJson(oneOrSeveral(results))
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
  await writeOutput(file, `${text}\n`, 'the certificate')
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
