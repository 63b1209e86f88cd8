-- The record in ClickHouse 25.3 or later (type JSON). Applied by `gateway audit migrate`; never changed once released.
--
-- A row is a line of the journal. Evidence is never replaced: the sort key ends with the hash of the line, so that a row
-- that was sent twice collapses (FINAL) and one that differs stays beside the first (view `conflict`). Of rows with the
-- same line the one that came first stays: `earliness` is the server's own, nobody who only inserts can set it.

CREATE TABLE IF NOT EXISTS events
(
    time                DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    host_id             UUID,
    host_name           LowCardinality(String),
    journal_id          UUID,
    seq                 UInt64 CODEC(Delta(8), ZSTD(1)),
    event               LowCardinality(String),
    session_id          UUID,
    line                String CODEC(ZSTD(6)),
    line_hash           FixedString(32) MATERIALIZED SHA256(line) CODEC(NONE),
    earliness           UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Micro(now64(6)) CODEC(ZSTD(1)),

    attachment          LowCardinality(String),
    workload            LowCardinality(String),
    workload_instance   LowCardinality(String),
    cgroup              LowCardinality(String),
    container_id        LowCardinality(String),
    container_image     LowCardinality(String),
    k8s_pod_namespace   LowCardinality(String),
    k8s_pod_name        LowCardinality(String),
    user_id             UInt32,
    process_pid         UInt32 CODEC(ZSTD(1)),
    process_executable  LowCardinality(String),
    token_issuer        LowCardinality(String),
    token_subject       LowCardinality(String),
    token_expires       Nullable(DateTime64(6, 'UTC')),
    groups              Array(LowCardinality(String)),

    protocol            LowCardinality(String),
    target              LowCardinality(String),
    environment         LowCardinality(String),
    server_address      IPv6,
    server_port         UInt16,
    server_name         LowCardinality(String),
    server_identity     LowCardinality(String),
    login               LowCardinality(String),
    credential          LowCardinality(String),

    phase               LowCardinality(String),
    actions             Array(LowCardinality(String)),
    db_namespace        LowCardinality(String),
    db_operation_name   LowCardinality(String),
    db_query_text       String CODEC(ZSTD(3)),
    db_query_parameters Array(String) CODEC(ZSTD(3)),
    db_query_hash       String CODEC(ZSTD(1)),
    relations_read      Array(LowCardinality(String)),
    relations_written   Array(LowCardinality(String)),
    data_classes        Array(LowCardinality(String)),

    decision            LowCardinality(String),
    policies            Array(LowCardinality(String)),
    policy_set          LowCardinality(String),
    policy_epoch        UInt64 CODEC(T64, ZSTD(1)),
    message             LowCardinality(String),
    grants              Array(LowCardinality(String)),
    approval_id         UUID,
    approver_groups     Array(LowCardinality(String)),
    person              LowCardinality(String),
    reason              String CODEC(ZSTD(1)),

    request_seq         UInt64 CODEC(T64, ZSTD(1)),
    status              LowCardinality(String),
    status_code         LowCardinality(String),
    duration_us         UInt64 CODEC(T64, ZSTD(1)),
    held_us             UInt64 CODEC(T64, ZSTD(1)),
    rows_returned       UInt64 CODEC(T64, ZSTD(1)),
    rows_affected       UInt64 CODEC(T64, ZSTD(1)),
    bytes_sent          UInt64 CODEC(T64, ZSTD(1)),
    bytes_received      UInt64 CODEC(T64, ZSTD(1)),
    masked              Map(LowCardinality(String), UInt64),
    shown               Map(LowCardinality(String), UInt64),

    -- What has no column of its own; of a decision, all that it was made from.
    facts               JSON(max_dynamic_paths = 128) CODEC(ZSTD(3)),

    INDEX by_time       time              TYPE minmax              GRANULARITY 1,
    INDEX by_session    session_id        TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_read       relations_read    TYPE bloom_filter(0.01)  GRANULARITY 1,
    INDEX by_written    relations_written TYPE bloom_filter(0.01)  GRANULARITY 1,
    INDEX by_policy     policies          TYPE bloom_filter(0.01)  GRANULARITY 1,
    INDEX by_event      event             TYPE set(64)             GRANULARITY 1,
    INDEX by_decision   decision          TYPE set(8)              GRANULARITY 1
)
ENGINE = ReplacingMergeTree(earliness)
PARTITION BY toYYYYMM(time)
ORDER BY (host_id, journal_id, seq, line_hash);

