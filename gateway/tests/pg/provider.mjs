// A certified OpenID provider that issues tokens to runtimes. Arguments: its module, a folder with `cert.pem` and `key.pem`,
// its port, the name of its key, which is made here. Clients: `runner`, whose tokens last ten minutes, `brief`, some seconds,
// `other`, another workload, `stranger`, whose tokens are for somebody else.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { generateKeyPairSync } from 'node:crypto';

const [module, folder, port, kid] = process.argv.slice(2);
const { default: Provider } = await import(module);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const lives = { runner: 600, brief: 12, other: 600, stranger: 600 };
const issuer = `https://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: Object.keys(lives).map((client_id) => ({
    client_id,
    client_secret: 'not-a-secret',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  })),
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid, use: 'sig' }] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource, client) => ({
        scope: '',
        audience: client.clientId === 'stranger' ? 'somebody-else' : 'gateway',
        accessTokenFormat: 'jwt',
        accessTokenTTL: lives[client.clientId],
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  extraTokenClaims: (_, token) => ({
    groups: token.clientId === 'other' ? ['readers'] : ['readers', 'deployers'],
    repository: 'acme/shop',
  }),
});
const [cert, key] = ['cert.pem', 'key.pem'].map((name) => readFileSync(`${folder}/${name}`));
createServer({ cert, key }, provider.callback()).listen(Number(port), '127.0.0.1', () => console.log('ready'));
