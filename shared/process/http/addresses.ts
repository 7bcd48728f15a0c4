/**
 * Whom a connection or a request counts for: addresses of clients and of trusted proxies.
 *
 * @module
 */
import { BlockList, isIP } from "node:net";

/** Addresses and CIDR blocks, such as `10.0.0.0/8`. */
export class AddressList {
  readonly #list = new BlockList();
  /** Number of entries. */
  readonly size: number;

  /** Throws a `TypeError` that names the first entry that is neither address nor block. */
  constructor(entries: readonly string[]) {
    this.size = entries.length;
    for (const entry of entries) {
      const [address = "", bits, ...more] = entry.split("/");
      const version = isIP(address);
      const max = version === 6 ? 128 : 32;
      const isBlock = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= max);
      if (version === 0 || !isBlock || more.length > 0) {
        throw new TypeError(`${entry} is neither an address nor a block such as 10.0.0.0/8`);
      }
      this.#list.addSubnet(address, bits === undefined ? max : Number(bits), familyOf(address));
    }
  }

  /** Whether `address` is in one of the entries. */
  has(address: string): boolean {
    const plain = unmapped(address);
    return this.size > 0 && isIP(plain) !== 0 && this.#list.check(plain, familyOf(plain));
  }
}

/**
 * The client of a request that came through trusted proxies: the last address of `forwarded` that is
 * not a proxy itself. What a client wrote there is before that. Undefined when there is none.
 */
export function forwardedClient(
  forwarded: string | null,
  proxies: AddressList,
): string | undefined {
  const addresses = forwarded?.split(",").map((each) => each.trim()).reverse() ?? [];
  const client = addresses.find((address) => !proxies.has(address));
  return client === undefined || isIP(unmapped(client)) === 0 ? undefined : networkOf(client);
}

/** What an address counts for: itself, or for version 6 its block of 64 bits, which one line has. */
export function networkOf(address: string): string {
  const plain = unmapped(address);
  if (!plain.includes(":")) return plain;
  const [head = "", tail] = plain.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  if (tail !== undefined) {
    while (groups.length + after.length < 8) groups.push("0");
  }
  return `${[...groups, ...after].slice(0, 4).map((group) => parseInt(group, 16)).join(":")}::/64`;
}

// A socket of both versions names version 4 so.
function unmapped(address: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(address) ? address.slice(7) : address;
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return address.includes(":") ? "ipv6" : "ipv4";
}
