--# Statements that print no value and tell of it all the same.

-- denied
SELECT count(*) FROM customers WHERE ssn LIKE '000%';

-- denied
SELECT id FROM customers WHERE (SELECT true) AND email = 'a';

-- denied
SELECT id FROM customers ORDER BY ssn;

-- denied
SELECT id, ssn FROM customers ORDER BY 2;

-- denied
SELECT id, ssn AS x FROM customers ORDER BY x;

-- denied
SELECT ssn AS x, count(*) FROM customers GROUP BY x;

-- denied
SELECT DISTINCT email FROM customers;

-- denied
SELECT DISTINCT ON (email) id FROM customers;

-- denied
SELECT a.id FROM customers a JOIN customers b ON a.ssn = b.ssn;

-- denied
SELECT a.id FROM customers a JOIN people b USING (ssn);

-- denied
SELECT count(*) FROM customers NATURAL JOIN people;

-- denied
SELECT name FROM customers GROUP BY name, ssn HAVING ssn > '0';

-- denied
SELECT name FROM customers GROUP BY name HAVING max(salary) > 7000000;

-- denied
SELECT d FROM customers c JOIN generate_series(0, 9) d ON substr(c.ssn, 1, 1) = d::text WHERE c.id = 1;

-- denied
SELECT i, d FROM customers c, generate_series(1, 11) i, generate_series(0, 9) d WHERE substr(c.ssn, i, 1) = d::text AND c.id = 1;

-- denied
SELECT n FROM generate_series(7319000, 7320000) n WHERE n = (SELECT salary FROM customers WHERE id = 1);

-- masked
SELECT (SELECT n FROM generate_series(1, 3) n WHERE n = 1), ssn FROM customers WHERE id = 1;

-- denied
SELECT (SELECT n FROM generate_series(7319000, 7320000) n WHERE n = c.salary) FROM customers c WHERE id = 1;

-- denied
SELECT 1 FROM events WHERE EXISTS (SELECT 1 FROM customers WHERE ssn = what);

-- denied
SELECT 1 FROM events WHERE what IN (SELECT ssn FROM customers);

-- denied
SELECT 1 FROM events WHERE what = ANY (ARRAY(SELECT ssn FROM customers));

-- denied
SELECT 1 FROM events WHERE (SELECT ssn FROM customers WHERE id = 1) LIKE '000%';

-- denied
SELECT 1 WHERE (SELECT salary FROM customers WHERE id = 1) > 7000000;

-- denied
SELECT id FROM customers LIMIT (SELECT salary FROM customers WHERE id = 1);

-- denied
SELECT id FROM events OFFSET (SELECT length(email) FROM customers WHERE id = 1);

-- denied
SELECT repeat('x', 3) FROM generate_series(1, (SELECT length(email) FROM customers WHERE id = 1));

-- denied
DELETE FROM customers WHERE email = 'x';

-- denied
UPDATE customers SET name = 'x' WHERE ssn = 'y';

-- denied
UPDATE events SET what = 'x' WHERE id = (SELECT length(ssn) FROM customers WHERE id = 1);

-- denied
INSERT INTO copies SELECT 'x', 1 FROM customers WHERE ssn LIKE '000%';

-- denied
SELECT id FROM (SELECT id, ssn AS z FROM customers) s WHERE z = 'x';

-- denied
WITH q AS (SELECT ssn AS z FROM customers) SELECT 1 FROM q WHERE z > '1';

-- denied
WITH c AS (SELECT id, email e FROM customers) SELECT id FROM c JOIN events o USING (id) WHERE e <> o.what;

-- denied
SELECT id FROM customers c WHERE c::text LIKE '%000%';

-- denied
SELECT id FROM customers c WHERE c.row_to_json::text LIKE '%1%';

-- denied
SELECT id FROM customers c ORDER BY c;

-- denied
SELECT id FROM customers c WHERE (c.*) > (c.*);

-- denied
SELECT DISTINCT c FROM customers c;

-- denied
SELECT count(*) FROM customers WHERE notes @> '{"a": 1}';

-- denied
SELECT count(*) FROM customers WHERE tags && ARRAY['x'];

-- passes: a mask keeps NULL, so that this tells nothing more
SELECT count(*) FROM customers WHERE ssn IS NULL;

-- denied
SELECT id FROM customers WHERE CASE WHEN ssn > '1' THEN true ELSE false END;

-- denied
SELECT id FROM customers ORDER BY CASE WHEN ssn > '1' THEN 1 ELSE 2 END;

-- denied
SELECT id FROM customers WHERE initial LIKE 'q%';

-- denied
SELECT id FROM customers, LATERAL (SELECT 1 WHERE ssn > '1') l;

-- denied
SELECT id FROM customers c LEFT JOIN LATERAL (SELECT 1 one WHERE c.ssn > '1') l ON true WHERE one = 1;

-- masked: whether it fails tells one bit
SELECT 1 / (CASE WHEN ssn LIKE '1%' THEN 0 ELSE 1 END) FROM customers WHERE id = 1;

-- denied
WITH RECURSIVE r AS (SELECT 1, ssn FROM customers UNION ALL SELECT 2, 'x' FROM r) CYCLE ssn SET c USING p SELECT 'x' FROM r LIMIT 5;

-- denied
SELECT pg_sleep(salary / 1e8) FROM customers WHERE id = 1;

-- denied
SELECT 1 FROM customers GROUP BY CUBE (ssn, id);

-- denied
SELECT grouping(ssn) FROM customers GROUP BY GROUPING SETS ((ssn), ());

-- denied
SELECT id FROM events c WHERE EXISTS (SELECT 1 FROM customers d WHERE EXISTS (SELECT 1 FROM events JOIN events p ON d.ssn > '1', (SELECT 1) d));

-- passes
SELECT id FROM customers WHERE name = 'Anna' ORDER BY name;

-- passes
SELECT c.name FROM customers c JOIN events e ON e.customer = c.id WHERE e.what LIKE 'event%' ORDER BY e.id LIMIT 3;

-- passes
SELECT count(*) FROM customers WHERE id > 0 GROUP BY name ORDER BY name;
