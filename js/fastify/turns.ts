/** Requests of one connection, one after the other: who sends many at once waits in its own line, not in that of all. */
import type { Socket } from 'node:net'

/** The turns on connections. */
export class Turns {
  readonly #last = new WeakMap<Socket, Promise<void>>()

  /** Waits for the requests that came before on this connection; the answers have to be in their order anyway. */
  async take(socket: Socket): Promise<() => void> {
    const before = this.#last.get(socket)
    let end: () => void = () => undefined
    const over = new Promise<void>((resolve) => (end = resolve))
    this.#last.set(socket, over)
    await before
    return end
  }
}
