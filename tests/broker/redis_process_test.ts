import { assertEquals, assertMatch, assertTrue } from "../support/assert.ts";
import { freePort } from "../support/ports.ts";
import { startRedis } from "../support/servers.ts";

const FIXTURE = new URL("../fixtures/broker_client.ts", import.meta.url).pathname;

/** What a program says, with its end: that it ends shows that nothing keeps its event loop alive. */
async function say(command: string, args: readonly string[]): Promise<string> {
  const { stdout, stderr, success } = await new Deno.Command(command, { args: [...args] }).output();
  const decoder = new TextDecoder();
  assertTrue(success, decoder.decode(stderr));
  return decoder.decode(stdout).trim();
}

/** Runs the fixture under Deno with exactly these rights. */
async function run(rights: readonly string[], url: string): Promise<string> {
  return await say(Deno.execPath(), ["run", "--no-prompt", "--no-check", ...rights, FIXTURE, url]);
}

Deno.test("the right to reach Redis's address is all that the broker needs", async () => {
  await using server = await startRedis();
  const rights = [`--allow-net=127.0.0.1:${server.port}`, "--ignore-env"];
  assertEquals(await run(rights, server.url), "1 removed canceled");
  const byName = [`--allow-net=localhost:${server.port}`, "--ignore-env"];
  assertEquals(await run(byName, `redis://localhost:${server.port}`), "1 removed canceled");
});

Deno.test("without the right to reach Redis the error names the address and is lasting", async () => {
  for (const host of ["127.0.0.1", "localhost"]) {
    const port = freePort();
    const answer = await run(
      ["--allow-net=127.0.0.1:1", "--ignore-env"],
      `redis://${host}:${port}`,
    );
    const { name, message, retryable } = JSON.parse(answer);
    assertEquals([name, retryable], ["ConnectionError", false]);
    assertMatch(message, new RegExp(`--allow-net=${host}:${port}`));
  }
});

Deno.test("a host that nobody knows is told as such, and may be tried again", async () => {
  const answer = await run(["--allow-net", "--ignore-env"], "redis://nowhere.invalid:6379");
  const { name, message, retryable } = JSON.parse(answer);
  assertEquals([name, retryable], ["ConnectionError", true]);
  assertMatch(message, /redis:\/\/nowhere\.invalid:6379\/0: getaddrinfo (ENOTFOUND|EAI_AGAIN)/);
});

Deno.test("rediss:// verifies the certificate and its name", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const [key, cert] = [`${dir}/key.pem`, `${dir}/cert.pem`];
    await say("openssl", [
      ...[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        key,
        "-out",
        cert,
      ],
      ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
      ...["-addext", "basicConstraints=critical,CA:FALSE"],
    ]);
    const tlsPort = freePort();
    await using server = await startRedis({
      args: [
        ...["--tls-port", String(tlsPort), "--tls-cert-file", cert, "--tls-key-file", key],
        ...["--tls-auth-clients", "no"],
      ],
    });
    const net = ["--allow-net", "--ignore-env"];
    const url = `rediss://localhost:${tlsPort}`;
    assertEquals(await run([...net, "--cert", cert], url), "1 removed canceled");
    const byAddress = `rediss://127.0.0.1:${tlsPort}`;
    for (const [rights, at] of [[net, url], [[...net, "--cert", cert], byAddress]] as const) {
      const { name, retryable } = JSON.parse(await run(rights, at));
      assertEquals([name, retryable], ["ConnectionError", false]);
    }
    const plain = JSON.parse(await run(net, `redis://localhost:${tlsPort}`));
    assertEquals(plain.name, "ConnectionError");
    const wrapped = JSON.parse(await run(net, `rediss://localhost:${server.port}`));
    assertEquals(wrapped.name, "ConnectionError");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
