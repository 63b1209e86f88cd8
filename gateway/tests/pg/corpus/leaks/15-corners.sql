--# Corners: frames and arguments of windows, samples, subscripts, errors of every input function, strange delimiters.

-- denied
SELECT x.* FROM customers c, XMLTABLE('/r' PASSING '<r/>' COLUMNS a text PATH 'nothing' DEFAULT c.ssn) x;

-- denied
SELECT x.* FROM customers c, XMLTABLE(XMLNAMESPACES('http://x' AS n), '/n:r' PASSING xmlparse(content '<r xmlns="http://x">' || c.email || '</r>') COLUMNS o FOR ORDINALITY, a text PATH '.') x;

-- denied
SELECT x.* FROM customers c, XMLTABLE('/r' PASSING '<r/>' COLUMNS a text PATH '"' || c.ssn || '"') x;

-- masked
SELECT xmlexists('//a[. = "000-73-9184"]' PASSING xmlelement(name a, ssn)), xpath_exists('/a', xmlelement(name a, email)) FROM customers WHERE id = 1;

-- masked
SELECT xmlparse(content ssn), xmlroot(xmlelement(name a, email), version '1.0'), xmlelement(name a, ssn) IS DOCUMENT FROM customers WHERE id = 1;

-- scrubbed
SELECT xmlparse(document ssn) FROM customers WHERE id = 1;

-- denied
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY salary) FROM customers;

-- denied
SELECT percentile_disc(salary / 10000000.0) WITHIN GROUP (ORDER BY id) FROM customers WHERE id = 1 GROUP BY salary;

-- masked
SELECT rank((SELECT salary FROM customers WHERE id = 1)) WITHIN GROUP (ORDER BY id) FROM events;

-- denied
SELECT name, count(*) FROM customers GROUP BY GROUPING SETS ((name), (ssn), ());

-- denied
SELECT ssn, name FROM customers GROUP BY GROUPING SETS ((1), (2));

-- denied
SELECT GROUPING(ssn, name), ssn FROM customers GROUP BY CUBE (ssn, name);

-- denied
SELECT id, count(*) OVER (ORDER BY id ROWS BETWEEN (SELECT salary % 2 FROM customers WHERE id = 1) PRECEDING AND CURRENT ROW) FROM events;

-- denied
SELECT id, count(*) OVER w FROM events WINDOW w AS (ORDER BY id ROWS (SELECT length(email) FROM customers WHERE id = 1) PRECEDING);

-- denied
SELECT id, count(*) OVER (w ROWS UNBOUNDED PRECEDING EXCLUDE TIES) FROM customers WINDOW w AS (ORDER BY ssn);

-- masked
SELECT lag(name, salary % 2) OVER (ORDER BY id), nth_value(id, 1 + salary % 2) OVER (ORDER BY id) FROM customers;

-- masked
SELECT lag(name, 1, ssn) OVER (ORDER BY id), lag(id, (SELECT length(email) FROM customers WHERE id = 1)) OVER (ORDER BY id) FROM customers;

-- masked
SELECT ntile((SELECT length(ssn) FROM customers WHERE id = 1)) OVER (ORDER BY id) FROM events;

-- denied
SELECT id FROM events FETCH FIRST (SELECT length(ssn) FROM customers WHERE id = 1) ROWS WITH TIES;

-- denied
SELECT count(*) FROM events TABLESAMPLE BERNOULLI ((SELECT length(ssn) FROM customers WHERE id = 1));

-- denied
SELECT count(*) FROM events TABLESAMPLE SYSTEM (50) REPEATABLE ((SELECT salary FROM customers WHERE id = 1));

-- denied
SELECT generate_subscripts(tags, 1) FROM customers WHERE id = 1;

-- denied
SELECT * FROM customers c, unnest(c.tags) WITH ORDINALITY AS u (t, n) WHERE c.id = 1;

-- denied
SELECT * FROM customers c, LATERAL ROWS FROM (generate_series(1, 2), jsonb_to_record(c.notes) AS (secret text)) AS r WHERE c.id = 1;

-- masked
SELECT format('%*s', salary, 'x'), repeat('x', salary % 10), lpad('', length(ssn), 'y') FROM customers WHERE id = 2;

-- masked
SELECT (ARRAY[10, 20, 30])[1 + salary % 3], (ARRAY['a', 'b', 'c'])[salary % 3 :], tags[length(ssn)] FROM customers WHERE id = 1;

