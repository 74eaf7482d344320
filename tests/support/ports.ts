/**
 * Free ports of the loopback interface.
 *
 * @module
 */

const LOWEST = 15_000;
const HIGHEST = 31_999;

/**
 * A port that nobody listens on. It lies below the range that the kernel gives to outgoing connections:
 * a client that keeps trying a stopped server's port out of that range can end up connected to itself,
 * and the server then cannot start there again. Somebody may still take it first, so whoever starts a
 * server tries another port where that fails.
 */
export function freePort(): number {
  for (;;) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST + 1));
    try {
      Deno.listen({ hostname: "127.0.0.1", port }).close();
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/** Whether something accepts connections on the port. */
export async function accepts(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}
