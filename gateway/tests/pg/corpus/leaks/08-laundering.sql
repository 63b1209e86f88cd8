--# Written somewhere first, read from there.

-- denied
CREATE TEMP TABLE t1 AS SELECT ssn q FROM customers WHERE id = 1;
SELECT q FROM t1;

-- denied
CREATE TEMP TABLE t1 AS TABLE customers;
SELECT * FROM t1;

-- denied
CREATE TEMP TABLE t1 (a, b) AS SELECT id, row_to_json(c) FROM customers c;
SELECT * FROM t1;

-- denied
SELECT ssn q INTO TEMP t2 FROM customers;
SELECT q FROM t2;

-- denied
SELECT * INTO t2 FROM customers;
SELECT * FROM t2;

-- denied
CREATE TEMP TABLE t3 (q text);
INSERT INTO t3 SELECT ssn FROM customers WHERE id = 1 RETURNING q;
SELECT q FROM t3;

-- denied
INSERT INTO copies SELECT ssn, 1 FROM customers WHERE id = 1;
SELECT a FROM copies;

-- denied
INSERT INTO copies VALUES ((SELECT email FROM customers WHERE id = 1), 1);
SELECT a FROM copies;

-- denied
WITH q AS (SELECT ssn FROM customers WHERE id = 1) INSERT INTO copies SELECT ssn, 1 FROM q RETURNING a;

-- denied
WITH q AS (INSERT INTO copies SELECT email, 2 FROM customers RETURNING a) SELECT a FROM q;

-- denied
UPDATE events SET what = c.ssn FROM customers c WHERE c.id = 1 AND events.id = 1 RETURNING what;

-- denied
UPDATE events SET what = (SELECT email FROM customers WHERE id = 1) WHERE id = 1 RETURNING what;

-- denied
UPDATE copies SET b = replace(c.ssn, '-', '')::int FROM customers c WHERE c.id = 1 RETURNING b;

-- denied
UPDATE customers SET name = ssn WHERE id = 1 RETURNING name;

-- denied
UPDATE customers SET (name, ssn) = (SELECT ssn, name FROM customers WHERE id = 1) WHERE id = 1 RETURNING name;

-- denied
UPDATE customers SET ssn = ssn WHERE id = 1 RETURNING ssn;

-- denied
INSERT INTO customers (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = customers.ssn RETURNING name;

-- denied
INSERT INTO customers (id, name, email) VALUES (1, 'x', 'y') ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE customers.ssn > '0' RETURNING name;

-- denied from 15
MERGE INTO copies t USING (SELECT id, ssn FROM customers WHERE id = 1) s ON t.b = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.ssn, s.id);
SELECT a FROM copies;

-- denied from 17
MERGE INTO copies t USING (SELECT id, ssn FROM customers WHERE id = 1) s ON t.b = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.ssn, s.id) RETURNING t.a;

-- denied from 15
MERGE INTO events t USING customers s ON t.customer = s.id WHEN MATCHED AND s.ssn > '0' THEN UPDATE SET what = 'big';

-- masked from 17
MERGE INTO customers t USING customers s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = t.name RETURNING s.ssn || '', t.email;

-- masked from 18
UPDATE customers SET name = name WHERE id = 1 RETURNING old.ssn, new.email;

-- masked from 18
UPDATE customers SET name = name WHERE id = 1 RETURNING old, new, old.email || '';

-- masked from 18
UPDATE customers SET name = name WHERE id = 1 RETURNING WITH (OLD AS before) before, before.ssn;

-- masked from 18
BEGIN;
DELETE FROM customers WHERE id = 1 RETURNING old.row_to_json;
ROLLBACK;

-- masked
UPDATE customers SET name = name WHERE id = 1 RETURNING ssn, email, *;

-- masked
UPDATE customers SET name = name WHERE id = 1 RETURNING customers;

-- masked
UPDATE events SET what = what FROM customers c WHERE c.id = customer AND events.id = 2 RETURNING c.ssn, c;

-- masked
BEGIN;
DELETE FROM customers WHERE id = 1 RETURNING ssn, reverse(email);
ROLLBACK;

-- masked
BEGIN;
DELETE FROM events USING customers c WHERE c.id = customer AND events.id = 2 RETURNING c.ssn;
ROLLBACK;

-- denied
SELECT setval('counter', replace(ssn, '-', '')::bigint) FROM customers WHERE id = 1;
SELECT last_value FROM counter;

-- denied
SELECT nextval('s' || ssn) FROM customers;

-- denied
SELECT set_config('app.x', ssn, false) FROM customers WHERE id = 1;
SHOW app.x;

-- denied
SELECT set_config('application_name', email, false) FROM customers WHERE id = 1;

-- denied
SELECT pg_notify('x', ssn) FROM customers WHERE id = 1;

-- denied
LISTEN x;
SELECT pg_notify('x', email) FROM customers WHERE id = 1;

-- denied
SELECT pg_advisory_lock(salary) FROM customers WHERE id = 1;
SELECT objid FROM pg_locks WHERE locktype = 'advisory';

-- denied
SELECT pg_logical_emit_message(false, 'x', ssn) FROM customers WHERE id = 1;

-- denied
PREPARE t AS INSERT INTO copies SELECT ssn, id FROM customers;
EXECUTE t;
SELECT a FROM copies;

-- denied
CREATE TEMP TABLE t4 AS EXECUTE nothing;

-- denied
PREPARE r AS SELECT ssn FROM customers;
CREATE TEMP TABLE t5 AS EXECUTE r;
SELECT * FROM t5;

-- denied
COPY (SELECT ssn, 1 FROM customers) TO '/tmp/gateway-never';

-- denied
COPY customers TO PROGRAM 'cat >/dev/null';

-- denied
CREATE TRIGGER tg BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION tells();
UPDATE customers SET name = name WHERE id = 1 RETURNING name;

-- denied
CREATE INDEX ON customers (upper(ssn));

-- denied
CREATE STATISTICS more (mcv) ON ssn, email FROM customers;

-- denied
ALTER TABLE customers RENAME ssn TO harmless;
SELECT harmless FROM customers;

-- denied
BEGIN;
ALTER TABLE customers RENAME TO others;
SELECT ssn FROM others;
ROLLBACK;

-- denied
ALTER TABLE customers SET SCHEMA pg_temp;

-- denied
CREATE POLICY p ON customers USING (ssn LIKE '000%');

-- held
ALTER TABLE copies ADD CHECK (a <> (SELECT 'x'));

-- held
COMMENT ON TABLE customers IS 'x';

-- passes
CREATE TEMP TABLE fine AS SELECT id, name FROM customers;
SELECT id + 0, name || '' FROM fine ORDER BY id;

-- passes
BEGIN;
INSERT INTO copies SELECT name, id FROM customers ORDER BY id RETURNING a, b;
ROLLBACK;

-- passes
BEGIN;
INSERT INTO customers (id, name, email) VALUES (10, 'Dora', 'dora@example.org') RETURNING id, name;
UPDATE customers SET email = 'other@example.org' WHERE id = 10 RETURNING id;
DELETE FROM customers WHERE id = 10 RETURNING name;
ROLLBACK;

-- passes
BEGIN;
UPDATE events SET what = c.name FROM customers c WHERE c.id = customer AND events.id = 3 RETURNING what;
ROLLBACK;
