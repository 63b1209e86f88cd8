--# Errors and notices that would quote a value.

-- scrubbed
SELECT ssn::date FROM customers WHERE id = 1;

-- scrubbed
SELECT ssn::int FROM customers WHERE id = 1;

-- scrubbed
SELECT email::json FROM customers WHERE id = 1;

-- scrubbed
SELECT email::uuid, email::inet, email::point FROM customers WHERE id = 1;

-- scrubbed
SELECT ssn::xml, email::bit(8) FROM customers WHERE id = 1;

-- scrubbed
SELECT email::text[]::int[] FROM customers WHERE id = 1;

-- scrubbed
SELECT to_date(ssn, 'YYYY-MM-DD'), to_timestamp(email, 'YYYY'), to_number(email, '9G') FROM customers WHERE id = 1;

-- scrubbed
SELECT email::boolean FROM customers WHERE id = 1;

-- scrubbed
SELECT has_table_privilege(ssn, 'events', 'SELECT') FROM customers WHERE id = 1;

-- scrubbed
SELECT email::regclass FROM customers WHERE id = 1;

-- scrubbed
SELECT ssn::regrole, ssn::regnamespace FROM customers WHERE id = 1;

-- scrubbed
SELECT regexp_match('x', ssn || '(') FROM customers WHERE id = 1;

-- scrubbed
SELECT 1 / (salary - salary) FROM customers WHERE id = 1;

-- scrubbed
SELECT salary * 1000000 FROM customers WHERE id = 1;

-- scrubbed
SELECT salary::smallint FROM customers WHERE id = 1;

-- scrubbed
SELECT chr(salary * 1000) FROM customers WHERE id = 1;

-- scrubbed
SELECT make_date(salary, 13, 45) FROM customers WHERE id = 1;

-- denied
SELECT jsonb_path_query(notes, 'strict $.nothing.more') FROM customers WHERE id = 1;

-- scrubbed
SELECT ssn::mail FROM customers WHERE id = 1;

-- scrubbed
SELECT encode(ssn::bytea, email) FROM customers WHERE id = 1;

-- scrubbed
SELECT now() AT TIME ZONE email FROM customers WHERE id = 1;

-- scrubbed
SELECT extract(year FROM (ssn || 'x')::timestamp) FROM customers WHERE id = 1;

-- scrubbed
SELECT (SELECT ssn FROM customers);

-- scrubbed
INSERT INTO customers (id, name, ssn) VALUES (1, 'x', 'y');

-- scrubbed
UPDATE customers SET name = '' WHERE id = 1;

-- scrubbed
INSERT INTO child (id, name) SELECT id, '' FROM customers;

-- denied
INSERT INTO strict SELECT ssn::date FROM customers;

-- denied
INSERT INTO strict SELECT born FROM customers;

-- denied
INSERT INTO unique_copies SELECT email FROM customers UNION ALL SELECT email FROM customers;

-- denied
SELECT 1 FROM customers WHERE ssn::int > 0;

-- denied
EXPLAIN SELECT * FROM customers WHERE ssn = 'x';

-- denied
EXPLAIN (VERBOSE) SELECT id FROM customers ORDER BY ssn;

-- denied
EXPLAIN ANALYZE SELECT count(*) FROM customers WHERE salary > 7000000;

-- scrubbed
BEGIN;
SELECT ssn::int FROM customers WHERE id = 1;
SELECT 1;
ROLLBACK;

-- scrubbed
SET client_min_messages = log;
SET debug_print_rewritten = on;
SELECT s FROM barrier_view;

-- denied
SET log_statement = 'all';

-- passes: what is wrong with the statement itself is told whole
SELECT id, nme FROM customers;

-- passes
SELECT frm customers;

-- passes
SELECT 1 / 0;

-- passes
SELECT 'x'::int;

-- passes
INSERT INTO events VALUES (1, 1, 'twice', now());

-- denied
SELECT no_such_function(id) FROM customers;

-- scrubbed
SELECT name::int FROM customers WHERE id = 1;

-- passes
EXPLAIN (COSTS off) SELECT id, name FROM customers WHERE id = 1;
