/** Attacks on certified pictures of the regularised LeNet of the repository. */
import { testAttacks } from './helpers/radii.js'

testAttacks('lenet-regularised')
