--# What a session changes: search path, temporary names, transactions, roles, settings.
--# Each case has a session of its own.

-- denied
SELECT set_config('standard_conforming_strings', 'off', false);
SELECT '\', ' || (SELECT ssn FROM customers WHERE id = 1)::text || ' --';

-- denied
SET standard_conforming_strings = off;
SELECT '\', ' || (SELECT ssn FROM customers WHERE id = 1)::text || ' --';

-- masked
SET client_encoding = 'SJIS';
SELECT ssn, email FROM customers;

-- masked
SET NAMES 'BIG5';
SELECT to_json(c), ARRAY[ssn] FROM customers c;
RESET client_encoding;
SELECT ssn FROM customers;

-- masked
BEGIN;
SET LOCAL client_encoding = 'LATIN1';
COPY customers TO STDOUT;
ROLLBACK;
COPY customers (id, ssn) TO STDOUT;

-- denied
SET client_encoding = 'KOI8R';
SELECT id FROM customers WHERE ssn LIKE '000%';

-- denied
SET client_encoding = 'WIN1252'; SELECT ssn FROM customers;

-- denied
SET client_encoding = 'EUC_TW';

-- denied
SELECT set_config('client_encoding', 'LATIN1', false), ssn FROM customers;

-- masked
CREATE TEMP TABLE customers (id int, name text);
SELECT * FROM customers;
SELECT ssn FROM public.customers WHERE id = 1;

-- masked
CREATE TEMP TABLE pg_class (a int);
SELECT ssn FROM customers WHERE id = 1;

-- masked
CREATE TEMP TABLE pg_attribute (a int);
SELECT ssn || '' FROM customers WHERE id = 1;

-- masked
CREATE TEMP VIEW pg_namespace AS SELECT 1 AS oid;
SELECT ssn FROM customers WHERE id = 1;

-- masked
SET search_path = pg_temp, pg_catalog, public;
SELECT ssn FROM customers WHERE id = 1;

-- masked
SET search_path = '';
SELECT ssn FROM public.customers WHERE id = 1;

-- masked
SET search_path TO pg_catalog, public;
SELECT ssn FROM customers WHERE id = 1;

-- masked
BEGIN;
SET LOCAL search_path = public;
SELECT ssn FROM customers WHERE id = 1;
ROLLBACK;
SELECT ssn FROM customers WHERE id = 1;

-- masked
BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;
SELECT ssn FROM customers WHERE id = 1;
COMMIT;

-- masked
BEGIN;
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
SELECT ssn FROM customers WHERE id = 1;
COMMIT;

-- masked
SET TRANSACTION READ ONLY;
SELECT ssn FROM customers WHERE id = 1;

-- masked
START TRANSACTION READ ONLY;
SAVEPOINT a;
SELECT 1 / 0;
ROLLBACK TO a;
SELECT ssn FROM customers WHERE id = 1;
COMMIT AND CHAIN;
SELECT email FROM customers WHERE id = 1;
ROLLBACK;

-- masked
BEGIN;
CREATE TEMP TABLE customers (id int, ssn text) ON COMMIT DROP;
SELECT ssn FROM customers;
COMMIT;
SELECT ssn FROM customers WHERE id = 1;

-- masked
BEGIN;
CREATE TEMP TABLE customers (id int, ssn text);
ROLLBACK;
SELECT ssn FROM customers WHERE id = 1;

-- scrubbed
BEGIN;
SELECT 1 / 0;
SELECT ssn FROM customers WHERE id = 1;
ROLLBACK;
SELECT ssn FROM customers WHERE id = 1;

-- masked
DISCARD ALL;
SELECT ssn FROM customers WHERE id = 1;

-- masked
RESET ALL;
SELECT ssn FROM customers WHERE id = 1;

-- denied
SET ROLE agent;
SELECT ssn FROM customers WHERE id = 1;

-- denied
SET SESSION AUTHORIZATION agent;
SELECT ssn FROM customers WHERE id = 1;

-- denied
SET session_replication_role = replica;

-- masked
SET bytea_output = 'escape';
SELECT photo, ssn::bytea FROM customers WHERE id = 1;

-- masked
SET DateStyle = 'German';
SELECT born, salary FROM customers WHERE id = 1;

-- masked
SET IntervalStyle = 'iso_8601';
SELECT age(born, '2000-01-01'), ssn FROM customers WHERE id = 1;

-- masked
SET extra_float_digits = -5;
SELECT salary::float8, ssn FROM customers WHERE id = 1;

-- masked
SET xmloption = document;
SELECT xmlelement(name a, ssn) FROM customers WHERE id = 1;

-- masked
SET plan_cache_mode = force_generic_plan;
PREPARE p (int) AS SELECT ssn FROM customers WHERE id = $1;
EXECUTE p(1);
SET plan_cache_mode = force_custom_plan;
EXECUTE p(1);

-- masked
SET default_transaction_read_only = on;
SELECT ssn FROM customers WHERE id = 1;

-- masked
SET row_security = off;
SELECT ssn FROM customers WHERE id = 1;

-- masked
SET array_nulls = off;
SELECT tags, ARRAY[ssn] FROM customers WHERE id = 1;

-- masked
SET backslash_quote = safe_encoding;
SELECT ssn FROM customers WHERE id = 1;

-- held
BEGIN;
CREATE SCHEMA shadow;
CREATE TABLE shadow.customers (LIKE public.customers);
SET LOCAL search_path = shadow, public;
SELECT ssn FROM customers;
ROLLBACK;

-- passes
SET search_path = public, pg_temp;
SELECT name FROM customers WHERE id = 1;

-- passes
BEGIN;
SELECT id, name FROM customers ORDER BY id;
SAVEPOINT a;
UPDATE events SET what = 'x' WHERE id = 1;
ROLLBACK TO a;
SELECT what FROM events WHERE id = 1;
COMMIT;

-- passes
SET TimeZone = 'Asia/Tokyo';
SELECT happened FROM events WHERE id = 1;

-- denied
SET search_path = pg_toast;
SELECT chunk_data FROM pg_toast_2619;
