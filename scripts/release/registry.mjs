// A registry of npm on this machine alone, which has the packages that are not published yet and names another for the rest.

import { createReadStream } from 'node:fs'
import { createServer } from 'node:http'
import { basename } from 'node:path'

/**
 * Serves tarballs as `pack` describes them.
 *
 * @param upstream - the registry for all other packages. Names that begin as ours do are not looked for there
 * @returns its address, and how to end it
 */
export async function serve(tarballs, upstream, prefix = 'lipbound') {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname).slice(1)
    const file = tarballs.find((one) => path === `-/${basename(one.path)}`)
    const known = tarballs.find((one) => path === one.name)
    if (file !== undefined) {
      response.setHeader('content-type', 'application/octet-stream')
      createReadStream(file.path).pipe(response)
    } else if (known !== undefined) {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(packument(known, `http://${request.headers.host}/-/${basename(known.path)}`)))
    } else if (path === prefix || path.startsWith(`${prefix}-`)) {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"error":"not published"}')
    } else {
      response.writeHead(307, { location: new URL(request.url.slice(1), upstream).href }).end()
    }
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(resolve)
        server.closeAllConnections()
      }),
  }
}

/** What a registry says of a package with one version. */
const packument = ({ name, version, manifest, integrity }, tarball) => ({
  name,
  'dist-tags': { latest: version },
  versions: { [version]: { ...manifest, dist: { tarball, integrity } } },
})
