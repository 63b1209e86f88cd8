--# COPY, cursors, prepared statements, several statements in a message.

-- masked
COPY customers TO STDOUT;

-- masked
COPY customers (email, id, ssn) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *);

-- masked
COPY customers (ssn) TO STDOUT WITH (DELIMITER '|', NULL 'nothing');

-- masked
COPY customers TO STDOUT CSV;

-- masked
COPY (SELECT reverse(ssn), email FROM customers) TO STDOUT;

-- masked
COPY (SELECT to_json(c) FROM customers c) TO STDOUT;

-- masked
COPY (SELECT * FROM customers WHERE id = 1) TO STDOUT (FORMAT csv, QUOTE '''', ESCAPE '\');

-- masked
COPY people_low TO STDOUT;

-- masked
COPY (TABLE plain_view) TO STDOUT;

-- masked
COPY (UPDATE customers SET name = name WHERE id = 1 RETURNING ssn) TO STDOUT;

-- masked
COPY (WITH q AS (SELECT ssn FROM customers) SELECT * FROM q) TO STDOUT;

-- masked
COPY (VALUES ((SELECT ssn FROM customers WHERE id = 1))) TO STDOUT;

-- masked
COPY (TABLE stored_view) TO STDOUT;

-- denied
COPY customers TO STDOUT (FORMAT binary);

-- denied
COPY customers TO STDOUT BINARY;

-- denied
COPY (SELECT ssn FROM customers) TO STDOUT (FORMAT binary);

-- denied
COPY customers TO STDOUT (ENCODING 'LATIN1');

-- denied
COPY (SELECT ssn FROM customers WHERE ssn LIKE '0%') TO STDOUT;

-- masked
PREPARE p AS SELECT reverse(ssn) FROM customers WHERE id = $1;
EXECUTE p(1);

-- masked
PREPARE p (int) AS SELECT ssn, $1 FROM customers;
EXECUTE p(7);
EXECUTE p(8);
EXECUTE p(9);
EXECUTE p(10);
EXECUTE p(11);
EXECUTE p(12);
EXECUTE p(13);

-- masked
PREPARE p AS SELECT 1;
DEALLOCATE p;
PREPARE p AS SELECT ssn FROM customers;
EXECUTE p;

-- masked
PREPARE p AS SELECT 1;
DEALLOCATE ALL;
PREPARE p AS SELECT email FROM customers;
EXECUTE p;

-- masked
PREPARE p AS SELECT ssn FROM customers; EXECUTE p;

-- masked
BEGIN;
PREPARE p AS SELECT ssn FROM customers;
ROLLBACK;
EXECUTE p;

-- masked
PREPARE "P p" AS SELECT ssn FROM customers;
EXECUTE "P p";

-- masked
PREPARE u AS UPDATE customers SET name = name WHERE id = $1 RETURNING ssn;
EXECUTE u(1);

-- masked
BEGIN;
DECLARE c CURSOR FOR SELECT ssn, email FROM customers;
FETCH ALL FROM c;
COMMIT;

-- masked
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT ssn FROM customers;
MOVE FORWARD 1 IN c;
FETCH PRIOR FROM c;
FETCH ABSOLUTE 1 FROM c;
FETCH FORWARD 5 FROM c;
COMMIT;

-- masked
DECLARE c CURSOR WITH HOLD FOR SELECT ssn FROM customers;
FETCH 1 FROM c;
CLOSE c;

-- masked
BEGIN;
DECLARE c BINARY CURSOR FOR SELECT ssn, salary, born FROM customers;
FETCH ALL FROM c;
COMMIT;

-- masked
BEGIN; DECLARE c CURSOR FOR SELECT ssn FROM customers; FETCH ALL FROM c; COMMIT;

-- masked
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM customers;
CLOSE c;
DECLARE c CURSOR FOR SELECT ssn FROM customers;
FETCH ALL FROM c;
COMMIT;

-- masked
SELECT ssn FROM customers WHERE id = 1; SELECT email FROM customers WHERE id = 1; SELECT 1;

-- masked
SELECT 1; SELECT salary + 0 FROM customers WHERE id = 1;

-- masked
BEGIN; SELECT ssn FROM customers WHERE id = 1; COMMIT;

-- masked
SELECT ssn FROM customers WHERE id = 1;; ;

-- scrubbed
UPDATE customers SET ssn = 'x' WHERE CURRENT OF c;

-- denied
EXECUTE nobody;

-- denied
FETCH ALL FROM nobody;

-- passes
COPY (SELECT * FROM events ORDER BY id) TO STDOUT;

-- passes
COPY (SELECT id, name FROM customers ORDER BY id) TO STDOUT (FORMAT binary);

-- passes
COPY snapshots (id) TO STDOUT;

-- passes
BEGIN;
DECLARE harmless CURSOR FOR SELECT id, name FROM customers ORDER BY id;
FETCH ALL FROM harmless;
COMMIT;

-- passes
PREPARE fine (int) AS SELECT name FROM customers WHERE id = $1;
EXECUTE fine(1);
