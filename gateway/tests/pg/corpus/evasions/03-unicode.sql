--# Unicode escapes, identifiers, letter case.

-- denied
DROP TABLE U&"\006frders";

-- denied
DROP TABLE U&"!006frders" UESCAPE '!';

-- denied
DELETE FROM U&"\+00006frders";

-- denied
dRoP tAbLe OrDeRs;

-- denied
DROP TABLE ORDERS;

-- denied
TRUNCATE TABLE U&"orders";

-- denied
TRUNCATE u&"\006f\0072ders";

-- denied
SELECT U&'\0027; DROP TABLE orders; --'; DROP TABLE orders;

-- denied
SELECT U&'!' UESCAPE '!'; DROP TABLE orders;

-- denied
SELECT E'\u0027; SELECT 1; --'; DROP TABLE orders;

-- denied
SELECT E'\U00000027', E'\x27', E'\47'; DROP TABLE orders;

-- denied
SELECT 1 AS é; DROP TABLE orders;

-- denied
SELECT 1 AS "‮"; DROP TABLE orders;

-- denied
DELETE FROM public . orders;

-- denied
SELECT * FROM pg_catalog . U&"pg\005fauthid";

-- denied
SELECT * FROM "pg_authid";

-- denied
SELECT U&"pg\005fread\005ffile"('/etc/passwd');

-- denied
SELECT "pg_read_file"('/etc/passwd');

-- denied
SELECT PG_CATALOG.PG_READ_FILE('/etc/passwd');

-- denied
SET "session_replication_role" TO replica;

-- denied
SET U&"session\005freplication\005frole" = replica;

-- denied
SET Session_Replication_Role = 'replica';

-- denied
SELECT U&"set\005fconfig"('session_replication_role', 'replica', false);

-- passes
SELECT 1 AS "DROP TABLE orders";

-- passes
SELECT U&"\0069d" FROM orders WHERE id = 1;

-- passes
SELECT U&'d\0061t\+000061' AS harmless;
