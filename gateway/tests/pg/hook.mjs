// A receiver of webhooks. Arguments: a folder with `cert.pem` and `key.pem`, its port, the secret. It keeps what it took, a line
// each, in `taken`; where `down` is in its folder it takes nothing. A request that is not signed by the secret, or long ago, is
// refused, but for those below `/actions/`: there it is the server of a chat that people read.
import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:https';

const [folder, port, secret] = process.argv.slice(2);
const [cert, key] = ['cert.pem', 'key.pem'].map((name) => readFileSync(`${folder}/${name}`));

function signed(header, body) {
  const [, seconds, tag] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header ?? '') ?? [];
  if (!tag || Math.abs(Date.now() / 1000 - Number(seconds)) > 60) return false;
  const own = createHmac('sha256', secret).update(`${seconds}.${body}`).digest();
  return timingSafeEqual(own, Buffer.from(tag, 'hex'));
}

createServer({ cert, key }, (request, answer) => {
  let body = '';
  request.on('data', (data) => (body += data));
  request.on('end', () => {
    appendFileSync(`${folder}/asked`, '.');
    if (existsSync(`${folder}/down`)) return answer.writeHead(503).end();
    if (!request.url.startsWith('/actions/') && !signed(request.headers['x-gateway-signature'], body)) return answer.writeHead(401).end();
    appendFileSync(`${folder}/taken`, JSON.stringify({ path: request.url, authorization: request.headers.authorization, body: JSON.parse(body) }) + '\n');
    answer.writeHead(202).end();
  });
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
