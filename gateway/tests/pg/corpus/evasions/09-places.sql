--# What is forbidden, in every place of a statement where an expression or a query can stand.

-- held: schema elements
CREATE SCHEMA s1 CREATE VIEW v AS SELECT wipes() AS a;

-- denied
CREATE SCHEMA s2 AUTHORIZATION agent CREATE TABLE t (a int) CREATE VIEW v AS SELECT * FROM pg_authid;

-- held
CREATE SCHEMA s3 CREATE TABLE t (a int DEFAULT wipes()) CREATE SEQUENCE q;

-- denied
MERGE INTO orders USING (VALUES (1)) v (x) ON true WHEN MATCHED THEN DELETE;

-- denied from 17
MERGE INTO orders o USING notes n ON o.id = 0 WHEN NOT MATCHED BY SOURCE THEN DELETE;

-- denied from 17
WITH m AS (MERGE INTO orders o USING notes n ON true WHEN MATCHED THEN DELETE RETURNING o.id) SELECT * FROM m;

-- denied from 17
COPY (MERGE INTO orders o USING notes n ON true WHEN MATCHED THEN DELETE RETURNING o.id) TO STDOUT;

-- denied
DELETE FROM ONLY orders;

-- denied
DELETE FROM orders AS notes WHERE true;

-- denied
DELETE FROM orders o USING notes n WHERE n.a = 'a note';

-- denied
UPDATE orders SET item = n.a FROM notes n WHERE n.a IS NOT NULL;

-- denied
UPDATE ONLY orders SET (id, item) = (id, 'x');

-- denied
UPDATE orders SET (id, item) = (SELECT id, 'x');

-- denied
DELETE FROM orders WHERE (TABLE notes) IS NOT NULL;

-- denied
DELETE FROM orders WHERE EXISTS (SELECT 1 FROM notes n WHERE n.a = 'a note');

-- denied
DELETE FROM orders WHERE 1 IN (SELECT 1);

-- denied
DELETE FROM orders WHERE ROW(1, 2) = ROW(1, 2);

-- denied
DELETE FROM orders WHERE '1' LIKE '1' AND 2 BETWEEN 1 AND 3;

-- denied
DELETE FROM orders WHERE xmlexists('//a' PASSING '<a/>'::xml);

-- denied
DELETE FROM orders WHERE TRUE IS NOT FALSE;

-- denied
DELETE FROM orders WHERE 'x'::text IS NOT NULL;

-- denied
DELETE FROM orders WHERE orders IS NOT NULL;

-- denied
DELETE FROM orders WHERE orders = orders;

-- denied
DELETE FROM orders o WHERE o.* IS NOT NULL;

-- denied
DELETE FROM orders WHERE tableoid = tableoid;

-- denied
DELETE FROM orders WHERE ctid = ctid;

-- denied
DELETE FROM orders WHERE NULLIF(1, 2) = 1;

-- denied from 16
DELETE FROM orders WHERE '{}' IS JSON;

-- denied
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM orders FOR UPDATE;
FETCH ALL FROM c;
DELETE FROM orders;
COMMIT;

-- denied
CREATE TEMP TABLE k AS WITH d AS (DELETE FROM orders RETURNING 1) SELECT 1;

-- denied
CREATE MATERIALIZED VIEW k AS WITH d AS (DELETE FROM orders RETURNING 1) SELECT 1;

-- denied
SELECT * INTO k FROM pg_authid;

-- denied
EXPLAIN (ANALYZE ON, WAL) TRUNCATE orders;

-- denied
PREPARE p AS TRUNCATE orders;

-- denied
ALTER TABLE orders DROP COLUMN item;

-- denied
ALTER TABLE IF EXISTS ONLY public.orders DROP id CASCADE, ADD x int;

-- held
ALTER TABLE orders ALTER item TYPE int USING wipes();

-- held
ALTER TABLE orders ADD x int DEFAULT wipes();

-- held
ALTER TABLE orders ADD CONSTRAINT k CHECK (wipes() = 1);

-- held
CREATE INDEX ON orders ((wipes(id, id)));

-- held
CREATE TABLE k PARTITION OF orders FOR VALUES IN (1);

-- held
ALTER VIEW orders OWNER TO postgres;

-- denied
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;

-- denied
ALTER ROLE ALL SET search_path = 'x';

-- held
ALTER DATABASE postgres RENAME TO p;

-- denied
ALTER EXTENSION plpgsql DROP FUNCTION plpgsql_call_handler();

-- denied
DROP EXTENSION plpgsql CASCADE;

-- held
IMPORT FOREIGN SCHEMA public FROM SERVER s INTO public;

-- held
SECURITY LABEL ON TABLE orders IS 'x';

-- denied
CREATE ACCESS METHOD h TYPE TABLE HANDLER heap_tableam_handler;

-- denied
CREATE TABLESPACE t LOCATION '/tmp';

-- held
CREATE DATABASE d;

-- denied
DROP ROLE agent;

-- denied
CLUSTER orders;

-- denied
REINDEX (VERBOSE) DATABASE CONCURRENTLY postgres;

-- denied
ALTER SYSTEM RESET ALL;

-- denied
SELECT lo_unlink(1);

-- denied
SELECT lo_create(0), lowrite(lo_open(1, 131072), 'x');

-- denied
SELECT pg_catalog.lo_truncate(1, 0);

-- denied
SELECT pg_stat_reset();

-- denied
SELECT pg_log_backend_memory_contexts(1);

