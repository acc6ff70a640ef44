/** `lipbound inspect`: what a model is made of. */
import type { Command } from 'commander'

import { addJsonOption, addModelOptions, openModel } from './arguments.js'
import type { Context, ModelWords } from './arguments.js'
import { examples } from './help.js'
import { print, printJson, showCost, showMemory, showNotes, showOnnx, showShape, summaryTable } from './output.js'

interface Words extends ModelWords {
  json?: boolean
}

/** Adds the command to the program. */
export function addInspectCommand(program: Command, context: Context): void {
  const command = program
    .command('inspect')
    .summary('show what a model is made of')
    .description(
      'Shows the layers of a model, their shapes, the classes, about what bounds will cost, and what memory they may take.',
    )
  addModelOptions(command)
  addJsonOption(command)
  examples(command, [['inspect model.onnx'], ['inspect weights.safetensors --architecture model.json --json']])
  command.action((model: string, words: Words) => inspect(model, words, context))
}

async function inspect(model: string, words: Words, context: Context): Promise<void> {
  using network = await openModel(model, words, context)
  const { summary } = network
  if (words.json) {
    printJson(summary)
    return
  }
  const { name = model, inputShape, outputShape, parameters, units, classes, cost, memory, onnx } = summary
  print(
    [
      `${name}: ${showShape(inputShape)} -> ${showShape(outputShape)}, ${parameters} parameters, ${units} units`,
      ...(classes === undefined ? [] : [`classes: ${classes.join(', ')}`]),
      showCost(cost),
      showMemory(memory),
      ...(onnx === undefined ? [] : [showOnnx(onnx)]),
      ...showNotes(summary),
      '',
      summaryTable(summary),
    ].join('\n'),
  )
}
