/**
 * Opens a socket to a Postgres server, with or without TLS.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import { connect as connectTls } from "node:tls";
import { Stop } from "../errors.ts";
import type { Server } from "./server_url.ts";
import { lostError, retryable } from "./transient.ts";

/**
 * Maximum wait for each step of opening a connection, and for any byte until it is ready, ms. An
 * attempt that began on a dead link delays the next one by so much, when the link is back.
 */
export const OPEN_TIMEOUT_MS = 2_000;

/** Opens a socket to `server`. Never rejects: returns the error when that fails. */
export async function dial(server: Server): Promise<Socket | Error> {
  const { host, port, tls } = server;
  const socket = connectTcp({ host, port, noDelay: true, keepAlive: true });
  // An error event without a listener would end the process.
  socket.on("error", () => {});
  const timeout = setTimeout(
    () => socket.destroy(lostError(`no connection: nothing came for ${OPEN_TIMEOUT_MS / 1_000} s`)),
    OPEN_TIMEOUT_MS,
  );
  try {
    await once(socket, "connect");
    return tls === "off" ? socket : await startTls(socket, server, () => timeout.refresh());
  } catch (error) {
    socket.destroy();
    const reason = retryable(error);
    return reason instanceof Error ? reason : new Error(String(reason));
  } finally {
    clearTimeout(timeout);
  }
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const SSL_ACCEPTED = "S";

async function startTls(
  socket: Socket,
  { host, tls }: Server,
  onStep: () => void,
): Promise<Socket> {
  onStep();
  socket.write(SSL_REQUEST);
  const [answer] = await once(socket, "data");
  onStep();
  if (String(answer) !== SSL_ACCEPTED) {
    throw new Stop("the Postgres URL requires TLS, which the server does not support");
  }
  const secured = connectTls({
    socket,
    servername: host,
    rejectUnauthorized: tls === "verified",
  });
  secured.on("error", () => {});
  await once(secured, "secureConnect");
  return secured;
}
