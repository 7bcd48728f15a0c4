/**
 * Ports for servers that are started a moment later.
 *
 * @module
 */

// Below the ports that the kernel takes for outgoing connections (from 32768 on Linux, 49152 on
// others): one of those may be taken by a client before the server is up.
const FIRST = 16_384;
const COUNT = 16_384;
const given = new Set<number>();

/** A TCP port on the loopback address that nobody listens on, and that was not given out before. */
export function freePort(): number {
  for (let tries = 0; tries < COUNT; tries++) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    if (given.has(port) || !isFree(port)) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no port from ${FIRST} to ${FIRST + COUNT - 1} is free`);
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}
