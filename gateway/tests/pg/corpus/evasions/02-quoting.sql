--# Quoting, dollar quotes with every tag form, string continuation.

-- denied
DROP TABLE "orders";

-- denied
DROP TABLE "public"."orders";

-- denied
DELETE FROM "public" . "orders";

-- denied
SELECT $$;$$; DROP TABLE orders; SELECT $$;$$;

-- denied
SELECT $a$ $b$ $a$; DROP TABLE orders; SELECT $b$ $b$;

-- denied
SELECT $é$ ' $é$; DROP TABLE orders;

-- denied
SELECT $_1$ ' $_1$; DROP TABLE orders;

-- denied
SELECT $A$ $a$ $A$; DROP TABLE orders -- $a$;

-- denied
SELECT '$$'; DROP TABLE orders; SELECT '$$';

-- denied
SELECT 'a''b'; DROP TABLE orders;

-- denied
SELECT '\'; DROP TABLE orders; --';

-- denied
SELECT E'\''; DROP TABLE orders; --';

-- denied
SELECT e'\\'; DROP TABLE orders; --';

-- denied
SELECT 'a'
'b'; DROP TABLE orders;

-- denied
SELECT 'a' -- '
'b'; DROP TABLE orders;

-- denied
SELECT E'a'
'\''; DROP TABLE orders; --';

-- denied
SELECT "a""b" FROM (SELECT 1 AS "a""b") s; DROP TABLE orders;

-- denied
SELECT 1 AS "; SELECT "; DROP TABLE orders;

-- denied
SELECT B'1'; DROP TABLE orders;

-- denied
SELECT X'1F', N'x'; DROP TABLE orders;

-- denied
SELECT 1 a$b$; DROP TABLE orders; SELECT 1 c$b$;

-- held
DO $$ BEGIN DELETE FROM orders; END $$;

-- held
DO 'BEGIN DELETE FROM orders; END';

-- held
DO E'BEGIN DELETE FROM \x6frders; END';

-- held
DO $x$ BEGIN EXECUTE $y$DROP TABLE orders$y$; END $x$;

-- held
DO LANGUAGE plpgsql 'BEGIN PERFORM 1; END';

-- held
DO U&'BEGIN DELETE FROM \006frders; END';

-- denied: quotes that do not end
SELECT 'a; DROP TABLE orders;

-- denied
SELECT $a$; DROP TABLE orders; SELECT $b$;

-- passes
SELECT '; DROP TABLE orders; --' AS harmless;

-- passes
SELECT $$DROP TABLE orders$$ AS harmless;

-- passes
SELECT $a$DELETE FROM orders$a$ AS harmless, 'it''s', E'\'' AS quote;

-- passes
SELECT 'a'
 'b' AS joined;