-- The lines `session.start` and `session.end`, with all of their fields.
CREATE TABLE IF NOT EXISTS sessions
(
    time                DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)),
    host_id             UUID,
    host_name           LowCardinality(String),
    journal_id          UUID,
    seq                 UInt64 CODEC(Delta(8), ZSTD(1)),
    event               LowCardinality(String),
    session_id          UUID,
    line                String EPHEMERAL,
    line_hash           FixedString(32) MATERIALIZED SHA256(line) CODEC(NONE),
    earliness           UInt64 MATERIALIZED 18446744073709551615 - toUnixTimestamp64Micro(now64(6)) CODEC(ZSTD(1)),

    parent_session_id   UUID,
    attachment          LowCardinality(String),
    workload            LowCardinality(String),
    workload_instance   LowCardinality(String),
    cgroup              LowCardinality(String),
    container_id        LowCardinality(String),
    container_image     LowCardinality(String),
    k8s_pod_namespace   LowCardinality(String),
    k8s_pod_name        LowCardinality(String),
    user_id             UInt32,
    process_pid         UInt32 CODEC(ZSTD(1)),
    process_executable  LowCardinality(String),
    token_issuer        LowCardinality(String),
    token_subject       LowCardinality(String),
    token_expires       Nullable(DateTime64(6, 'UTC')),
    groups              Array(LowCardinality(String)),
    protocol            LowCardinality(String),
    target              LowCardinality(String),
    environment         LowCardinality(String),
    server_address      IPv6,
    server_port         UInt16,
    server_name         LowCardinality(String),
    mode                LowCardinality(String),

    end_cause           LowCardinality(String),
    duration_us         UInt64 CODEC(T64, ZSTD(1)),
    requests            UInt64 CODEC(T64, ZSTD(1)),
    denied              UInt64 CODEC(T64, ZSTD(1)),
    held                UInt64 CODEC(T64, ZSTD(1)),
    rows_returned       UInt64 CODEC(T64, ZSTD(1)),
    bytes_sent          UInt64 CODEC(T64, ZSTD(1)),
    bytes_received      UInt64 CODEC(T64, ZSTD(1)),

    INDEX by_session    session_id        TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree(earliness)
PARTITION BY toYYYYMM(time)
ORDER BY (host_id, journal_id, seq, line_hash);

-- One row per session, with its end where there is one yet.
CREATE VIEW IF NOT EXISTS session AS
SELECT s.time AS started, if(e.seq = 0, NULL, e.time) AS ended,
       s.host_id AS host_id, s.host_name AS host_name, s.journal_id AS journal_id, s.session_id AS session_id,
       s.parent_session_id AS parent_session_id, s.attachment AS attachment, s.workload AS workload,
       s.workload_instance AS workload_instance, s.cgroup AS cgroup, s.container_id AS container_id,
       s.container_image AS container_image, s.k8s_pod_namespace AS k8s_pod_namespace, s.k8s_pod_name AS k8s_pod_name,
       s.user_id AS user_id, s.process_pid AS process_pid, s.process_executable AS process_executable,
       s.token_issuer AS token_issuer, s.token_subject AS token_subject, s.groups AS groups, s.protocol AS protocol,
       s.target AS target, s.environment AS environment, s.server_address AS server_address,
       s.server_port AS server_port, s.server_name AS server_name, s.mode AS mode,
       e.end_cause AS end_cause, e.duration_us AS duration_us, e.requests AS requests, e.denied AS denied,
       e.held AS held, e.rows_returned AS rows_returned, e.bytes_sent AS bytes_sent, e.bytes_received AS bytes_received
