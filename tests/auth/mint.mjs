// Makes keys and tokens: `node mint.mjs EXP` prints {"RS256": {"pem": …, "token": …, "other": …}, "ES256": …}, whose tokens
// expire at EXP, in seconds since 1970; `other` is signed with another key.
import { generateKeyPairSync, sign } from "node:crypto";

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

function token(alg, key, claims) {
  const signed = `${encoded({ alg, typ: "JWT", kid: alg })}.${encoded(claims)}`;
  return `${signed}.${sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
}

const kinds = { RS256: ["rsa", { modulusLength: 2048 }], ES256: ["ec", { namedCurve: "prime256v1" }] };
const claims = { sub: "alice", aud: ["encke"], exp: Number(process.argv[2]) };
const made = Object.entries(kinds).map(([alg, [kind, options]]) => {
  const [own, other] = [generateKeyPairSync(kind, options), generateKeyPairSync(kind, options)];
  const pem = own.publicKey.export({ type: "spki", format: "pem" });
  return [alg, { pem, token: token(alg, own.privateKey, claims), other: token(alg, other.privateKey, claims) }];
});
console.log(JSON.stringify(Object.fromEntries(made)));
