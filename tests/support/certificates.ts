/**
 * Certificates for servers under test: an authority of its own that signs one for 127.0.0.1.
 *
 * @module
 */

/** Files of an authority and a server that it vouches for. */
export interface Certificates extends AsyncDisposable {
  /** The authority's certificate. */
  readonly ca: string;
  /** The server's certificate. */
  readonly cert: string;
  /** The server's key. */
  readonly key: string;
}

/** Makes an authority and a certificate for 127.0.0.1. */
export async function makeCertificates(): Promise<Certificates> {
  const dir = await Deno.makeTempDir({ prefix: "agentexec-tls-" });
  // Postgres, which runs as another user, reads its copy alone.
  await Deno.chmod(dir, 0o755);
  await Deno.writeTextFile(`${dir}/names`, "subjectAltName=IP:127.0.0.1\n");
  const days = ["-days", "2"];
  await openssl(
    dir,
    ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...days, "-subj", "/CN=Test authority"]
      .concat(
        ["-keyout", "ca.key", "-out", "ca.pem"],
      ),
  );
  await openssl(
    dir,
    ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server"].concat(
      ["-keyout", "server.key", "-out", "server.csr"],
    ),
  );
  await openssl(
    dir,
    ["x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
      .concat(
        ["-extfile", "names", ...days, "-out", "server.pem"],
      ),
  );
  return {
    ca: `${dir}/ca.pem`,
    cert: `${dir}/server.pem`,
    key: `${dir}/server.key`,
    [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }),
  };
}

async function openssl(cwd: string, args: readonly string[]): Promise<void> {
  const { code, stderr } = await new Deno.Command("openssl", { args: [...args], cwd }).output();
  if (code !== 0) throw new Error(`openssl ${args[0]} failed: ${new TextDecoder().decode(stderr)}`);
}
