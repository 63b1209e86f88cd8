-- What people ask of the record. A `request` is anything that was decided, whatever its protocol; the other views ask one
-- question each. What a decision was made from stands in the line: each thing that policy was asked about, resolved.

CREATE VIEW IF NOT EXISTS request AS
SELECT r.time AS time, r.host_id AS host_id, r.host_name AS host_name, r.journal_id AS journal_id, r.seq AS seq,
       r.session_id AS session_id, s.attachment AS attachment, s.workload AS workload,
       s.process_executable AS process_executable, s.token_subject AS token_subject, s.protocol AS protocol,
       s.target AS target, s.environment AS environment, s.server_address AS server_address,
       s.server_port AS server_port, s.server_name AS server_name, r.login AS login, r.event AS event, r.phase AS phase,
       r.db_namespace AS namespace, r.db_operation_name AS operation, r.actions AS actions,
       if(r.db_query_text != '', r.db_query_text, JSONExtractString(r.line, 'body', 'text')) AS text,
       JSONExtract(r.line, 'body', 'decision', 'input', 'questions',
           'Array(Tuple(action String, resource Tuple(type String, id String), context Tuple(command Tuple(program String))))') AS questions,
       r.data_classes AS data_classes, r.decision AS decision, r.policies AS policies, r.message AS message,
       r.approval_id AS approval_id, o.status AS status, o.duration_us AS duration_us, o.held_us AS held_us,
       o.rows_returned AS rows_returned, o.rows_affected AS rows_affected, o.bytes_received AS bytes_received,
       o.masked AS masked, o.shown AS shown
FROM (SELECT * FROM events FINAL
      WHERE event IN ('postgres.statement', 'ssh.request', 'kubernetes.request', 'network.decision')) AS r
LEFT JOIN (SELECT * FROM events FINAL WHERE event IN ('postgres.outcome', 'ssh.outcome', 'kubernetes.outcome')) AS o
    ON o.host_id = r.host_id AND o.journal_id = r.journal_id AND o.request_seq = r.seq
LEFT JOIN (SELECT * FROM sessions FINAL WHERE event = 'session.start') AS s
    ON s.host_id = r.host_id AND s.journal_id = r.journal_id AND s.session_id = r.session_id;

-- One row per relation of a request and what was asked to be done to it; relations behind a view too.
CREATE VIEW IF NOT EXISTS touched AS
SELECT time, host_id, host_name, journal_id, seq, session_id, attachment, workload, token_subject, target, environment,
       login, namespace AS database, decodeURLComponent(arrayElement(splitByChar('/', question.resource.id), -1)) AS relation,
       question.action AS action, decision, status, rows_returned, rows_affected, text
FROM request ARRAY JOIN questions AS question
WHERE question.resource.type = 'Postgres::Relation';

-- One row per refused request and policy that refused it; `(no permit)`: nobody allowed it.
CREATE VIEW IF NOT EXISTS refused AS
SELECT time, host_id, host_name, journal_id, seq, session_id, attachment, workload, token_subject, protocol, target,
       environment, policy, decision, actions, text, message
FROM request ARRAY JOIN if(empty(policies), ['(no permit)'], policies) AS policy
WHERE decision IN ('deny', 'would_deny');

-- One row per use of a credential.
CREATE VIEW IF NOT EXISTS credential_use AS
SELECT c.time AS time, c.host_id AS host_id, c.host_name AS host_name, c.journal_id AS journal_id, c.seq AS seq,
       c.session_id AS session_id, s.attachment AS attachment, s.workload AS workload,
       s.workload_instance AS workload_instance, s.process_executable AS process_executable,
       s.token_subject AS token_subject, c.credential AS credential, c.target AS target, c.login AS login,
       c.server_identity AS server_identity
FROM (SELECT * FROM events FINAL WHERE event = 'credential.used') AS c
LEFT JOIN (SELECT * FROM sessions FINAL WHERE event = 'session.start') AS s
    ON s.host_id = c.host_id AND s.journal_id = c.journal_id AND s.session_id = c.session_id;

-- One row per vote on a held request; a request that nobody voted on has one without a person. `seconds` is how long it
-- took since it was held.
CREATE VIEW IF NOT EXISTS vote AS
SELECT a.requested AS requested, a.approval_id AS approval_id, a.host_id AS host_id, a.journal_id AS journal_id,
       a.session_id AS session_id, r.workload AS workload, r.target AS target, r.text AS text, a.policies AS policies,
       a.one.1 AS person, a.one.2 AS verdict, if(a.one.1 = '', NULL, a.one.3) AS decided,
       if(a.one.1 = '', NULL, dateDiff('millisecond', a.requested, a.one.3) / 1000) AS seconds,
       a.last_event AS last_event, a.last_reason AS last_reason
FROM (SELECT *, arrayJoin(if(empty(votes), [('', '', requested)], votes)) AS one FROM approval) AS a
LEFT JOIN request AS r ON r.host_id = a.host_id AND r.journal_id = a.journal_id AND r.seq = a.request_seq;

-- One row per statement and class of data that it touched: its rows, and values of that class hidden and in clear.
CREATE VIEW IF NOT EXISTS exposure AS
SELECT time, host_id, host_name, journal_id, seq, session_id, attachment, workload, token_subject, target, environment,
       class, rows_returned, masked[class] AS hidden, shown[class] AS in_clear
FROM request
ARRAY JOIN arrayDistinct(arrayConcat(data_classes, mapKeys(masked), mapKeys(shown))) AS class
WHERE decision != 'deny';

-- What each workload used, when first and how often: relations, commands, resources of Kubernetes, hosts.
CREATE VIEW IF NOT EXISTS first_use AS
SELECT workload, kind, thing, min(time) AS first, max(time) AS last, count() AS times,
       min(first) OVER (PARTITION BY workload) AS workload_since
FROM
(
    SELECT workload, time, used.1 AS kind, used.2 AS thing
    FROM request ARRAY JOIN arrayDistinct(arrayMap(q -> multiIf(
        q.context.command.program != '', ('command', q.context.command.program),
        q.resource.type = 'Postgres::Relation', ('relation', q.resource.id),
        q.resource.type LIKE 'Kubernetes::%', ('kubernetes', concat(q.action, ' ', q.resource.id)),
        ('', '')), questions)) AS used
    WHERE used.1 != '' AND decision != 'deny'
    UNION ALL
    SELECT workload, time, 'host' AS kind,
           concat(if(server_name != '', server_name, toString(server_address)), ':', toString(server_port)) AS thing
    FROM events FINAL WHERE event IN ('network.connect', 'session.start')
)
GROUP BY workload, kind, thing;

-- Rows and bytes of each workload by the hour, beside the median of its hours in the fourteen days before.
CREATE VIEW IF NOT EXISTS volume AS
SELECT workload, hour, rows, bytes,
       median(rows) OVER before AS usual_rows, median(bytes) OVER before AS usual_bytes, count() OVER before AS usual_hours
FROM
(
    SELECT workload, toStartOfHour(time) AS hour, sum(rows_returned) AS rows, sum(bytes_received) AS bytes
    FROM request GROUP BY workload, hour
)
WINDOW before AS (PARTITION BY workload ORDER BY toUnixTimestamp(hour) RANGE BETWEEN 1209600 PRECEDING AND 1 PRECEDING);
