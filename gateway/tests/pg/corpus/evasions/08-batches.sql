--# Several statements in one message, transactions, names from one statement to the next.

-- denied
SELECT 1; DROP TABLE orders;

-- denied
DROP TABLE orders; SELECT 1;

-- denied
BEGIN; DROP TABLE orders; COMMIT;

-- denied
BEGIN; SAVEPOINT a; TRUNCATE orders; RELEASE a; COMMIT;

-- denied
COMMIT; DELETE FROM orders;

-- denied
SELECT 1; SELECT 2; SELECT 3; SELECT 4; SELECT 5; SELECT 6; SELECT 7; SELECT 8; SELECT 9; DELETE FROM orders;

-- denied
PREPARE x AS SELECT 1; DEALLOCATE x; PREPARE x AS DELETE FROM orders; EXECUTE x;

-- denied
PREPARE y AS SELECT 1;
DEALLOCATE y; PREPARE y AS DELETE FROM orders; EXECUTE y;

-- denied
BEGIN;
PREPARE z AS DELETE FROM orders;
ROLLBACK;
EXECUTE z;

-- denied
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM orders FOR UPDATE; DELETE FROM orders WHERE CURRENT OF c; DELETE FROM orders;

-- denied
LISTEN x; NOTIFY x, 'y'; DROP TABLE orders;

-- denied
SET search_path = pg_catalog, public; DROP TABLE orders;

-- denied
SET LOCAL search_path = ''; TRUNCATE public.orders;

-- denied
BEGIN; SELECT 1; COMMIT AND CHAIN; DELETE FROM orders; COMMIT;

-- denied
PREPARE TRANSACTION 'x'; DELETE FROM orders;

-- denied
BEGIN;
SELECT 1 / 0;
ROLLBACK; DROP TABLE orders;

-- denied
EXECUTE never_made;

-- denied
EXECUTE "DROP TABLE orders";

-- denied
CREATE SCHEMA s CREATE TABLE t (a int) GRANT ALL ON t TO PUBLIC;

-- passes
SELECT 1; SELECT 2;

-- passes
BEGIN; SELECT count(*) FROM orders; COMMIT;

-- passes
PREPARE harmless AS SELECT count(*) FROM orders; EXECUTE harmless; DEALLOCATE harmless;

-- passes
BEGIN;
INSERT INTO notes VALUES ('x');
SAVEPOINT a;
UPDATE notes SET a = 'y' WHERE a = 'x';
ROLLBACK TO a;
DELETE FROM notes WHERE a = 'x';
ROLLBACK;
