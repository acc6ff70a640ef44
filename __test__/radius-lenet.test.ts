/** Attacks on certified pictures of the LeNet of the repository. */
import { testAttacks } from './helpers/radii.js'

testAttacks('lenet')
