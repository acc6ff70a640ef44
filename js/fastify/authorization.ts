/** Who may ask. */
import type { FastifyInstance } from 'fastify'

import { load } from '../dependency.js'
import { ServiceError } from './failures.js'

/**
 * Lets only those ask who show the token, which is compared in constant time; before anything of a body is received.
 *
 * @param app - whose routes, those that are added afterwards, are guarded
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_DEPENDENCY`
 */
export async function requireToken(app: FastifyInstance, token: string): Promise<void> {
  const { default: bearer } = await load(() => import('@fastify/bearer-auth'), '@fastify/bearer-auth', 'bearer tokens')
  await app.register(bearer, {
    keys: new Set([token]),
    addHook: false,
    specCompliance: 'rfc6749',
    verifyErrorLogLevel: 'info',
  })
  app.addHook('onRequest', (request, reply, done) => {
    app.verifyBearerAuth?.(request, reply, (error) => {
      if (error === undefined) {
        done()
        return
      }
      reply.header('www-authenticate', 'Bearer')
      done(new ServiceError('ERR_LIPBOUND_UNAUTHORIZED', 'the bearer token is missing or wrong'))
    })
  })
}