FROM (SELECT * FROM sessions FINAL WHERE event = 'session.start') AS s
LEFT JOIN (SELECT * FROM sessions FINAL WHERE event = 'session.end') AS e
    ON e.host_id = s.host_id AND e.journal_id = s.journal_id AND e.session_id = s.session_id;

-- One row per statement: who, to what, what was said, and what came of it. `status` is empty until its outcome is here.
CREATE VIEW IF NOT EXISTS statement AS
SELECT r.time AS time, r.host_id AS host_id, r.host_name AS host_name, r.journal_id AS journal_id, r.seq AS seq,
       r.session_id AS session_id, s.attachment AS attachment, s.workload AS workload,
       s.process_executable AS process_executable, s.token_subject AS token_subject, s.groups AS groups,
       s.target AS target, s.environment AS environment, s.server_address AS server_address,
       s.server_port AS server_port, r.login AS login, r.phase AS phase, r.db_namespace AS db_namespace,
       r.db_operation_name AS db_operation_name, r.actions AS actions, r.db_query_text AS db_query_text,
       r.db_query_parameters AS db_query_parameters, r.db_query_hash AS db_query_hash,
       r.relations_read AS relations_read, r.relations_written AS relations_written, r.data_classes AS data_classes,
       r.decision AS decision, r.policies AS policies, r.policy_set AS policy_set, r.message AS message,
       r.approval_id AS approval_id, o.status AS status, o.status_code AS status_code, o.duration_us AS duration_us,
       o.held_us AS held_us, o.rows_returned AS rows_returned, o.rows_affected AS rows_affected, o.masked AS masked,
       o.shown AS shown
FROM (SELECT * FROM events FINAL WHERE event = 'postgres.statement') AS r
LEFT JOIN (SELECT * FROM events FINAL WHERE event = 'postgres.outcome') AS o
    ON o.host_id = r.host_id AND o.journal_id = r.journal_id AND o.request_seq = r.seq
LEFT JOIN (SELECT * FROM sessions FINAL WHERE event = 'session.start') AS s
    ON s.host_id = r.host_id AND s.journal_id = r.journal_id AND s.session_id = r.session_id;

-- One row per held request, with the votes and the end.
CREATE VIEW IF NOT EXISTS approval AS
SELECT approval_id,
       minIf(time, event = 'approval.requested') AS requested,
       any(host_id) AS host_id, any(journal_id) AS journal_id, any(session_id) AS session_id,
       maxIf(request_seq, event = 'approval.requested') AS request_seq,
       anyIf(policies, event = 'approval.requested') AS policies,
       anyIf(approver_groups, event = 'approval.requested') AS approver_groups,
       groupUniqArrayIf((person, decision, time), event = 'approval.decided') AS votes,
       argMax(event, (time, seq)) AS last_event,
       argMax(reason, (time, seq)) AS last_reason,
       max(time) AS last_time
FROM (SELECT * FROM events FINAL WHERE event LIKE 'approval.%')
GROUP BY approval_id;

-- Two lines with one number: somebody changed the journal, or the copy. Without FINAL, which would hide nothing here.
CREATE VIEW IF NOT EXISTS conflict AS
SELECT host_id, journal_id, seq, groupUniqArray(hex(line_hash)) AS lines, min(time) AS first, max(time) AS last
FROM events
GROUP BY host_id, journal_id, seq
HAVING uniqExact(line_hash) > 1;

-- How far each journal is here, and how many of its lines are missing.
CREATE VIEW IF NOT EXISTS journal AS
SELECT host_id, any(host_name) AS host_name, journal_id, min(time) AS first, max(time) AS last, max(seq) AS last_seq,
       max(seq) - uniqExact(seq) AS missing
FROM events
GROUP BY host_id, journal_id;
