/**
 * The way to a Postgres server: what its URL says, and a socket to it, with TLS or without.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import { connect as connectTls } from "node:tls";
import { Stop } from "../errors.ts";
import { lostError, retryable } from "./passing.ts";

/** Longest wait for a socket, TLS included, and then for any byte before the first query, ms. */
export const OPEN_MS = 5_000;

/** What a Postgres URL says. */
export interface Server {
  readonly host: string;
  readonly port: number;
  readonly tls: "off" | "encrypted" | "verified";
  /** Without what the driver must not see. */
  readonly driverUrl: string;
}

const TLS_BY_SSLMODE: Readonly<Record<string, Server["tls"]>> = {
  "disable": "off",
  "require": "encrypted",
  "verify-full": "verified",
};

/**
 * The server of `url`. Throws {@link Stop} for parameters other than `sslmode`: they would take
 * precedence over the settings of the connection.
 */
export function serverOf(url: string): Server {
  const parsed = new URL(url);
  const mode = parsed.searchParams.get("sslmode") ?? "disable";
  parsed.searchParams.delete("sslmode");
  const tls = TLS_BY_SSLMODE[mode];
  if (tls === undefined || parsed.search !== "") {
    throw new Stop(
      "the Postgres URL may have one parameter, sslmode: disable, require or verify-full",
    );
  }
  return {
    host: parsed.hostname.replace(/^\[(.*)\]$/, "$1") || "localhost",
    port: Number(parsed.port || 5432),
    tls,
    driverUrl: parsed.href,
  };
}

/** A socket to `server`, or why there is none. */
export async function dial(server: Server): Promise<Socket | Error> {
  const { host, port, tls } = server;
  const socket = connectTcp({ host, port, noDelay: true, keepAlive: true });
  // Errors before somebody listens are no reason to end the process.
  socket.on("error", () => {});
  const late = setTimeout(
    () => socket.destroy(lostError(`no connection within ${OPEN_MS / 1_000} s`)),
    OPEN_MS,
  );
  try {
    await once(socket, "connect");
    return tls === "off" ? socket : await secure(socket, server);
  } catch (error) {
    socket.destroy();
    const reason = retryable(error);
    return reason instanceof Error ? reason : new Error(String(reason));
  } finally {
    clearTimeout(late);
  }
}

const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
const SSL_ACCEPTED = "S";

async function secure(socket: Socket, { host, tls }: Server): Promise<Socket> {
  socket.write(SSL_REQUEST);
  const [answer] = await once(socket, "data");
  if (String(answer) !== SSL_ACCEPTED) {
    throw new Stop("the Postgres URL asks for TLS, and the server has none");
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
