/**
 * Ports for servers that start next.
 *
 * @module
 */

// Below the ports that the kernel uses for outgoing connections (from 32768 on Linux, 49152 on
// others): a client may take one of those before the server listens.
const FIRST = 16_384;
const COUNT = 16_384;
const given = new Set<number>();

/** A free TCP port of the loopback address that this process has not returned before. */
export function freePort(): number {
  for (let tries = 0; tries < COUNT; tries++) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    if (given.has(port) || !isFreePort(port)) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no port from ${FIRST} to ${FIRST + COUNT - 1} is free`);
}

/** Whether no process listens on `port` of the loopback address. */
export function isFreePort(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return false;
    throw error;
  }
}
