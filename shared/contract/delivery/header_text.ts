/**
 * Reads headers of a NATS message from its bytes.
 *
 * The client keeps the header in front of the data in one buffer. To have it parse all headers takes
 * as long as everything else that a reader does with a heartbeat.
 *
 * Pure.
 *
 * @module
 */
import { Buffer } from "node:buffer";

const BEGIN = "NATS/1.0";
const END = "\r\n\r\n";

/** The header in front of `data`, the body of a message; undefined when it has none. */
export function headerBefore({ buffer, byteOffset }: Uint8Array): string | undefined {
  const before = Buffer.from(buffer, 0, byteOffset);
  // In front of a body without a header is a line of the protocol.
  if (before.toString("latin1", byteOffset - END.length) !== END) return undefined;
  const begin = before.lastIndexOf(`${BEGIN}\r\n`);
  return begin < 0 ? undefined : before.toString("latin1", begin);
}

/** The last value of `name` in `header`: what the server adds comes after what was published. */
export function headerValueOf(header: string, name: string): string | undefined {
  const begin = header.lastIndexOf(`\r\n${name}: `);
  if (begin < 0) return undefined;
  const from = begin + name.length + 4;
  return header.slice(from, header.indexOf("\r\n", from));
}
