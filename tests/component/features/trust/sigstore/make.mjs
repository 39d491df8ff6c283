// Signs images with sigstore's own client, against its own stand-ins for Fulcio, Rekor and the timestamp
// authority (they run in this process and make real certificates, entries and timestamps).
// usage: node make.mjs <digest> <directory>; bundles and the stand-ins' certificates and keys are written there.
import crypto from 'node:crypto';
import fs from 'node:fs';
import nock from 'nock';
import { bundleToJSON } from '@sigstore/bundle';
import {
  fulcioHandler, initializeCA, initializeCTLog, initializeTLog, initializeTSA, rekorHandler, tsaHandler,
} from '@sigstore/mock';
import { DSSEBundleBuilder, FulcioSigner, MessageSignatureBundleBuilder, RekorWitness, TSAWitness } from '@sigstore/sign';

const [digest, out] = process.argv.slice(2);
const hosts = { fulcio: 'http://fulcio.test', rekor: 'http://rekor.test', tsa: 'http://tsa.test' };
const pair = () => crypto.generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const keys = { ca: pair(), log: pair(), tsa: pair() };
const ca = await initializeCA(keys.ca, await initializeCTLog(pair()));
const tlog = await initializeTLog(hosts.rekor, keys.log);
const tsa = await initializeTSA(keys.tsa);

// Rekor keeps a dsse entry otherwise than it is proposed; the stand-in does not do that.
const log = tlog.log.bind(tlog);
const sha256 = (data) => ({ algorithm: 'sha256', value: crypto.createHash('sha256').update(data).digest('hex') });
tlog.log = (entry) => {
  if (entry.kind !== 'dsse') return log(entry);
  const { envelope, verifiers } = entry.spec.proposedContent;
  const { payload, signatures } = JSON.parse(envelope);
  const kept = signatures.map(({ sig }, number) => ({ signature: sig, verifier: verifiers[number] }));
  const hashes = { envelopeHash: sha256(envelope), payloadHash: sha256(Buffer.from(payload, 'base64')) };
  return log({ ...entry, spec: { ...hashes, signatures: kept } });
};

nock.disableNetConnect();
for (const [host, handler] of [
  [hosts.fulcio, fulcioHandler(ca)],
  [hosts.rekor, rekorHandler(tlog)],
  [hosts.tsa, tsaHandler(tsa)],
]) {
  nock(host).persist().post(handler.path).reply(async (_, body) => {
    const answer = await handler.fn(typeof body === 'string' ? body : JSON.stringify(body));
    return [answer.statusCode, answer.response, { 'Content-Type': answer.contentType || 'text/plain' }];
  });
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const token = `${part({ alg: 'none' })}.${part({ sub: 'ci@example.test', iss: 'http://oidc.test' })}.x`;
const signer = new FulcioSigner({ fulcioBaseURL: hosts.fulcio, identityProvider: { getToken: async () => token } });
const rekor = (entryType) => new RekorWitness({ rekorBaseURL: hosts.rekor, entryType });
const stamp = new TSAWitness({ tsaBaseURL: hosts.tsa });

const pem = (der) =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64').replace(/(.{64})/g, '$1\n')}\n-----END CERTIFICATE-----\n`;
fs.writeFileSync(`${out}/ca.pem`, pem(ca.rootCertificate));
fs.writeFileSync(`${out}/tsa.pem`, pem(tsa.intCert.toSchema(true).toBER()) + pem(tsa.rootCertificate));
fs.writeFileSync(`${out}/log.pem`, keys.log.publicKey.export({ format: 'pem', type: 'spki' }));

const statement = (predicateType) => ({
  type: 'application/vnd.in-toto+json',
  data: Buffer.from(JSON.stringify({
    _type: 'https://in-toto.io/Statement/v1',
    predicateType,
    subject: [{ name: 'app', digest: { sha256: digest.replace('sha256:', '') } }],
    predicate: {},
  })),
});
const write = (name, bundle) => fs.writeFileSync(`${out}/${name}.json`, JSON.stringify(bundleToJSON(bundle)));
const signature = statement('https://sigstore.dev/cosign/sign/v1');
for (const [name, witnesses] of [
  ['log', [rekor('dsse')]],
  ['intoto', [rekor('intoto')]],
  ['stamp', [stamp]],
  ['both', [rekor('dsse'), stamp]],
  ['none', []],
]) {
  write(name, await new DSSEBundleBuilder({ signer, witnesses }).create(signature));
}
write('slsa', await new DSSEBundleBuilder({ signer, witnesses: [stamp] }).create(statement('https://slsa.dev/provenance/v1')));
// The manifest's own bytes, as a message.
const builder = new MessageSignatureBundleBuilder({ signer, witnesses: [rekor(), stamp] });
write('message', await builder.create({ data: fs.readFileSync(`${out}/manifest`) }));
