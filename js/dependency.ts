/** Packages that only some need, loaded when they are needed. */
import { InputError } from './errors.js'

/**
 * Imports a package.
 *
 * @param importer - imports it
 * @param name - the package, as npm names it
 * @param purpose - what needs it
 * @throws {@link InputError} `ERR_LIPBOUND_DEPENDENCY` if it is not installed, or not for this machine
 */
export async function load<Module>(importer: () => Promise<Module>, name: string, purpose: string): Promise<Module> {
  try {
    return await importer()
  } catch (error) {
    throw new InputError(
      'ERR_LIPBOUND_DEPENDENCY',
      `${purpose} need the package '${name}', which cannot be loaded; install it with: npm install ${name}`,
      { cause: error },
    )
  }
}