-- denied
SELECT pg_replication_origin_create('x');

-- denied
SELECT pg_logical_emit_message(true, 'a', 'b');

-- denied
SELECT * FROM pg_ls_waldir();

-- denied
SELECT * FROM pg_hba_file_rules;

-- denied
SELECT rolpassword FROM pg_catalog.pg_authid AS r (oid, rolpassword);

-- denied
SELECT (SELECT a FROM pg_authid a LIMIT 1);

-- denied
SELECT row_to_json(s) FROM pg_shadow s;

-- denied
SELECT * FROM pg_user_mapping;

-- denied
SELECT subconninfo FROM pg_catalog.pg_subscription;

-- denied
COPY (TABLE pg_authid) TO STDOUT;

-- denied
TABLE pg_catalog.pg_authid LIMIT 1;

-- denied
DECLARE c CURSOR WITH HOLD FOR TABLE pg_authid;

-- denied
SELECT pg_read_binary_file('PG_VERSION') IS NULL;

-- denied
VALUES (pg_read_file('PG_VERSION'));

-- denied
SELECT FROM pg_ls_dir('.') WHERE pg_read_file('PG_VERSION') <> '';

-- denied
SELECT 1 ORDER BY pg_read_file('PG_VERSION');

-- denied
SELECT 1 LIMIT length(pg_read_file('PG_VERSION'));

-- denied
SELECT count(*) FILTER (WHERE pg_read_file('PG_VERSION') > '') FROM orders;

-- denied
SELECT sum(id) OVER (ORDER BY pg_read_file('PG_VERSION')) FROM orders;

-- denied
SELECT id FROM orders GROUP BY GROUPING SETS ((id), (pg_read_file('PG_VERSION')));

-- denied
INSERT INTO notes VALUES (pg_read_file('PG_VERSION')) ON CONFLICT DO NOTHING;

-- denied
INSERT INTO notes VALUES ('x') RETURNING pg_read_file('PG_VERSION');

-- denied
UPDATE notes SET a = 'x' WHERE a = 'y' RETURNING pg_read_file('PG_VERSION');

-- denied
SELECT * FROM orders TABLESAMPLE SYSTEM (length(pg_read_file('PG_VERSION')));

-- denied
SELECT xmlelement(name a, xmlattributes (pg_read_file('PG_VERSION') AS b));

-- denied from 16
SELECT JSON_OBJECT('a': pg_read_file('PG_VERSION'));

-- denied from 17
SELECT * FROM JSON_TABLE('[]'::jsonb, '$' PASSING pg_read_file('PG_VERSION') AS x COLUMNS (a int PATH '$')) t;

-- denied
SELECT * FROM XMLTABLE('/a' PASSING '<a/>' COLUMNS b text DEFAULT pg_read_file('PG_VERSION')) t;

-- denied
CREATE TEMP TABLE k (a text DEFAULT pg_read_file('PG_VERSION'));

-- denied
CREATE TEMP TABLE k (a text GENERATED ALWAYS AS (pg_read_file('PG_VERSION')) STORED);

-- denied
CREATE TEMP TABLE k (a int CHECK (pg_read_file('PG_VERSION') <> ''));

-- held: an operator that somebody makes, and what stands for one that the server has
CREATE OPERATOR = (leftarg = notes, rightarg = notes, function = wipes);

-- held
CREATE CAST (notes AS int) WITH FUNCTION wiped(notes) AS IMPLICIT;

-- held
CREATE DOMAIN dd AS int CHECK (wipes() = value);

-- held
CREATE AGGREGATE ag (int) (sfunc = wipes, stype = int);

-- held
CREATE CONVERSION c FOR 'UTF8' TO 'LATIN1' FROM utf8_to_iso8859_1;

-- held
CREATE TYPE ty AS RANGE (subtype = int, subtype_diff = wipes);

-- held
CREATE OPERATOR CLASS oc FOR TYPE notes USING btree AS FUNCTION 1 wipes(int, int);

-- denied
CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION wipes(int, int));

-- held
CREATE TEXT SEARCH TEMPLATE tt (LEXIZE = wipes);

-- held
CREATE POLICY po ON notes USING (wipes() = 1);

-- held
CREATE STATISTICS st ON (wipes(1, 2)), a FROM notes;

-- held
ALTER FUNCTION wipes() SECURITY DEFINER;

-- held
CREATE OR REPLACE FUNCTION wipes() RETURNS int LANGUAGE sql RETURN 1;

-- denied
CREATE FUNCTION ff() RETURNS int LANGUAGE sql BEGIN ATOMIC DELETE FROM orders; SELECT 1; END;

-- held
CALL pg_catalog.wiping();

-- held
SELECT wipes FROM wipes() WITH ORDINALITY AS t (wipes, n);

-- held
SELECT * FROM ROWS FROM (wipes(), generate_series(1, 2)) t;

-- held
SELECT * FROM orders o, LATERAL wipes(o.id, 1) LIMIT 1;

-- held
SELECT U&"wip\0065s"();

-- held
SELECT "public"."wipes"();

-- held
SELECT wipes(1, VARIADIC ARRAY[2]);

-- held
SELECT ARRAY(SELECT wipes());

-- held
NOTIFY x; SELECT wipes();

-- held
SELECT id FROM orders GROUP BY wipes(), id;

-- held
SELECT sum(1) OVER (ROWS wipes() PRECEDING) FROM notes;

-- held
SELECT max(wipes()) WITHIN GROUP (ORDER BY 1);
