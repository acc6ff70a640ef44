// Checks the types of a snippet and makes JavaScript of it. Used by scripts/docs/snippets.mjs.

import { join } from 'node:path'
import ts from 'typescript'
import { root } from '../run.mjs'

const options = {
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  strict: true,
  skipLibCheck: true,
  types: ['node'],
  typeRoots: [join(root, 'node_modules', '@types')],
}

/** `js` is what runs; `complaints` are what is wrong, as text. The imports are those of `directory`. */
export function compile(source, directory) {
  const file = join(directory, 'snippet.mts')
  const host = ts.createCompilerHost(options)
  const { getSourceFile, fileExists, readFile } = host
  host.fileExists = (name) => name === file || fileExists(name)
  host.readFile = (name) => (name === file ? source : readFile(name))
  host.getSourceFile = (name, ...others) =>
    name === file ? ts.createSourceFile(name, source, others[0]) : getSourceFile(name, ...others)
  let js = ''
  host.writeFile = (_name, text) => {
    js = text
  }
  const program = ts.createProgram([file], options, host)
  const { diagnostics } = program.emit()
  const wrong = [...ts.getPreEmitDiagnostics(program), ...diagnostics]
  const text = ts.formatDiagnostics(wrong, {
    getCurrentDirectory: () => directory,
    getCanonicalFileName: (name) => name,
    getNewLine: () => '\n',
  })
  return { js, complaints: text }
}
