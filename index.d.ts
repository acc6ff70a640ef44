/** The public types of the package; the comments are in the modules that they come from. */
export * from './dist/index.js'
