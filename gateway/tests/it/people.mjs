// A certified OpenID provider at which people log in. Arguments: its module, a folder with `cert.pem` and `key.pem`, its port,
// where its client `console` is; `cli` comes back to any port of the person's own host, or asks for device codes. Whoever gives a name is it; groups go
// by name, and `sloth` was last asked who it is some minutes ago, whenever that was.
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { generateKeyPairSync } from 'node:crypto';

const [module, folder, port, client] = process.argv.slice(2);
const { default: Provider } = await import(module);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const groups = { alice: ['dba'], bob: ['dba'], viola: ['viewers'], mallory: [], olga: ['dba', 'viewers'], sloth: ['dba'] };
const provider = new Provider(`https://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'console',
      client_secret: 'not a secret+/%',
      redirect_uris: [`${client}/callback`],
      response_types: ['code'],
      grant_types: ['authorization_code'],
    },
    {
      client_id: 'cli',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      redirect_uris: ['http://127.0.0.1/callback'],
      response_types: ['code'],
      grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
    },
  ],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'people', use: 'sig' }] },
  cookies: { keys: ['made for a test'] },
  pkce: { required: () => true },
  claims: { openid: ['sub', 'groups'] },
  conformIdTokenClaims: false,
  findAccount: (_, accountId) => ({ accountId, claims: () => ({ sub: accountId, groups: groups[accountId] ?? [] }) }),
  features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } },
});
const { authTime } = provider.Session.prototype;
provider.Session.prototype.authTime = function asked() {
  return authTime.call(this) - (this.accountId === 'sloth' ? 610 : 0);
};
const [cert, key] = ['cert.pem', 'key.pem'].map((name) => readFileSync(`${folder}/${name}`));
// Where the folder has a file `elsewhere`, its tokens and keys are at another server, of the next port.
provider.use(async (ctx, next) => {
  await next();
  if (ctx.path === '/.well-known/openid-configuration' && existsSync(`${folder}/elsewhere`)) {
    for (const name of ['token_endpoint', 'jwks_uri', 'device_authorization_endpoint']) {
      ctx.body[name] = ctx.body[name].replace(`:${port}/`, `:${Number(port) + 1}/`);
    }
  }
});
const answers = provider.callback();
createServer({ cert, key }, answers).listen(Number(port) + 1, '127.0.0.1', () => {
  createServer({ cert, key }, answers).listen(Number(port), '127.0.0.1', () => console.log('ready'));
});
