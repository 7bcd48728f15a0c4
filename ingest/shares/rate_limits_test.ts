import { assert, assertEquals } from "@std/assert";
import { Random } from "../../shared/dev/testing/random.ts";
import {
  AddressRates,
  DeviceRates,
  FleetRate,
  type RateLimits,
  type SharedEvent,
} from "./rate_limits.ts";

const NO_LIMIT = { perSecond: 0, burst: 0 };
const NO_LIMITS: RateLimits = {
  fleetEvents: NO_LIMIT,
  fleetBytes: NO_LIMIT,
  deviceEvents: NO_LIMIT,
  deviceBytes: NO_LIMIT,
  addressEvents: NO_LIMIT,
  addressBytes: NO_LIMIT,
};

function fleetOf(limits: Partial<RateLimits>): FleetRate {
  const all = { ...NO_LIMITS, ...limits };
  return new FleetRate(all, new DeviceRates(all), new AddressRates(all));
}

/** An address that has sent nothing else. */
const HOME = 1;

function events(count: number, device: number | ((i: number) => number) = 1, bytes = 10) {
  return Array.from({ length: count }, (_, i): SharedEvent => ({
    bytes: new Uint8Array(bytes),
    device: typeof device === "number" ? device : device(i),
  }));
}

Deno.test("a fleet has its burst at once, then its rate, and is told when to come again", () => {
  const fleet = fleetOf({ fleetEvents: { perSecond: 10, burst: 20 } });
  assertEquals(fleet.spend(events(20), HOME, 0), undefined);
  assertEquals(fleet.spend(events(5), HOME, 0), { of: "fleet", waitMs: 500 });
  assertEquals(fleet.spend(events(5), HOME, 499), { of: "fleet", waitMs: 1 });
  assertEquals(fleet.spend(events(5), HOME, 500), undefined);
  assertEquals(fleet.spend(events(20), HOME, 1e6), undefined);
});

Deno.test("bytes are limited like events, and a refusal spends nothing", () => {
  const fleet = fleetOf({
    fleetEvents: { perSecond: 10, burst: 10 },
    fleetBytes: { perSecond: 1_000, burst: 1_000 },
    deviceEvents: { perSecond: 1, burst: 10 },
  });
  for (let i = 0; i < 100; i++) {
    assertEquals(fleet.spend(events(5, 1, 300), HOME, 0), { of: "fleet", waitMs: 500 });
  }
  assertEquals(fleet.spend(events(10, 1, 100), HOME, 0), undefined);
});

Deno.test("a device that sends too fast is refused alone; the others of its body spend nothing", () => {
  const fleet = fleetOf({ deviceEvents: { perSecond: 1, burst: 10 } });
  assertEquals(fleet.spend(events(10, 7), HOME, 0), undefined);
  const mixed = [...events(5, 8), ...events(1, 7)];
  for (let i = 0; i < 50; i++) {
    assertEquals(fleet.spend(mixed, HOME, 0), { of: "device", waitMs: 1_000, index: 5 });
  }
  assertEquals(fleet.spend(events(10, 8), HOME, 0), undefined);
  const bytes = fleetOf({ deviceBytes: { perSecond: 100, burst: 1_000 } });
  assertEquals(bytes.spend(events(2, 7, 500), HOME, 0), undefined);
  assertEquals(bytes.spend(events(1, 7, 50), HOME, 0), { of: "device", waitMs: 500, index: 0 });
  assertEquals(bytes.spend(events(1, 8, 50), HOME, 0), undefined);
});

Deno.test("invented devices of one address leave the rate of their fleet to other addresses", () => {
  const fleet = fleetOf({
    fleetEvents: { perSecond: 1_000, burst: 5_000 },
    deviceEvents: { perSecond: 50, burst: 100 },
    addressEvents: { perSecond: 16, burst: 100 },
  });
  const random = new Random(8);
  const sent = { flood: 0, honest: 0, refused: 0 };
  const anyDevice = () => random.int(0, 2 ** 32 - 1);
  for (let ms = 0; ms < 60_000; ms += 10) {
    // Ten times the rate of the fleet from one address, and devices at 300 others.
    if (!fleet.spend(events(100, anyDevice), 7, ms)) sent.flood += 100;
    if (fleet.spend(events(1, anyDevice), 100 + random.int(0, 300), ms)) sent.refused += 1;
    else sent.honest += 1;
  }
  assertEquals(sent.refused, 0);
  // What the others leave is not kept from it: there may be a carrier behind the address.
  assert(sent.flood > 0.8 * 1_000 * 60, String(sent.flood));
});

Deno.test("half a million devices, each at the rate of a player, are never refused", () => {
  const fleet = fleetOf({
    deviceEvents: { perSecond: 50, burst: 100 },
    deviceBytes: { perSecond: 65_536, burst: 1_000_000 },
  });
  const random = new Random(7);
  let refused = 0;
  // 25,000 a second for 40 s of their time.
  for (let ms = 0; ms < 40_000; ms += 40) {
    const body = events(1_000, () => random.int(0, 2 ** 32 - 1), 300);
    if (fleet.spend(body, HOME, ms)) refused += 1;
  }
  assertEquals(refused, 0);
  assert(fleet.spend(events(200, 5, 300), HOME, 40_000));
});