-- masked
SELECT ('[1, 2, 3]'::jsonb) -> (salary % 3), ('{"a": 1}'::jsonb) ? substr(email, 4, 1), '{"a": {"b": 1}}'::jsonb #> ARRAY[ssn] FROM customers WHERE id = 1;

-- masked
SELECT id, ROW(id, ssn) = (SELECT id, ssn FROM customers WHERE id = 1), ssn <> ALL (SELECT what FROM events) FROM customers c;

-- denied
SELECT id FROM customers WHERE (id, ssn) < (5, 'x');

-- denied
SELECT id FROM customers WHERE (id, email) IN (SELECT id, what FROM events);

-- denied
SELECT id FROM customers WHERE (born, born + 1) OVERLAPS (date '1931-01-01', date '1932-01-01');

-- denied
SELECT id FROM customers WHERE born BETWEEN SYMMETRIC '1932-01-01' AND '1931-01-01';

-- denied
SELECT id FROM customers WHERE notes ? 'secret' OR notes @? '$.secret' OR notes @@ '$.secret == "x"';

-- denied
SELECT id FROM customers ORDER BY ssn USING >, id;

-- denied
SELECT id FROM customers c WHERE ROW(c.*) IS NOT NULL;

-- denied
SELECT id FROM customers c WHERE to_tsvector('simple', c.email) @@ 'quillfeather';

-- masked from 14
SELECT record_out(c), record_send(c), hash_record(c), c.row_to_json, c.count, c.array_agg, c.json_agg FROM customers c WHERE id = 1 GROUP BY c.id;

-- masked
SELECT c.quote_literal, c.concat FROM customers c WHERE id = 1;

-- masked
SELECT c.pg_column_size, c.num_nulls, c.pg_typeof, c.jsonb_agg FROM customers c GROUP BY c.id;

-- masked
SELECT concat(c), concat_ws('-', VARIADIC tags), format('%s', c), format('%2$s', 1, c), num_nonnulls(VARIADIC tags) FROM customers c WHERE id = 1;

-- masked
SELECT (json_populate_record(NULL::pair, json_build_object('a', ssn))).* FROM customers WHERE id = 1;

-- denied
SELECT * FROM json_to_recordset((SELECT json_agg(c) FROM customers c)) AS x (ssn text, email text);

-- denied
SELECT r.* FROM customers c, LATERAL json_populate_recordset(NULL::pair, json_build_array(json_build_object('a', c.ssn))) r;

-- masked
SELECT (ROW(c.*)::customers).ssn, (c.*::text), (ROW(1, ssn)).f2 FROM customers c WHERE id = 1;

-- scrubbed
SELECT ssn::regproc FROM customers WHERE id = 1;

-- scrubbed
SELECT email::regtype FROM customers WHERE id = 1;

-- scrubbed
SELECT email::regconfig FROM customers WHERE id = 1;

-- scrubbed
SELECT ssn::regoperator FROM customers WHERE id = 1;

-- scrubbed
SELECT email::regcollation FROM customers WHERE id = 1;

-- scrubbed
SELECT to_regclass(ssn), to_regtype('x' || email), to_regproc(ssn) FROM customers WHERE id = 1;

-- scrubbed
SELECT current_setting(email) FROM customers WHERE id = 1;

-- scrubbed
SELECT currval(email) FROM customers WHERE id = 1;

-- scrubbed
SELECT ('[' || ssn || ')')::int4range FROM customers WHERE id = 1;

-- scrubbed
SELECT ssn::tsquery, to_tsquery('simple', email || ' &') FROM customers WHERE id = 1;

-- scrubbed
SELECT email::macaddr FROM customers WHERE id = 1;

-- scrubbed
SELECT email::jsonpath FROM customers WHERE id = 1;

-- scrubbed
SELECT email::interval FROM customers WHERE id = 1;

-- scrubbed
SELECT email::aclitem FROM customers WHERE id = 1;

-- scrubbed
SELECT salary::numeric(3) FROM customers WHERE id = 1;

-- scrubbed
SELECT (notes ->> 'secret')::int, tags::int[] FROM customers WHERE id = 1;

-- scrubbed
SELECT notes::int FROM customers WHERE id = 1;

-- scrubbed
SELECT lower(email) LIKE ssn ESCAPE email FROM customers WHERE id = 1;

-- scrubbed
SELECT convert(email::bytea, ssn, 'UTF8') FROM customers WHERE id = 1;

-- scrubbed
SELECT set_byte(photo, salary, 1) FROM customers WHERE id = 1;

