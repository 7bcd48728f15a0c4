/**
 * What fleets and devices may send: events and bytes a second.
 *
 * Pure. Times are monotonic, in ms.
 *
 * @module
 */
import { type RateLimit, RateShares } from "./rate.ts";

/**
 * Slots of devices: 2 MiB, however many devices there are. Devices of one slot share its rate, which
 * is hundreds of times what a player sends.
 */
const DEVICE_SLOTS = 2 ** 17;

/** Slots of addresses, 128 KiB for events and as much for bytes. */
const ADDRESS_SLOTS = 2 ** 14;

/** What of an event its shares depend on. */
export interface SharedEvent {
  readonly bytes: Uint8Array;
  /** A hash of the device, 32 bits unsigned. */
  readonly device: number;
}

/** Rates of a fleet and of a device. */
export interface RateLimits {
  readonly fleetEvents: RateLimit;
  readonly fleetBytes: RateLimit;
  readonly deviceEvents: RateLimit;
  readonly deviceBytes: RateLimit;
  /** Of one address, while its fleet is short. */
  readonly addressEvents: RateLimit;
  readonly addressBytes: RateLimit;
}

/** Whose share is spent, and when it is worth trying again; `index` is of the event, from 0. */
export type Overspent =
  | { readonly of: "fleet"; readonly waitMs: number }
  | { readonly of: "device"; readonly waitMs: number; readonly index: number };

/** The rates of all devices, in a table of fixed size. */
export class DeviceRates {
  readonly #events: RateShares;
  readonly #bytes: RateShares;

  constructor({ deviceEvents, deviceBytes }: RateLimits) {
    this.#events = new RateShares(DEVICE_SLOTS, deviceEvents);
    this.#bytes = new RateShares(DEVICE_SLOTS, deviceBytes);
  }

  /** Spends for all `events`, or for none; then says when its device may send all that it has in them. */
  spend(events: readonly SharedEvent[], nowMs: number): Overspent | undefined {
    for (const [index, event] of events.entries()) {
      if (this.#spendOne(event, nowMs) === 0) continue;
      this.giveBack(events, index);
      return { of: "device", waitMs: this.#waitForAllMs(event.device, events, nowMs), index };
    }
  }

  // Not the wait of the first that is too many: a device that repeats the whole would be refused again.
  #waitForAllMs(device: number, events: readonly SharedEvent[], nowMs: number): number {
    const own = events.filter((each) => each.device === device);
    const bytes = own.reduce((sum, each) => sum + each.bytes.length, 0);
    const slot = device % DEVICE_SLOTS;
    return Math.max(
      this.#events.waitMs(slot, own.length, nowMs),
      this.#bytes.waitMs(slot, bytes, nowMs),
    );
  }

  /** Gives back what was spent for the first `count` of `events`. */
  giveBack(events: readonly SharedEvent[], count = events.length): void {
    for (let index = 0; index < count; index++) {
      const { device, bytes } = events[index] as SharedEvent;
      this.#events.giveBack(device % DEVICE_SLOTS, 1);
      this.#bytes.giveBack(device % DEVICE_SLOTS, bytes.length);
    }
  }

  #spendOne({ device, bytes }: SharedEvent, nowMs: number): number {
    const slot = device % DEVICE_SLOTS;
    const waitMs = this.#events.spend(slot, 1, nowMs);
    if (waitMs > 0) return waitMs;
    const bytesWaitMs = this.#bytes.spend(slot, bytes.length, nowMs);
    if (bytesWaitMs > 0) this.#events.giveBack(slot, 1);
    return bytesWaitMs;
  }
}

/**
 * What each address has sent of late. Device ids can be invented, addresses cannot: while a fleet is
 * short of its rate, those that have sent most wait, and what is left is for the others.
 */
export class AddressRates {
  readonly #events: RateShares;
  readonly #bytes: RateShares;

  constructor({ addressEvents, addressBytes }: RateLimits) {
    this.#events = new RateShares(ADDRESS_SLOTS, addressEvents);
    this.#bytes = new RateShares(ADDRESS_SLOTS, addressBytes);
  }

  /** How long `from` has to wait with so much, in ms. */
  waitMs(from: number, events: number, bytes: number, nowMs: number): number {
    const slot = from % ADDRESS_SLOTS;
    return this.#events.waitMs(slot, events, nowMs) || this.#bytes.waitMs(slot, bytes, nowMs);
  }

  /** Remembers what `from` has sent. */
  take(from: number, events: number, bytes: number, nowMs: number): void {
    const slot = from % ADDRESS_SLOTS;
    this.#events.take(slot, events, nowMs);
    this.#bytes.take(slot, bytes, nowMs);
  }
}

/** The rate of one fleet. */
export class FleetRate {
  readonly #events: RateShares;
  readonly #bytes: RateShares;

  constructor(
    limits: RateLimits,
    readonly devices: DeviceRates,
    readonly addresses: AddressRates,
  ) {
    this.#events = new RateShares(1, limits.fleetEvents);
    this.#bytes = new RateShares(1, limits.fleetBytes);
  }

  /**
   * Spends for `events` of this fleet and of their devices, or spends nothing and says what is spent.
   * `from`: a hash of fleet and address, 32 bits unsigned.
   */
  spend(events: readonly SharedEvent[], from: number, nowMs: number): Overspent | undefined {
    const overspent = this.devices.spend(events, nowMs);
    if (overspent) return overspent;
    const count = events.length;
    const bytes = events.reduce((sum, event) => sum + event.bytes.length, 0);
    const isShort = this.#events.isShort(0, nowMs) || this.#bytes.isShort(0, nowMs);
    const ownWaitMs = isShort ? this.addresses.waitMs(from, count, bytes, nowMs) : 0;
    const waitMs = ownWaitMs || this.#spendFleet(count, bytes, nowMs);
    if (waitMs === 0) return void this.addresses.take(from, count, bytes, nowMs);
    this.devices.giveBack(events);
    return { of: "fleet", waitMs };
  }

  #spendFleet(events: number, bytes: number, nowMs: number): number {
    const waitMs = this.#events.spend(0, events, nowMs);
    if (waitMs > 0) return waitMs;
    const bytesWaitMs = this.#bytes.spend(0, bytes, nowMs);
    if (bytesWaitMs > 0) this.#events.giveBack(0, events);
    return bytesWaitMs;
  }
}
