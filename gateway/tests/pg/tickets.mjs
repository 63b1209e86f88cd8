// Jira (Data Center's REST API 2: no `/search/jql`) below `/jira`, and ServiceNow's Table API below `/now`, as far as tickets of
// requests go: what these refuse is refused here. Arguments: a folder with `cert.pem` and `key.pem`, its port. Tickets are kept in
// `tickets`, as JSON, with their comments. Where `down` is in the folder it takes nothing; where `lost` is, it does as it is told and
// loses its answer.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';

const [folder, port] = process.argv.slice(2);
const [cert, key] = ['cert.pem', 'key.pem'].map((name) => readFileSync(`${folder}/${name}`));
const tickets = [];

function fault(fields) {
  if (fields?.project?.key !== 'OPS') return { project: 'valid project is required' };
  if (fields.issuetype?.name !== 'Task') return { issuetype: 'The issue type selected is invalid.' };
  if (typeof fields.summary !== 'string' || /[\n\r]/.test(fields.summary)) return { summary: 'The summary is invalid because it contains newline characters.' };
  if (fields.summary.length > 255) return { summary: 'Summary must be less than 255 characters.' };
  if (!fields.labels?.every((label) => typeof label === 'string' && !/\s/.test(label))) return { labels: "The label contains spaces which is invalid." };
  const other = Object.keys(fields).find((name) => !['project', 'issuetype', 'summary', 'description', 'labels'].includes(name));
  return other && { [other]: `Field '${other}' cannot be set. It is not on the appropriate screen, or unknown.` };
}

function jira(method, url, body) {
  if (url.pathname === '/search' && method === 'GET') {
    const [, project, label] = /^project = "(\w+)" AND labels = "([\w-]+)"$/.exec(url.searchParams.get('jql')) ?? [];
    if (!project) return [400, { errorMessages: ['Error in the JQL Query'], errors: {} }];
    const found = tickets.filter((ticket) => ticket.system === 'jira' && ticket.fields.labels.includes(label));
    return [200, { issues: found.map(({ key }) => ({ id: '1', key, fields: {} })), total: found.length }];
  }
  if (url.pathname === '/issue' && method === 'POST') {
    const errors = fault(body.fields);
    if (errors) return [400, { errorMessages: [], errors }];
    const ticket = { system: 'jira', key: `OPS-${tickets.length + 1}`, fields: body.fields, comments: [] };
    tickets.push(ticket);
    return [201, { id: '1', key: ticket.key, self: 'x' }];
  }
  const [, named] = /^\/issue\/([\w-]+)\/comment$/.exec(url.pathname) ?? [];
  const ticket = tickets.find(({ key }) => key === named);
  if (!ticket || method !== 'POST') return [404, { errorMessages: ['Issue does not exist or you do not have permission to see it.'], errors: {} }];
  if (typeof body.body !== 'string') return [400, { errorMessages: [], errors: { comment: 'Comment body can not be empty!' } }];
  ticket.comments.push(body.body);
  return [201, { id: '2' }];
}

function now(method, url, body) {
  const [, id] = /^\/table\/incident(?:\/([0-9a-f]{32}))?$/.exec(url.pathname) ?? [null];
  const shown = ({ key, id }) => ({ number: key, sys_id: id });
  if (method === 'GET' && !id) {
    const [, wanted] = /^correlation_id=([\w-]+)$/.exec(url.searchParams.get('sysparm_query')) ?? [];
    return [200, { result: tickets.filter(({ system, fields }) => system === 'now' && fields.correlation_id === wanted).map(shown) }];
  }
  if (method === 'POST' && !id) {
    const ticket = { system: 'now', key: `INC${String(tickets.length + 1).padStart(7, '0')}`, id: String(tickets.length).padStart(32, 'a'), fields: body, comments: [] };
    tickets.push(ticket);
    return [201, { result: shown(ticket) }];
  }
  const ticket = tickets.find((ticket) => ticket.id === id);
  if (method !== 'PATCH' || !ticket) return [404, { error: { message: 'No Record found', detail: '' }, status: 'failure' }];
  ticket.comments.push(body.work_notes);
  return [200, { result: shown(ticket) }];
}

createServer({ cert, key }, (request, answer) => {
  let text = '';
  request.on('data', (data) => (text += data));
  request.on('end', () => {
    const say = (status, body) => answer.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (existsSync(`${folder}/down`)) return say(503, {});
    if (request.headers.authorization !== 'Basic dXNlcjp0b2tlbg==') return say(401, {});
    const url = new URL(request.url, 'https://x');
    const [, system] = /^\/(jira\/rest\/api\/2|now\/api\/now)\//.exec(url.pathname) ?? [];
    if (!system) return say(404, {});
    url.pathname = url.pathname.slice(system.length + 1);
    const [status, body] = (system[0] === 'j' ? jira : now)(request.method, url, text ? JSON.parse(text) : {});
    writeFileSync(`${folder}/tickets`, JSON.stringify(tickets));
    if (request.method === 'POST' && existsSync(`${folder}/lost`)) return request.socket.destroy();
    say(status, body);
  });
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