-- scrubbed
SELECT date_trunc(email, now()), extract(epoch FROM ssn::timestamptz) FROM customers WHERE id = 1;

-- scrubbed
SELECT make_timestamp(salary, salary, 1, 1, 1, 1) FROM customers WHERE id = 1;

-- scrubbed
SELECT ts_headline(ssn::regconfig, 'x', 'x'::tsquery) FROM customers WHERE id = 1;

-- scrubbed
SELECT array_fill(ssn, ARRAY[salary, salary, salary]) FROM customers WHERE id = 1;

-- scrubbed
INSERT INTO customers (id, name, ssn) VALUES (1, 'x', 'y') RETURNING *;

-- scrubbed
INSERT INTO customers SELECT 1, 'x' RETURNING ssn;

-- scrubbed
DELETE FROM ONLY customers WHERE id = 999999 OR 1 / (id - 1) > 0 RETURNING ssn;

-- denied
ALTER TABLE customers ALTER ssn TYPE int USING ssn::int;

-- denied
CREATE UNIQUE INDEX ON customers ((left(ssn, 0)));

-- denied
CREATE EXTENSION pageinspect;

-- masked
COPY (SELECT id, ssn, email FROM customers) TO STDOUT (FORMAT csv, QUOTE 'q', ESCAPE 'u', DELIMITER '-', FORCE_QUOTE (ssn));

-- masked
COPY customers (id, email, ssn) TO STDOUT (FORMAT csv, DELIMITER '@', NULL 'quill', HEADER);

-- masked
COPY customers (id, ssn, email, tags, notes) TO STDOUT (DELIMITER '-', NULL 'x');

-- masked
COPY (SELECT ssn, name, ssn || name, id FROM customers) TO STDOUT CSV QUOTE AS '0' DELIMITER AS '-' FORCE QUOTE *;

-- masked
COPY (SELECT (SELECT max(c.ssn) FROM events LIMIT 1) FROM customers c) TO STDOUT;

-- masked
SELECT (SELECT max(c.ssn) FROM events LIMIT 1) FROM customers c;

-- masked
SELECT (SELECT string_agg(c.email, x) FROM (VALUES ('-')) v (x)) FROM customers c GROUP BY c.id;

-- masked
SELECT j.c FROM (customers c JOIN events e ON e.customer = c.id) AS j (a, b, c, d) WHERE a = 1 LIMIT 1;

-- masked
SELECT name FROM customers AS c (ssn, b, name);

-- masked
WITH q (a) AS (SELECT id, ssn AS b FROM customers) SELECT b FROM q;

-- masked
SELECT q.b FROM (SELECT id, ssn FROM customers) AS q (a, b);

-- denied
SELECT (j).ssn FROM customers c JOIN people p USING (ssn) AS j;

-- denied
SELECT * FROM customers NATURAL FULL JOIN people;

-- denied
SELECT id, ssn FROM customers UNION ALL SELECT id, what FROM events ORDER BY 2;

-- denied
SELECT id FROM (SELECT id, ssn FROM customers UNION ALL SELECT id, what FROM events) u ORDER BY u.ssn;

-- denied
SELECT id, ssn FROM customers EXCEPT ALL SELECT id, what FROM events;

-- denied
INSERT INTO copies (b) SELECT id FROM customers ORDER BY ssn;

-- denied
INSERT INTO copies SELECT name, CASE WHEN ssn > '1' THEN 1 ELSE 0 END FROM customers;

-- denied
UPDATE snapshots SET many[(SELECT salary % 3 FROM customers WHERE id = 1)] = NULL WHERE id = 1;

-- masked
UPDATE plain_view SET name = name WHERE id = 1 RETURNING code, plain_view;

-- denied
UPDATE plain_view SET name = code WHERE id = 1 RETURNING name;

-- masked
BEGIN;
DELETE FROM star_view WHERE id = 1 RETURNING *;
ROLLBACK;

-- denied
INSERT INTO plain_view (id, name, code) VALUES (1, 'x', 'y') ON CONFLICT (id) DO UPDATE SET name = plain_view.code RETURNING name;

-- masked
DECLARE h CURSOR WITH HOLD FOR SELECT id, reverse(ssn) FROM customers;
COMMIT;
FETCH ABSOLUTE 1 FROM h;
FETCH RELATIVE 0 FROM h;
FETCH LAST FROM h;

-- masked
BEGIN;
DECLARE f INSENSITIVE NO SCROLL CURSOR FOR SELECT c FROM customers c;
SAVEPOINT s;
FETCH 1 FROM f;
ROLLBACK TO s;
FETCH ALL IN f;
COMMIT;

