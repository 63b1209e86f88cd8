--# CTEs, names that stand for others, nested statements.

-- denied
WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone;

-- denied
WITH orders AS (SELECT 1 AS id) DELETE FROM orders;

-- denied
WITH orders AS (SELECT 1 AS id) DELETE FROM public.orders;

-- denied
WITH orders AS (DELETE FROM orders RETURNING *) SELECT * FROM orders;

-- denied
WITH a AS (SELECT 1), b AS (UPDATE orders SET item = 'x' RETURNING 1) SELECT * FROM a;

-- denied
WITH a AS (WITH b AS (SELECT 1) SELECT * FROM b), c AS (DELETE FROM orders RETURNING 1) SELECT 1;

-- denied
WITH pg_authid AS (SELECT 1) SELECT * FROM pg_catalog.pg_authid;

-- denied
SELECT * FROM (WITH pg_authid AS (SELECT 1) SELECT * FROM pg_authid) s, pg_authid;

-- denied
WITH x AS (SELECT * FROM pg_authid), pg_authid AS (SELECT 1) SELECT * FROM x;

-- passes
WITH pg_authid AS (SELECT 1 AS rolname) SELECT * FROM pg_authid;

-- denied
INSERT INTO notes SELECT rolname FROM pg_authid;

-- denied
SELECT (SELECT rolpassword FROM pg_authid LIMIT 1);

-- denied
SELECT 1 WHERE EXISTS (SELECT 1 FROM pg_authid WHERE rolpassword LIKE 'SCRAM%');

-- denied
SELECT 1 ORDER BY (SELECT rolname FROM pg_authid LIMIT 1);

-- denied
SELECT 1 FROM orders LIMIT (SELECT count(*) FROM pg_authid);

-- denied
SELECT 1 UNION ALL SELECT oid::int FROM pg_authid;

-- denied
VALUES ((SELECT rolname FROM pg_authid LIMIT 1));

-- denied
TABLE pg_authid;

-- denied
SELECT * FROM ONLY pg_catalog.pg_authid;

-- denied
SELECT * FROM orders, LATERAL (SELECT rolname FROM pg_authid LIMIT 1) l LIMIT 1;

-- denied
SELECT count(*) FILTER (WHERE (SELECT rolpassword FROM pg_authid LIMIT 1) > 'a') FROM orders;

-- denied
UPDATE orders SET item = (SELECT rolname FROM pg_authid LIMIT 1) WHERE id = 1;

-- denied
DELETE FROM orders WHERE id IN (SELECT 1 FROM pg_shadow);

-- denied
DELETE FROM orders WHERE true OR id = 1;

-- denied
DELETE FROM orders WHERE id = 1 OR (1 = 1);

-- denied
DELETE FROM orders WHERE NOT (false AND id = 1);

-- denied
DELETE FROM orders WHERE id = id;

-- denied
UPDATE orders o SET item = 'x' WHERE (o.id = 3 OR 1 IN (1, 2)) OR o.item = 'y';

-- denied
DELETE FROM orders WHERE CASE WHEN true THEN true ELSE id = 1 END;

-- denied
DELETE FROM orders WHERE CASE id WHEN 1 THEN true ELSE true END;

-- denied
DELETE FROM orders WHERE coalesce(true, id = 1);

-- denied
DELETE FROM orders WHERE 1 = 1;

-- denied
DELETE FROM orders WHERE NOT false;

-- denied
DELETE FROM orders WHERE (SELECT true);

-- denied
DELETE FROM orders WHERE random() >= 0;

-- denied
DELETE FROM orders WHERE EXISTS (SELECT 1 FROM notes);

-- denied
DELETE FROM orders USING notes;

-- denied
DELETE FROM orders WHERE NULL IS NULL;

-- denied
UPDATE orders SET item = 'x' WHERE 'a' = 'a';

-- denied
UPDATE orders SET item = 'x' WHERE current_date > '2000-01-01';

-- denied
MERGE INTO orders USING notes ON true WHEN MATCHED THEN DELETE;

-- denied
MERGE INTO orders USING (SELECT 1) s ON false WHEN NOT MATCHED THEN DO NOTHING WHEN MATCHED THEN UPDATE SET item = 'x';

-- denied
COPY (DELETE FROM orders RETURNING *) TO STDOUT;

-- denied
COPY (SELECT * FROM pg_authid) TO STDOUT;

-- denied
COPY pg_authid TO STDOUT;

-- denied
CREATE TEMP TABLE mine AS SELECT * FROM pg_authid;

-- denied
CREATE TEMP TABLE mine AS WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone;

-- denied
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM pg_authid;

-- denied
PREPARE p AS DELETE FROM orders;
EXECUTE p;

-- denied
PREPARE p AS WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone;
EXECUTE p;

-- denied
CREATE TEMP TABLE orders (a int);
DROP TABLE orders;
DROP TABLE orders;

-- denied
BEGIN;
CREATE TEMP TABLE orders (a int);
ROLLBACK;
DELETE FROM orders;

-- denied
CREATE TEMP TABLE orders (a int) ON COMMIT DROP;
DELETE FROM orders;

-- held
CREATE TEMP TABLE mine (a int);
ALTER TABLE mine RENAME TO orders;
SET search_path = public, pg_temp;
TRUNCATE orders;

-- denied
CREATE TEMP VIEW orders AS SELECT 1 AS id;
DROP VIEW orders;
DELETE FROM orders;

-- denied
DROP TABLE orders, notes;

-- denied
DROP SCHEMA public CASCADE;

-- denied
DROP OWNED BY agent;

-- denied
REASSIGN OWNED BY agent TO postgres;

-- denied
DROP DATABASE IF EXISTS nothing;

-- denied
TRUNCATE notes, orders RESTART IDENTITY CASCADE;

-- denied
TRUNCATE ONLY orders *;

-- denied: without a schema the name could mean another table
CREATE TEMP TABLE mine (a int);
INSERT INTO mine VALUES (1);
DELETE FROM mine;
DROP TABLE mine;

-- passes
CREATE TEMP TABLE mine (a int);
INSERT INTO pg_temp.mine VALUES (1);
DELETE FROM pg_temp.mine;
DROP TABLE pg_temp.mine;

-- passes
WITH q AS (SELECT id FROM orders) SELECT count(*) FROM q;

-- passes
DELETE FROM notes WHERE a = 'nothing';

-- passes
UPDATE notes SET a = 'x' WHERE a = 'nothing';
