--# Session settings that change what is read, what is logged, or who one is.

-- denied
SET standard_conforming_strings = off;

-- denied
SET standard_conforming_strings TO 'OFF';

-- denied
SELECT set_config('standard_conforming_strings', 'off', false);

-- denied
SELECT set_config('STANDARD_CONFORMING_STRINGS', 'off', true);

-- denied
SET LOCAL standard_conforming_strings = off;

-- denied
SET SESSION standard_conforming_strings = off;

-- denied
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name LIKE 'standard_conf%';

-- denied
UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings';

-- denied
SET client_encoding = 'SJIS';
DELETE FROM orders;

-- denied
SET NAMES 'GBK';
SELECT E'\'; DELETE FROM orders; --';
DELETE FROM orders;

-- denied
SET CLIENT_ENCODING TO LATIN1;
TRUNCATE orders;
RESET client_encoding;

-- denied
SET client_encoding = 'EUC_TW';

-- denied
SELECT set_config('client_encoding', 'SJIS', false);

-- denied
SET backslash_quote = on;

-- denied
SET session_replication_role = replica;

-- denied
SET LOCAL session_replication_role TO replica;

-- denied
SELECT set_config('session_replication_role', 'replica', false);

-- denied
SELECT pg_catalog.set_config('session' || '_replication_role', 'replica', false);

-- denied
ALTER ROLE agent SET session_replication_role = replica;

-- denied
ALTER DATABASE postgres SET session_replication_role = replica;

-- denied
ALTER SYSTEM SET log_statement = 'none';

-- denied
SET log_statement = 'none';

-- denied
SET log_min_duration_statement = -1;

-- denied
SET local_preload_libraries = 'x';

-- denied
LOAD 'auto_explain';

-- denied
LOAD '$libdir/plpgsql';

-- denied
SET ROLE postgres;

-- denied
SET SESSION AUTHORIZATION postgres;

-- denied
SET SESSION ROLE 'postgres';

-- denied
SELECT set_config('role', 'postgres', false);

-- denied
SELECT set_config('session_authorization', 'postgres', false);

-- denied
SET allow_system_table_mods = on;

-- denied
SET zero_damaged_pages = on;

-- denied
SET search_path = (SELECT 'x');

-- denied
SELECT set_config('search_path', current_user, false);

-- denied
CREATE FUNCTION f() RETURNS int LANGUAGE sql SET session_replication_role = replica AS 'SELECT 1';

-- denied
SELECT pg_reload_conf();

-- passes
SET search_path = public;

-- passes
SET statement_timeout = '9s';

-- passes
SET standard_conforming_strings = on;

-- passes
SET client_encoding = 'UTF8';

-- passes
SHOW session_replication_role;

-- passes
SELECT current_setting('standard_conforming_strings');

-- passes
BEGIN;
SET LOCAL work_mem = '8MB';
ROLLBACK;

-- passes
SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY;

-- passes
RESET ALL;