-- masked
BEGIN;
DECLARE f CURSOR FOR SELECT ssn FROM customers FOR UPDATE;
FETCH f;
UPDATE customers SET name = name WHERE CURRENT OF f RETURNING email;
ROLLBACK;

-- held
BEGIN;
CREATE TABLE late () INHERITS (customers);
SELECT ssn FROM late;
ROLLBACK;

-- masked
SELECT ALL ssn FROM ONLY (customers) WHERE id = 1;

-- denied
SELECT string_agg(DISTINCT name, ssn ORDER BY name) FROM customers GROUP BY id;

-- masked
SELECT coalesce(c.ssn, 'x') COLLATE "C" FROM customers c WHERE id = 1;

-- masked
SELECT @ salary, |/ salary, - salary, salary OPERATOR(pg_catalog.+) 0, ssn OPERATOR(pg_catalog.||) '' FROM customers WHERE id = 1;

-- masked
SELECT collation for (ssn), treat(ssn AS text), national character varying 'x' || ssn FROM customers WHERE id = 1;

-- masked
SELECT make_interval(secs => salary), make_date(day => 1, year => salary % 1000, month => 2) FROM customers WHERE id = 1;

-- masked
EXPLAIN (ANALYZE, VERBOSE, COSTS off, TIMING off, SUMMARY off) SELECT ssn FROM customers WHERE id = 1;

-- denied
EXPLAIN (GENERIC_PLAN) SELECT id FROM customers WHERE ssn = $1;

-- denied
PREPARE pe AS SELECT id FROM customers WHERE ssn = $1;
EXPLAIN EXECUTE pe('000-73-9184');

-- denied
EXPLAIN ANALYZE CREATE TEMP TABLE k AS SELECT ssn FROM customers;

-- denied
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_level = 'notice';
SET auto_explain.log_analyze = on;
SELECT ssn FROM customers WHERE id = 1;

-- masked
SET client_min_messages = debug5;
SET debug_print_plan = on;
SELECT ssn FROM customers WHERE id = 1;

-- denied
SELECT pg_get_expr(stxexprs, stxrelid), stxdmcv FROM pg_statistic_ext, pg_statistic_ext_data;

-- denied
SELECT stxdmcv FROM pg_statistic_ext_data;

-- denied
SELECT * FROM pg_stat_get_activity(NULL) a, pg_stats LIMIT 1;

-- denied
SELECT pg_read_file(pg_current_logfile());

-- denied
SELECT * FROM pg_ls_logdir();

-- denied
COPY pg_stats TO STDOUT;

-- denied
COPY (SELECT c FROM customers c ORDER BY c.ssn) TO STDOUT;

-- masked
SELECT * FROM (TABLE customers UNION ALL TABLE customers) t WHERE id = 1;

-- masked
WITH t AS (TABLE customers) TABLE t;

-- masked
SELECT least(id, salary), greatest(name, email), nullif(name, ssn) FROM customers WHERE id = 1;

-- denied
WITH RECURSIVE t AS (SELECT id, ssn FROM customers WHERE id = 1 UNION SELECT id + 1, ssn FROM t WHERE id < 3) SELECT id FROM t;

-- masked
SELECT s.x FROM customers c, LATERAL (SELECT c.ssn UNION ALL SELECT c.email) s (x) WHERE c.id = 1;

-- masked
SELECT (SELECT x.a FROM (SELECT c.*) AS x (z, y, a)) FROM customers c WHERE id = 1;

-- denied
SELECT id FROM customers c WHERE EXISTS (SELECT FROM (VALUES (c.ssn)) v (x) WHERE x LIKE '0%');

-- denied
SELECT id FROM customers c, LATERAL (SELECT c.ssn LIMIT length(c.email) - 1) l;

-- denied
SELECT id FROM customers GROUP BY id, ssn HAVING count(*) > 0;

-- passes
SELECT id, count(ssn), count(*) FILTER (WHERE ssn IS NOT NULL), ssn IS NULL FROM customers GROUP BY id ORDER BY id;

-- masked
SELECT twice FROM computed;

-- masked
SELECT upper(twice), c, to_json(c) FROM computed c;

-- masked
UPDATE computed SET id = id WHERE id = 1 RETURNING twice;

-- denied
SELECT id FROM computed WHERE twice LIKE '000%';

-- masked
COPY (SELECT * FROM computed) TO STDOUT;
